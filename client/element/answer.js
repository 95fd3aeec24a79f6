import { create } from './dom.js';
import { Prose } from './prose.js';
import { listSources, sourcesOf } from './sources.js';
import { Tool } from './tool.js';

/** @typedef {import('./words.js').Words} Words */
/** @typedef {import('../illumichat.js').ChatEvent} ChatEvent */

/**
 * The things that all answers of a conversation share.
 * @typedef {object} AnswerOptions
 * @property {Words} words
 * @property {string} [lang] the language of questions and answers, if it is not that of the words
 * @property {(text: string) => void} announce
 */

/** One answer in the log: its text as it streams in, the tools that it calls, and how it ended. */
export class AnswerView {
	element;

	/** The text so far, as the assistant wrote it. */
	text = '';

	#options;
	#live;

	/** The text that is being written. The box of a tool ends it. @type {Prose | undefined} */
	#prose;

	/** Is done when all texts before the one that is being written are drawn. @type {Promise<unknown>} */
	#drawn = Promise.resolve();

	/** The calls that wait for a result. @type {Tool[]} */
	#calls = [];

	/** @type {import('./sources.js').Source[]} */
	#sources = [];

	/** Says what the answer waits for. The next event removes it. */
	#pause = create('p', { class: 'pause' });

	/** Changes what the pause says when the time is over. */
	#pauseTimer = 0;

	#note = create('p', { class: 'note' });

	#ended = false;

	/**
	 * @param {AnswerOptions} options
	 * @param {boolean} live whether it is being written, so that a screen reader reads it
	 */
	constructor(options, live) {
		this.#options = options;
		this.#live = live;
		this.element = create('div', { class: 'answer', 'aria-busy': 'true' });
	}

	/** Whether the answer says that it waits. */
	get waits() {
		return this.#pause.isConnected;
	}

	/**
	 * Says why the answer has not begun, or does not go on.
	 *
	 * @param {string} line
	 * @param {number} seconds how long that is true
	 * @param {string} then what is true after that
	 */
	wait(line, seconds, then) {
		clearTimeout(this.#pauseTimer);
		this.#pause.textContent = line;
		this.element.append(this.#pause);
		this.#pauseTimer = setTimeout(() => { this.#pause.textContent = then; }, seconds * 1000);
	}

	/** Removes the line that says what the answer waits for. */
	stopWaiting() {
		clearTimeout(this.#pauseTimer);
		this.#pause.remove();
	}

	/**
	 * Says something about the answer, above it.
	 *
	 * @param {string} line
	 */
	note(line) {
		this.#note.textContent = line;
		this.element.prepend(this.#note);
	}

	/**
	 * Shows one event. Ignores types that it does not know, and events after the end of the answer.
	 *
	 * @param {ChatEvent} event
	 */
	show(event) {
		if (this.#ended) return;
		this.stopWaiting();
		this.#sources.push(...sourcesOf(event));
		switch (event.type) {
			case 'text-delta':
				this.#addText(event.textDelta);
				break;
			case 'tool-call':
				this.#addCall(event);
				break;
			case 'tool-result':
				this.#addResult(event);
				break;
		}
	}

	/**
	 * Ends the answer. Its text and its tools stay.
	 *
	 * @param {import('./ending.js').Ending} ending
	 * @param {HTMLElement} footer says how it ended
	 */
	async end({ kind }, footer) {
		if (this.#ended) return;
		this.#ended = true;
		this.stopWaiting();
		await this.#endText();
		for (const call of this.#calls) call.giveUp();
		this.#calls = [];
		if (this.#sources.length > 0) this.element.append(listSources(this.#options.words.say('sources'), this.#sources));
		if (kind) this.element.classList.add(kind);
		this.element.append(footer);
		this.element.setAttribute('aria-busy', 'false');
	}

	/** @param {string} delta */
	#addText(delta) {
		if (!delta) return;
		this.text += delta;
		if (!this.#prose) {
			const { words, lang, announce } = this.#options;
			this.#prose = new Prose(words, lang, this.#live ? announce : undefined);
			this.element.append(this.#prose.element);
		}
		this.#prose.append(delta);
	}

	#endText() {
		const ended = this.#prose?.end();
		this.#drawn = Promise.all([this.#drawn, ended]);
		this.#prose = undefined;
		return this.#drawn;
	}

	/** @param {ChatEvent & { type: 'tool-call' | 'tool-result' }} event */
	#addCall(event) {
		const { words, announce } = this.#options;
		const call = new Tool(words, event, announce);
		const { line } = call;
		// A text before it is drawn and announced with the next frame.
		this.#endText().then(() => {
			if (this.#live) announce(line);
		});
		this.element.append(call.element);
		this.#calls.push(call);
		return call;
	}

	/** @param {ChatEvent & { type: 'tool-result' }} event */
	#addResult(event) {
		const call = this.#callOf(event) ?? this.#addCall(event);
		this.#calls.splice(this.#calls.indexOf(call), 1);
		call.finish(event.result, 'isError' in event && event.isError === true);
	}

	/**
	 * Finds the call of a result. Without an id, results are taken to arrive in the order of the calls.
	 *
	 * @param {{ toolName: string, toolCallId?: string }} event
	 */
	#callOf({ toolName, toolCallId }) {
		const sameId = this.#calls.find(({ id }) => id !== undefined && id === toolCallId);
		return sameId ?? this.#calls.find(({ id, name }) => name === toolName && (id === undefined || toolCallId === undefined));
	}
}
