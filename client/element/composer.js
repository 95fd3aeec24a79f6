import { button, create, label } from './dom.js';

/** Matches touch devices, whose keyboard covers half of the page. */
const touch = globalThis.matchMedia?.('(pointer: coarse)');

/** How many milliseconds a double click takes at most. */
const doubleClick = 500;

/** For how many milliseconds a visitor has not written when the draft is kept. */
const draftPause = 300;

/** From this many characters on, a text is long. */
const longText = 4000;

/**
 * @typedef {object} ComposerOptions
 * @property {import('./words.js').Words} words
 * @property {(content: string, edited: boolean) => void} onSend `edited` if it is to replace the last question
 * @property {() => void} onStop
 * @property {(text: string) => void} onDraft keeps what the visitor is writing
 * @property {AbortSignal} signal ends what the composer listens to outside of itself
 * @property {() => void} onTouch moves the focus to where it opens no keyboard
 */

/** The box for a question, with Send and Stop. */
export class Composer {
	element = create('form', { id: 'composer' });

	#options;
	#box = create('textarea', { id: 'question', dir: 'auto', rows: 1, autocomplete: 'off', 'aria-describedby': 'keys' });
	#send = create('button', { id: 'send', type: 'submit', disabled: true });
	#stop = button('', '', () => {});
	#editing = create('p', { class: 'editing', hidden: true });
	#quota = create('p', { class: 'quota', hidden: true });

	#ready = false;
	#answering = false;

	/** The visitor's text from before the last question came into the box. @type {string | undefined} */
	#before;

	/** When Send was clicked last. */
	#sentAt = -Infinity;

	#draftTimer = 0;

	/** @param {ComposerOptions} options */
	constructor(options) {
		const { words } = options;
		/** @param {'sendKey' | 'newLineKey'} name */
		const key = (name) => create('kbd', {}, words.say(name));
		this.#options = options;
		this.#stop.id = 'stop';
		this.#stop.hidden = true;
		label(this.#send, words.say('send'));
		label(this.#stop, words.say('stop'));
		this.#editing.append(words.say('editing'), ' ', button('cancel', words.say('cancelEdit'), () => this.#cancelEdit()));
		this.element.append(
			this.#editing,
			create('label', { for: 'question', class: 'visually-hidden' }, words.say('yourMessage')),
			create('div', { class: 'box' }, this.#box, this.#send, this.#stop),
			create('p', { id: 'keys' }, ...words.parts('keysHint', { send: key('sendKey'), newLine: key('newLineKey') })),
			this.#quota);
		this.#labelEnter();
		this.#listen();
	}

	/** The text in the box. */
	get text() {
		return this.#box.value;
	}

	set text(text) {
		this.#box.value = text;
		this.#fit();
		this.#show();
	}

	/** @param {string} text what the empty box says */
	set placeholder(text) {
		this.#box.placeholder = text;
	}

	/** Empties the box. */
	clear() {
		this.#before = undefined;
		this.#endEdit();
	}

	/**
	 * Shows the buttons that can be used now.
	 *
	 * @param {boolean} ready whether the page knows whose conversation the tab holds
	 * @param {boolean} answering whether an answer is on its way
	 */
	update(ready, answering) {
		this.#ready = ready;
		this.#answering = answering;
		this.#show();
	}

	/** Moves the focus to where the visitor goes on. On a touch device, the box would open the keyboard. */
	focus() {
		if (touch?.matches) this.#options.onTouch();
		else this.#box.focus();
	}

	/**
	 * Lets the visitor change the last question.
	 *
	 * @param {string} text
	 */
	edit(text) {
		this.#before ??= this.text;
		this.#editing.hidden = false;
		this.text = text;
		this.#box.focus();
	}

	/**
	 * Says that a limit is nearly used up.
	 *
	 * @param {string} line empty for nothing
	 */
	showQuota(line) {
		this.#quota.textContent = line;
		this.#quota.hidden = !line;
	}

	/** Keeps what the visitor is writing, at once. */
	keepDraft() {
		clearTimeout(this.#draftTimer);
		// A question that is being edited is kept already, as the last one.
		this.#options.onDraft(this.#before ?? this.text);
	}

	#listen() {
		touch?.addEventListener('change', () => this.#labelEnter(), { signal: this.#options.signal });
		this.#box.addEventListener('input', () => {
			this.#fit();
			this.#show();
			clearTimeout(this.#draftTimer);
			this.#draftTimer = setTimeout(() => this.keepDraft(), draftPause);
		});
		this.#box.addEventListener('keydown', (event) => this.#onKey(event));
		this.element.addEventListener('submit', (event) => {
			event.preventDefault();
			this.#submit();
		});
		this.#send.addEventListener('click', ({ timeStamp }) => { this.#sentAt = timeStamp; });
		this.#stop.addEventListener('click', ({ detail, timeStamp }) => {
			// The second click of a double click on Send hits Stop. A key makes a click without a number.
			if (detail === 0 || timeStamp - this.#sentAt >= doubleClick) this.#options.onStop();
		});
	}

	/** @param {KeyboardEvent} event */
	#onKey(event) {
		// Enter may also choose a word of an input method. Safari reports that only by the key code.
		if (event.isComposing || event.keyCode === 229) return;
		if (event.key === 'Escape' && this.#before !== undefined) {
			// It is not meant for a dialog that the chat is in.
			event.preventDefault();
			event.stopPropagation();
			this.#cancelEdit();
			return;
		}
		if (event.key !== 'Enter') return;
		const wanted = event.ctrlKey || event.metaKey;
		if (!wanted && (event.shiftKey || touch?.matches)) return;
		event.preventDefault();
		// A key that is held down repeats, and may have pressed Stop before.
		if (!event.repeat) this.element.requestSubmit();
	}

	#submit() {
		const content = this.text.trim();
		if (!this.#ready || this.#answering || !content) return;
		const edited = this.#before !== undefined;
		clearTimeout(this.#draftTimer);
		this.#endEdit();
		this.#options.onSend(content, edited);
		if (edited) this.keepDraft();
	}

	#cancelEdit() {
		this.#endEdit();
		this.focus();
	}

	/** Empties the box, or gives it back what the visitor was writing before. */
	#endEdit() {
		this.text = this.#before ?? '';
		this.#before = undefined;
		this.#editing.hidden = true;
	}

	#show() {
		// A button that vanishes must not take the focus with it.
		const { activeElement } = /** @type {ShadowRoot | Document} */ (this.element.getRootNode());
		if (activeElement === this.#send || activeElement === this.#stop) this.focus();
		this.#send.hidden = this.#answering;
		this.#send.disabled = !this.#ready || !/\S/.test(this.text);
		this.#stop.hidden = !this.#answering;
	}

	/** The browser lays a long text out with each key, so it gets as little to look at as possible. */
	#fit() {
		const long = this.text.length > longText;
		if (long === this.#box.classList.contains('long')) return;
		this.#box.dir = long ? getComputedStyle(this.#box).direction : 'auto';
		this.#box.classList.toggle('long', long);
	}

	/** Labels the Enter key of a touch keyboard. It makes a new line, because such a keyboard has no Shift and Enter. */
	#labelEnter() {
		this.#box.enterKeyHint = touch?.matches ? 'enter' : 'send';
	}
}
