/** A block of text ends with the line in which it reaches this number of characters. */
const blockLength = 2000;

/**
 * A call of a tool that waits for its result.
 * @typedef {{ id: unknown, name: string, box: HTMLElement, state: HTMLElement }} Call
 */

/** One answer in the log: its text as it streams in, the tools that it calls, and how it ended. */
export class Answer {
	/** The text so far. */
	text = '';

	element = create('article', 'answer');

	/** Holds the text that is being written. The box of a tool ends it. @type {HTMLElement | null} */
	#prose = null;

	/** The last block of that text, which grows. */
	#growing = document.createTextNode('');

	/** @type {Call[]} */
	#calls = [];

	/** Says what the answer waits for. The next event removes it. */
	#pause = create('p', 'pause');

	/** Changes what the pause says when the time is over. */
	#pauseTimer = 0;

	#note = create('p', 'note');

	#ended = false;

	constructor() {
		this.element.setAttribute('aria-label', 'Assistant');
		this.element.setAttribute('aria-busy', 'true');
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

	/**
	 * Says something about the answer, above it.
	 *
	 * @param {string} line
	 */
	note(line) {
		this.#note.textContent = line;
		this.element.prepend(this.#note);
	}

	/** Removes all that was shown, because the answer begins anew. */
	clear() {
		this.text = '';
		this.#prose = null;
		this.#calls = [];
		this.element.replaceChildren();
	}

	/**
	 * Shows one event. Ignores types that it does not know, and events after the end of the answer.
	 *
	 * @param {import('./illumichat.js').ChatEvent} event
	 */
	show(event) {
		if (this.#ended) return;
		this.#resume();
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
	 * @param {string} line says how it ended
	 * @param {string} kind `stopped`, `failed`, or empty if it ended well
	 * @param {HTMLElement[]} more further elements for that line
	 */
	end(line, kind = '', ...more) {
		if (this.#ended) return;
		this.#ended = true;
		this.#resume();
		for (const call of this.#calls) call.state.textContent = 'no result';
		this.#calls = [];
		if (kind) this.element.classList.add(kind);
		const end = create('p', 'end', line);
		for (const element of more) end.append(' ', element);
		this.element.append(end);
		this.element.setAttribute('aria-busy', 'false');
	}

	/** @param {unknown} delta */
	#addText(delta) {
		if (typeof delta !== 'string') return;
		this.text += delta;
		if (!this.#prose) {
			this.#prose = create('div', 'text');
			this.element.append(this.#prose);
			this.#startBlock(this.#prose);
		}
		let start = 0;
		for (;;) {
			const end = delta.indexOf('\n', start + Math.max(0, blockLength - this.#growing.length)) + 1;
			if (end === 0) break;
			this.#growing.appendData(delta.slice(start, end));
			this.#startBlock(this.#prose);
			start = end;
		}
		this.#growing.appendData(delta.slice(start));
	}

	/**
	 * Starts another block. The browser lays out a whole block anew for each piece of text, so a long text has many blocks.
	 *
	 * @param {HTMLElement} prose
	 */
	#startBlock(prose) {
		this.#growing = document.createTextNode('');
		const block = create('div');
		block.dir = 'auto';
		block.append(this.#growing);
		prose.append(block);
	}

	/** @param {{ toolName: string, toolCallId?: string, args?: unknown }} event */
	#addCall({ toolName: name, toolCallId: id, args }) {
		const box = create('details', 'tool');
		box.setAttribute('open', '');
		const summary = create('summary');
		const state = create('span', 'state', 'running');
		summary.append(create('code', '', name), ' ', state);
		box.append(summary, ...labelled('Arguments', args));
		this.element.append(box);
		this.#prose = null;
		const call = { id, name, box, state };
		this.#calls.push(call);
		return call;
	}

	/** @param {{ toolName: string, toolCallId?: string, result: unknown }} event */
	#addResult(event) {
		const call = this.#callOf(event) ?? this.#addCall(event);
		this.#calls.splice(this.#calls.indexOf(call), 1);
		call.state.textContent = 'done';
		call.box.append(...labelled('Result', event.result));
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

	#resume() {
		clearTimeout(this.#pauseTimer);
		this.#pause.remove();
	}
}

/**
 * Makes an element. Its content is always text and never markup, because an answer may quote any page of the web.
 *
 * @param {string} name
 * @param {string} [className]
 * @param {string} [text]
 */
export function create(name, className = '', text = '') {
	const element = document.createElement(name);
	if (className) element.className = className;
	element.textContent = text;
	return element;
}

/**
 * Shows a value that a tool took or returned. Returns no element if there is no value.
 *
 * @param {string} label
 * @param {unknown} value
 */
function labelled(label, value) {
	if (value === undefined) return [];
	const row = create('div', 'value');
	const pre = create('pre', '', typeof value === 'string' ? value : JSON.stringify(value));
	// A long value scrolls, so the keyboard must reach it.
	pre.tabIndex = 0;
	pre.setAttribute('role', 'group');
	pre.setAttribute('aria-label', label);
	row.append(create('span', 'label', label), pre);
	return [row];
}
