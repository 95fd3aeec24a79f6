import { longLine } from './blocks.js';
import { patchInlines } from './inline-nodes.js';
import { parseInlines } from './inlines.js';

/** @typedef {import('./blocks.js').Block} Block */
/** @typedef {import('./views.js').Context} Context */

/** From this length on, what may still change of a text is read anew only when it has grown by an eighth. */
const longText = 2048;

/** From this length on, it is read when the block is complete. */
const longestText = 32_768;

/** A paragraph that may be the definition of a link. */
const maybeDefinition = /^\[(?:[^[\]\\]|\\.)*(?:\](?::[^]*|\s*))?$/;

/** A paragraph, a heading, or a cell of a table. */
export class TextView {
	/** The block that is shown. @type {Block | undefined} */
	#block;

	/** The parts of its text. @type {string[] | undefined} */
	#parts;

	/** How many of them are read for good. */
	#taken = 0;

	/** Their text, without what is before #last. */
	#kept = '';

	/** The text that is shown beyond it. */
	#fresh = '';

	/** How many characters are before #last. */
	#before = 0;

	/** The last node that cannot change any more. @type {Node | null} */
	#last;

	/** The node before #last that is not part of the text. */
	#first;

	/** Where the text may be cut, and the last node before that. @type {{ at: number, last: Node | null } | undefined} */
	#cut;

	/** How long the text was when it was read. */
	#read = 0;

	/** The text that is shown, unless that has to be done anew. @type {string | undefined} */
	#shown;

	#isOpen = false;
	#context;

	/**
	 * @param {HTMLElement} element
	 * @param {Context} context
	 */
	constructor(element, context) {
		this.element = element;
		this.#first = this.#last = element.lastChild;
		this.#context = context;
	}

	/** How long its text is. */
	get length() {
		return this.#before + this.#kept.length + this.#fresh.length;
	}

	/** @param {Block} block */
	patch(block) {
		if (block.parts !== this.#parts || block.parts.length < this.#taken) this.#restart(block.parts);
		this.#block = block;
		const fresh = block.parts.slice(this.#taken).join('');
		const length = this.#kept.length + fresh.length;
		const mayWait = length > longestText || length > longText && length < this.#read * 9 / 8;
		if (mayWait && block.open && this.#read > 0 && fresh.startsWith(this.#fresh)) this.#appendPlain(fresh.slice(this.#fresh.length));
		else this.#show(block, this.#kept + fresh);
		this.#fresh = fresh;
	}

	/** @param {Block} block */
	settle({ parts }) {
		if (parts !== this.#parts) return;
		const added = parts.slice(this.#taken).join('');
		this.#kept += added;
		this.#taken = parts.length;
		this.#fresh = this.#fresh.slice(added.length);
		if (!this.#cut || this.#cut.at > this.#kept.length) return;
		this.#kept = this.#kept.slice(this.#cut.at);
		this.#before += this.#cut.at;
		this.#read -= this.#cut.at;
		this.#last = this.#cut.last;
		this.#shown = this.#cut = undefined;
	}

	/** Shows the whole text anew, with links that have been defined after it. */
	refresh() {
		if (!this.#block) return;
		this.#restart(this.#block.parts);
		this.#shown = undefined;
		this.patch(this.#block);
	}

	/** @param {string[]} parts */
	#restart(parts) {
		this.#parts = parts;
		this.#taken = this.#read = this.#before = 0;
		this.#kept = this.#fresh = '';
		if (this.#last !== this.#first) this.#shown = undefined;
		this.#last = this.#first;
		this.#cut = undefined;
	}

	/**
	 * @param {Block} block
	 * @param {string} source
	 */
	#show(block, source) {
		const text = block.open && block.type === 'paragraph' ? this.#withoutUndecided(source) : source;
		this.#read = source.length;
		if (text === this.#shown && block.open === this.#isOpen) return;
		this.#shown = text;
		this.#isOpen = block.open;
		const { definitions, onMissing } = this.#context;
		const { nodes, cut } = parseInlines(text, { definitions, unfinished: block.open, onMissing: (label) => onMissing(label, this) });
		const last = patchInlines(this.element, this.#last, nodes, cut, this.#context);
		this.#cut = cut > 0 ? { at: cut, last } : undefined;
		if (block.type === 'paragraph') this.element.hidden = this.element.lastChild === this.#first;
	}

	/**
	 * Leaves out the last line if it may become a table's header, and what may be a definition.
	 *
	 * @param {string} text
	 */
	#withoutUndecided(text) {
		const lastLine = text.lastIndexOf('\n', text.length - 2) + 1;
		if (text[lastLine] === '|' && text.length - lastLine <= longLine) return text.slice(0, lastLine);
		const isStart = this.#last === this.#first && text[0] === '[' && text.length <= longLine;
		return isStart && maybeDefinition.test(text) ? '' : text;
	}

	/** @param {string} text */
	#appendPlain(text) {
		if (text === '') return;
		const { lastChild } = this.element;
		if (lastChild?.nodeType === 3) /** @type {Text} */ (lastChild).appendData(text);
		else this.element.append(text);
		this.#shown = undefined;
	}
}
