import { Answer, create } from './answer.js';
import { endingOf, spoken } from './ending.js';
import { explainPause, explainReconnect } from './explain.js';
import { Chat, ChatError } from './illumichat.js';
import { keepEndInView } from './scroll.js';

const chat = new Chat('/api/chat-proxy', { storageKey: 'chat' });

const log = find('#log', HTMLElement);
const composer = find('#composer', HTMLFormElement);
const question = find('#question', HTMLTextAreaElement);
const send = find('#send', HTMLButtonElement);
const stop = find('#stop', HTMLButtonElement);
const announcer = find('#announcer', HTMLElement);
const scroller = find('#scroller', HTMLElement);
const scrollToEnd = keepEndInView(scroller, log);

/** Matches touch devices, whose keyboard covers half of the page. */
const touch = matchMedia('(pointer: coarse)');

/** How many milliseconds a double click takes at most. */
const doubleClick = 500;

/** Whether the page knows whose conversation the tab holds. */
let ready = false;

/** Whether an answer is on its way. */
let answering = false;

/** Empties the announcer. */
let silence = 0;

/** Closes the connection of the latest answer. */
let reading = new AbortController();

/** When Send was clicked last. */
let sentAt = -Infinity;

/**
 * Shows a question, and its answer until it ends.
 *
 * @param {string} content
 * @param {(options: import('./illumichat.js').SendOptions) => ReturnType<Chat['send']>} ask asks the question
 * @param {readonly import('./illumichat.js').ChatEvent[]} [known] what is known of the answer, which is about to come again
 */
async function showTurn(content, ask, known = []) {
	const answer = new Answer();
	for (const event of known) answer.show(event);
	const turn = drawTurn(content, answer);
	// Only the latest question can be asked again.
	log.querySelector('.again')?.remove();
	log.append(turn);
	scrollToEnd();

	const mine = readAnother();
	answering = true;
	showState();
	announce('The assistant is answering.');

	let settled = false;

	/** @param {unknown} [thrown] */
	const settle = (thrown) => {
		// The page may have begun to show the conversation anew.
		if (settled || reading !== mine) return;
		settled = true;
		const ending = endingOf(/** @type {import('./illumichat.js').Turn} */ (chat.turns.at(-1)), thrown);
		drawEnding(turn, content, answer, ending);
		announce(`${answer.text} ${spoken(ending)}`);
		answering = false;
		showState();
	};

	/** @type {import('./illumichat.js').SendOptions['onRetry']} */
	const onRetry = (err, wait) => {
		const { why, then } = explainPause(err, wait);
		answer.wait(why, wait, then);
		announce(why);
	};

	/** @type {import('./illumichat.js').SendOptions['onReconnect']} */
	const onReconnect = (_err, wait) => {
		const { why, then } = explainReconnect(wait);
		// There may be many attempts, too many to be read out.
		if (!answer.waits) announce(why);
		answer.wait(why, wait, then);
	};

	const onShorten = () => {
		// From then on it holds for each question.
		if (log.querySelector('.note')) return;
		const note = 'This conversation is long. The assistant sees only the last part of it.';
		answer.note(note);
		announce(note);
	};

	try {
		for await (const event of ask({ signal: mine.signal, onRetry, onReconnect, onShorten })) {
			if (settled) continue;
			if (known.length > 0) answer.clear();
			known = [];
			answer.show(event);
			if (event.type === 'tool-call') announce(`The assistant uses ${event.toolName}.`);
			// After a finish that ends only a step, the turn is still open.
			if (event.type === 'finish' && chat.turns.at(-1)?.state !== 'open') settle();
		}
		settle();
	} catch (err) {
		if (reading === mine && !(err instanceof ChatError)) console.error(err);
		settle(err);
	}
}

/** Closes the connection of the latest answer, which may be open after its finish, and returns the controller of the next. */
function readAnother() {
	reading.abort();
	reading = new AbortController();
	return reading;
}

/**
 * Shows a turn of before.
 *
 * @param {import('./illumichat.js').Turn} kept
 */
function showKept(kept) {
	const answer = new Answer();
	for (const event of kept.events) answer.show(event);
	const turn = drawTurn(textOf(kept), answer);
	log.querySelector('.again')?.remove();
	log.append(turn);
	drawEnding(turn, textOf(kept), answer, endingOf(kept));
}

/**
 * Returns the text of a question. This page asks nothing else.
 *
 * @param {import('./illumichat.js').Turn} turn
 */
function textOf({ content }) {
	return typeof content === 'string' ? content : JSON.stringify(content);
}

/**
 * Says how an answer ended. If it did not end well, the visitor can ask again.
 *
 * @param {HTMLElement} turn
 * @param {string} content
 * @param {Answer} answer
 * @param {import('./ending.js').Ending} ending
 */
function drawEnding(turn, content, answer, { line, kind, code }) {
	const more = [];
	if (code) more.push(create('code', '', code));
	if (kind) {
		const again = create('button', 'again', 'Try again');
		again.addEventListener('click', () => {
			turn.remove();
			showTurn(content, (options) => chat.retry(options));
			focusOn();
		});
		more.push(again);
	}
	answer.end(line, kind, ...more);
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
 * Lets a screen reader say something. The text is removed after a while, so that nobody finds an answer twice.
 *
 * @param {string} text
 */
function announce(text) {
	announcer.textContent = text;
	clearTimeout(silence);
	silence = setTimeout(() => { announcer.textContent = ''; }, 10_000);
}

/** Shows the buttons that can be used now. */
function showState() {
	// A button that vanishes must not take the focus with it.
	if (document.activeElement === send || document.activeElement === stop) focusOn();
	send.hidden = answering;
	send.disabled = !ready || question.value.trim() === '';
	stop.hidden = !answering;
	log.setAttribute('aria-busy', String(answering));
}

/** Moves the focus to where the visitor goes on. On a touch device, the box for the question would open the keyboard. */
function focusOn() {
	if (touch.matches) scroller.focus({ preventScroll: true });
	else question.focus();
}

/** Labels the Enter key of a touch keyboard. It makes a new line, because such a keyboard has no Shift and Enter. */
function labelEnter() {
	question.enterKeyHint = touch.matches ? 'enter' : 'send';
}

touch.addEventListener('change', labelEnter);
labelEnter();

question.addEventListener('input', () => {
	chat.draft = question.value;
	showState();
});

question.addEventListener('keydown', (event) => {
	// Enter may also choose a word of an input method. Safari reports that only by the key code.
	if (event.key !== 'Enter' || event.isComposing || event.keyCode === 229) return;
	const wanted = event.ctrlKey || event.metaKey;
	if (!wanted && (event.shiftKey || touch.matches)) return;
	event.preventDefault();
	// A key that is held down repeats, and may have pressed Stop before.
	if (!event.repeat) composer.requestSubmit();
});

composer.addEventListener('submit', (event) => {
	event.preventDefault();
	const content = question.value.trim();
	if (!ready || answering || content === '') return;
	question.value = '';
	showTurn(content, (options) => chat.send(content, options));
});

send.addEventListener('click', (event) => { sentAt = event.timeStamp; });

stop.addEventListener('click', (event) => {
	// The second click of a double click on Send hits Stop. A key makes a click without a number.
	if (event.detail > 0 && event.timeStamp - sentAt < doubleClick) return;
	chat.stop();
});

// The browser may have kept the whole page for its Back button, while somebody else logged in.
addEventListener('pageshow', (event) => {
	if (event.persisted && !answering) showEarlier(false);
});

const [navigation] = performance.getEntriesByType('navigation');
showEarlier(navigation instanceof PerformanceNavigationTiming && navigation.type === 'reload');

/**
 * Shows what was said in this tab before, and continues the answer that was being written.
 *
 * @param {boolean} reloaded otherwise somebody else may have logged in meanwhile
 */
async function showEarlier(reloaded) {
	readAnother();
	ready = answering = false;
	log.replaceChildren();
	showState();
	const found = question.value;
	if (!reloaded && !await chat.belongsToVisitor()) {
		chat.reset();
		if (question.value === found) question.value = '';
		chat.draft = question.value;
	}
	ready = true;
	// The visitor may have begun to write.
	question.value ||= chat.draft;
	const open = chat.openQuestion !== undefined ? chat.turns.at(-1) : undefined;
	for (const turn of chat.turns) {
		if (turn !== open) showKept(turn);
	}
	scrollToEnd();
	if (open) showTurn(textOf(open), (options) => chat.resume(options), open.events);
	else showState();
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
