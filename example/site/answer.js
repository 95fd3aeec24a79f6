/** From how many characters on a block of text ends with its line. */
const blockLength = 2000;

/** One answer in the log: its text as it streams in, the tools it calls, and how it ended. */
export class Answer {
	/** All of the text so far. */
	text = '';

	element = create('article', 'answer');

	/** Where the text is written; a tool's box ends it. @type {HTMLElement | null} */
	#prose = null;

	/** The end of it, which grows. */
	#growing = document.createTextNode('');

	/** The calls that wait for their result. @type {{ name: string, box: HTMLElement, state: HTMLElement }[]} */
	#calls = [];

	/** What the answer waits for; gone with its next event. */
	#pause = create('p', 'pause');

	/** Changes what it says when the waiting is over. */
	#pauseTimer = 0;

	#ended = false;

	constructor() {
		this.element.setAttribute('aria-label', 'Assistant');
		this.element.setAttribute('aria-busy', 'true');
	}

	/** Whether it is said that the answer does not go on. */
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
	 * Shows an answer of before. Of that the text is all that is known.
	 *
	 * @param {string} text
	 */
	recall(text) {
		this.#addText(text);
		this.#ended = true;
		this.element.setAttribute('aria-busy', 'false');
	}

	/**
	 * Shows one event. The types it does not know are left alone, and what comes when the answer is over.
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
				this.#addCall(event.toolName, event.args);
				break;
			case 'tool-result':
				this.#addResult(event.toolName, event.result);
				break;
			case 'finish':
				this.#end(describeFinish(event.finishReason));
				break;
		}
	}

	/**
	 * Marks an answer that the visitor stopped. What came of it stays.
	 *
	 * @param {string} line
	 * @param {HTMLElement[]} more further elements for that line
	 */
	stop(line, ...more) {
		this.element.classList.add('stopped');
		this.#end(line, ...more);
	}

	/**
	 * Marks an answer that did not come to its end. What came of it stays.
	 *
	 * @param {string} line
	 * @param {HTMLElement[]} more further elements for that line
	 */
	fail(line, ...more) {
		this.element.classList.add('failed');
		this.#end(line, ...more);
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
		const end = this.#growing.length < blockLength ? 0 : delta.indexOf('\n') + 1;
		if (end > 0) {
			this.#growing.appendData(delta.slice(0, end));
			this.#startBlock(this.#prose);
		}
		this.#growing.appendData(delta.slice(end));
	}

	/**
	 * With each piece of a text the browser lays its whole block out anew, so a long text has many.
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

	/**
	 * @param {string} name
	 * @param {unknown} args
	 */
	#addCall(name, args) {
		const box = create('details', 'tool');
		box.setAttribute('open', '');
		const summary = create('summary');
		const state = create('span', 'state', 'running');
		summary.append(create('code', '', name), ' ', state);
		box.append(summary, ...labelled('Arguments', args));
		this.element.append(box);
		this.#prose = null;
		this.#calls.push({ name, box, state });
	}

	/**
	 * @param {string} name
	 * @param {unknown} result
	 */
	#addResult(name, result) {
		// Events name the tool and not the call, so results are taken to come in the order of the calls.
		let index = this.#calls.findIndex((call) => call.name === name);
		if (index < 0) {
			this.#addCall(name, undefined);
			index = this.#calls.length - 1;
		}
		const [call] = this.#calls.splice(index, 1);
		call.state.textContent = 'done';
		call.box.append(...labelled('Result', result));
	}

	#resume() {
		clearTimeout(this.#pauseTimer);
		this.#pause.remove();
	}

	/**
	 * @param {string} line
	 * @param {HTMLElement[]} more
	 */
	#end(line, ...more) {
		this.#ended = true;
		this.#resume();
		for (const call of this.#calls) call.state.textContent = 'no result';
		this.#calls = [];
		const end = create('p', 'end', line);
		for (const element of more) end.append(' ', element);
		this.element.append(end);
		this.element.setAttribute('aria-busy', 'false');
	}
}

/**
 * Says how an answer has ended well.
 *
 * @param {unknown} reason
 */
export function describeFinish(reason) {
	if (reason === 'length') return 'Finished: length (the answer reached its limit)';
	return typeof reason === 'string' ? `Finished: ${reason}` : 'Finished';
}

/**
 * Makes an element. What it says is always text, never markup: an answer may quote any page of the web.
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
 * Shows a value that a tool took or gave; nothing where there is none.
 *
 * @param {string} label
 * @param {unknown} value
 */
function labelled(label, value) {
	if (value === undefined) return [];
	const row = create('div', 'value');
	const pre = create('pre', '', typeof value === 'string' ? value : JSON.stringify(value));
	// A long value scrolls, so it must be in the reach of the keyboard.
	pre.tabIndex = 0;
	pre.setAttribute('role', 'group');
	pre.setAttribute('aria-label', label);
	row.append(create('span', 'label', label), pre);
	return [row];
}
