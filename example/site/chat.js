import { Answer, create, describeFinish } from './answer.js';
import { explain, explainPause, explainReconnect } from './explain.js';
import { Chat, ChatError } from './illumichat.js';
import { keepEndInView } from './scroll.js';

const chat = new Chat('/api/chat-proxy', { storageKey: 'chat' });

const log = find('#log', HTMLElement);
const composer = find('#composer', HTMLFormElement);
const question = find('#question', HTMLTextAreaElement);
const send = find('#send', HTMLButtonElement);
const stop = find('#stop', HTMLButtonElement);
const announcer = find('#announcer', HTMLElement);
const scrollToEnd = keepEndInView(find('#scroller', HTMLElement), log);

/** Whether an answer is on its way. */
let answering = false;

/** Empties the announcer. */
let silence = 0;

/** Stops the latest answer. */
let controller = new AbortController();

/**
 * Shows a question, and its answer until it ends or breaks.
 *
 * @param {string} content
 * @param {(options: import('./illumichat.js').SendOptions) => ReturnType<Chat['send']>} ask asks the question
 */
async function showTurn(content, ask) {
	const answer = new Answer();
	const turn = drawTurn(content, answer);
	// Only the latest question can be asked again: an earlier one has been answered, or given up.
	log.querySelector('.again')?.remove();
	log.append(turn);
	scrollToEnd();

	// The last answer may still be open behind its finish; whatever else it has comes too late.
	controller.abort();
	controller = new AbortController();
	const { signal } = controller;
	answering = true;
	showState();
	announce('The assistant is answering.');

	/** @param {string} ending how it ended, if there is more to say than the answer */
	const settle = (ending) => {
		announce(`${answer.text} ${ending}`);
		answering = false;
		showState();
	};

	/** @type {import('./illumichat.js').SendOptions['onRetry']} */
	const onRetry = (err, wait) => {
		const why = explainPause(err, wait);
		answer.wait(why, wait, 'Trying again.');
		announce(why);
	};

	/** @type {import('./illumichat.js').SendOptions['onReconnect']} */
	const onReconnect = (_err, wait) => {
		const why = explainReconnect(wait);
		// Each of many tries is too much to be read out.
		if (!answer.waits) announce(why);
		answer.wait(why, wait, 'Reconnecting.');
	};

	try {
		for await (const event of ask({ signal, onRetry, onReconnect })) {
			answer.show(event);
			if (event.type === 'tool-call') announce(`The assistant uses ${event.toolName}.`);
			if (event.type === 'finish') {
				settle(event.finishReason === 'stop' && answer.text ? '' : describeFinish(event.finishReason));
			}
		}
	} catch (err) {
		const again = create('button', 'again', 'Try again');
		again.addEventListener('click', () => {
			turn.remove();
			showTurn(content, (options) => chat.retry(options));
			question.focus();
		});
		if (signal.aborted) {
			answer.stop('Stopped.', again);
			settle('Stopped.');
			return;
		}
		console.error(err);
		const why = explain(err);
		answer.fail(why, ...code(err), again);
		settle(why);
	}
}

/**
 * @param {string} content
 * @param {Answer} answer
 */
function drawTurn(content, answer) {
	const turn = create('section', 'turn');
	turn.append(drawQuestion(content), answer.element);
	return turn;
}

/** @param {string} content */
function drawQuestion(content) {
	const element = create('article', 'question', content);
	element.dir = 'auto';
	element.setAttribute('aria-label', 'You');
	return element;
}

/**
 * Shows an error's code, small: a visitor can pass it on to the owner of the site.
 *
 * @param {unknown} err
 */
function code(err) {
	return err instanceof ChatError && err.code ? [create('code', '', err.code)] : [];
}

/**
 * Has a screen reader say something. It is gone when that has been said, so that nobody finds an answer twice.
 *
 * @param {string} text
 */
function announce(text) {
	announcer.textContent = text;
	clearTimeout(silence);
	silence = setTimeout(() => { announcer.textContent = ''; }, 10_000);
}

/** Brings the buttons in line with whether an answer streams, and whether there is something to send. */
function showState() {
	// A button that vanishes must not take the focus with it.
	if (document.activeElement === send || document.activeElement === stop) question.focus();
	send.hidden = answering;
	send.disabled = question.value.trim() === '';
	stop.hidden = !answering;
	log.setAttribute('aria-busy', String(answering));
}

question.addEventListener('input', showState);

question.addEventListener('keydown', (event) => {
	// Enter may also choose a word of an input method; Safari tells this by the key code alone.
	if (event.key !== 'Enter' || event.shiftKey || event.isComposing || event.keyCode === 229) return;
	event.preventDefault();
	// A key that is held down was not meant twice: it may have pressed Stop before.
	if (!event.repeat) composer.requestSubmit();
});

composer.addEventListener('submit', (event) => {
	event.preventDefault();
	const content = question.value.trim();
	if (answering || content === '') return;
	question.value = '';
	showTurn(content, (options) => chat.send(content, options));
});

stop.addEventListener('click', () => controller.abort());

// A browser may have kept the text of the last visit.
showState();

// The page may have been loaded anew in the middle of its chat.
showEarlier();

/** Shows what was said in this tab before, and goes on with the answer that was being written. */
function showEarlier() {
	let content = '';
	// This page asks with texts alone.
	for (const message of chat.messages) {
		if (message.role === 'user') {
			content = String(message.content);
			continue;
		}
		const answer = new Answer();
		answer.recall(String(message.content));
		log.append(drawTurn(content, answer));
	}
	scrollToEnd();
	const { openQuestion } = chat;
	if (openQuestion !== undefined) showTurn(String(openQuestion), (options) => chat.resume(options));
}

/**
 * Finds an element of the page.
 *
 * @template {Element} T
 * @param {string} selector
 * @param {new () => T} type
 */
function find(selector, type) {
	const element = document.querySelector(selector);
	if (!(element instanceof type)) throw new Error(`the page has no ${selector}`);
	return element;
}
