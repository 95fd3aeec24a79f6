import { focusWhileScrolling } from '../markdown/scroll.js';
import { copyButton } from './clipboard.js';
import { create } from './dom.js';
import { describeTool } from './tools.js';

/** @typedef {import('./words.js').Words} Words */

/** How many characters of a value are shown. A result of some megabytes would keep the page from reacting. */
const mostShown = 10_000;

/** A call of a tool: one line in words, and its details on demand. */
export class Tool {
	element = create('details', { class: 'tool' });

	#words;
	#announce;
	#state = create('span', { class: 'state' });

	/** The values that the visitor has not opened yet. @type {[label: string, value: unknown][]} */
	#details = [];

	#box = create('div', { class: 'details' });

	/**
	 * @param {Words} words
	 * @param {{ toolName: string, toolCallId?: string, args?: unknown }} call
	 * @param {(said: string) => void} announce
	 */
	constructor(words, { toolName, toolCallId, args }, announce) {
		this.#words = words;
		this.#announce = announce;
		// The API promises a name, but a chat must not break without one.
		this.name = String(toolName ?? '');
		this.id = toolCallId;
		this.#box.append(create('p', { class: 'label' }, create('code', {}, this.name)));
		this.element.append(create('summary', {}, this.#state));
		this.element.addEventListener('toggle', () => this.#showDetails());
		this.#say('running');
		this.#add(words.say('arguments'), args);
	}

	/** Says in words what the tool does. */
	get line() {
		return this.#state.textContent;
	}

	/**
	 * @param {unknown} result
	 * @param {boolean} failed
	 */
	finish(result, failed) {
		this.#say(failed ? 'failed' : 'done');
		this.#add(this.#words.say('result'), result);
	}

	/** Says that no result came before the answer ended. */
	giveUp() {
		this.#say('noResult');
	}

	/** @param {import('./tools.js').ToolState} state */
	#say(state) {
		this.element.dataset.state = state;
		this.#state.textContent = describeTool(this.#words, this.name, state);
	}

	/**
	 * @param {string} label
	 * @param {unknown} value
	 */
	#add(label, value) {
		if (value === undefined) return;
		this.#details.push([label, value]);
		this.#showDetails();
	}

	/** Shows what is not shown yet. What is there stays, because the visitor may be reading it. */
	#showDetails() {
		if (!this.element.open) return;
		if (!this.#box.isConnected) this.element.append(this.#box);
		this.#box.append(...this.#details.splice(0).map(([label, value]) => this.#row(label, value)));
	}

	/**
	 * @param {string} label
	 * @param {unknown} value
	 */
	#row(label, value) {
		const text = typeof value === 'string' ? value : JSON.stringify(value, null, 2);
		const shown = text.length > mostShown ? `${text.slice(0, mostShown)}…` : text;
		const pre = create('pre', { dir: 'ltr' }, shown);
		focusWhileScrolling(pre, label);
		return create('div', { class: 'value' },
			create('span', { class: 'label' }, label),
			pre,
			copyButton(this.#words, this.#words.say('copy'), () => text, this.#announce));
	}
}
