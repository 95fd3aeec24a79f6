// A <deep-chat> element that asks through the client. The client repeats requests, reconnects, and keeps the conversation.

import './deep-chat.js';
import { Chat } from './illumichat.js';

const chat = new Chat('/api/chat-proxy', { storageKey: 'chat' });
const element = document.querySelector('deep-chat');

// With its own font, the component does not load one from fonts.googleapis.com.
Object.assign(element.style, { width: '100%', height: '32rem', fontFamily: 'system-ui, sans-serif' });
element.textInput = { placeholder: { text: 'Your question' } };
element.errorMessages = { displayServiceErrorMessages: true };
element.connect = { stream: true, handler: answer };

// After a reload: the conversation so far, and the answer that was not complete.
const open = chat.openQuestion;
element.history = chat.turns
	.filter(({ state }) => state !== 'open')
	.flatMap(({ content, text }) => [{ role: 'user', text: content }, ...(text ? [{ role: 'ai', text }] : [])]);
if (open !== undefined) {
	// The component may render again for the properties above, and lose what it shows. It does so within two timers.
	element.onComponentRender = () => setTimeout(() => setTimeout(() => {
		if (chat.openQuestion !== undefined) element.submitUserMessage({ text: open });
	}));
}

async function answer({ messages }, { onOpen, onResponse, onClose, stopClicked }) {
	const question = messages.at(-1).text;
	stopClicked.listener = () => chat.stop();
	let failed = '';
	onOpen();
	try {
		for await (const event of chat.openQuestion === question ? chat.resume() : chat.send(question)) {
			if (event.type === 'text-delta') await onResponse({ text: event.textDelta });
		}
	} catch (err) {
		if (err.code !== 'stopped:page') failed = explain(err);
	}
	onClose();
	// As a response, an error without any text before it would not be shown.
	if (failed) element.addMessage({ error: failed });
}

function explain(err) {
	const wait = err.retryAfter ? ` Try again in ${err.retryAfter} s.` : '';
	return `There is no whole answer: ${err.message.replace(/\.$/, '')}.${wait}`;
}
