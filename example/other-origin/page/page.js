// A whole chat in a few lines. The client keeps the conversation.

import { Chat } from './chat/illumichat.js';

const chat = new Chat('http://chat.localhost:8081/api/chat-proxy');

const log = document.getElementById('log');
const form = document.querySelector('form');
const question = document.getElementById('question');
const send = document.getElementById('send');
const stop = document.getElementById('stop');
const status = document.getElementById('status');

form.addEventListener('submit', async (submit) => {
	submit.preventDefault();
	const text = question.value.trim();
	if (!text || send.disabled) return;

	const onRetry = (err, wait) => {
		status.textContent = `Not yet: ${err.message}. The next attempt is in ${Math.ceil(wait)} s.`;
	};
	show(text, 'user');
	const answer = show('', 'assistant');
	question.value = '';
	busy(true);
	status.textContent = 'The answer is on its way.';
	try {
		for await (const event of chat.send(text, { onRetry })) {
			switch (event.type) {
				case 'text-delta':
					// As text and never as HTML, so that an answer cannot run code in the page.
					answer.append(event.textDelta);
					break;
				case 'tool-call':
					status.textContent = `The assistant uses ${event.toolName}.`;
					break;
				case 'finish':
					status.textContent = event.finishReason === 'length' ? 'The answer was too long to be written to its end.' : '';
					break;
			}
		}
	} catch (err) {
		status.textContent = err.code === 'stopped:page' ? 'Stopped.' : explain(err);
		// A question without an answer can be sent again.
		if (!answer.textContent && !question.value) question.value = text;
	} finally {
		busy(false);
	}
});

stop.addEventListener('click', () => chat.stop());

function show(text, role) {
	const line = document.createElement('p');
	line.className = role;
	line.dir = 'auto';
	line.textContent = text;
	log.append(line);
	return line;
}

function busy(is) {
	// A button that cannot be pressed must not keep the focus.
	question.focus();
	send.disabled = is;
	stop.disabled = !is;
}

function explain(err) {
	const wait = err.retryAfter ? ` Try again in ${err.retryAfter} s.` : '';
	return `There is no whole answer: ${err.message.replace(/\.$/, '')}.${wait}`;
}
