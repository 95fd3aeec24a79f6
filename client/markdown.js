/**
 * Shows Markdown while it grows, as answers of assistants do:
 *
 *	const view = new MarkdownView(element);
 *	for await (const event of chat.send('Hello')) {
 *		if (event.type === 'text-delta') view.append(event.textDelta);
 *	}
 *	view.end();
 *
 * It makes elements and texts, never HTML. What is complete is not touched again, so that a selection survives, and a piece
 * of text costs no more than what it may still change.
 */
import { Blocks } from './markdown/blocks.js';
import { ContainerView } from './markdown/views.js';

/** @typedef {import('./markdown/text-view.js').TextView} TextView */

/**
 * @typedef {object} MarkdownLabels
 * @property {string} copy on the button that copies code
 * @property {string} copied on that button when it has done so
 * @property {string} code what scrolling code is called
 * @property {string} table what a scrolling table is called
 * @property {string} image the text of the link to an image without a description
 */

/**
 * @typedef {object} MarkdownOptions
 * @property {Partial<MarkdownLabels>} [labels] in the page's language; default: English
 */

/** @type {MarkdownLabels} */
const english = { copy: 'Copy', copied: 'Copied', code: 'Code', table: 'Table', image: 'Image' };

/** How often all of the text may be shown anew, on average, for links that are defined after they are used. */
const mostRefreshes = 4;

/** Renders Markdown into an element while it grows. */
export class MarkdownView {
	#text = '';
	#blocks = new Blocks();
	#root;
	#ended = false;

	/** The views of texts that have a label without a definition. @type {Map<string, Set<TextView>>} */
	#waiting = new Map();

	/** Views whose links have been defined since they were shown. @type {Set<TextView>} */
	#outdated = new Set();

	/** How many characters have been shown anew. */
	#refreshed = 0;

	/**
	 * @param {Element | DocumentFragment} element receives the blocks
	 * @param {MarkdownOptions} [options]
	 */
	constructor(element, { labels } = {}) {
		this.#blocks.onDefinition = (label) => this.#noteDefinition(label);
		this.#root = new ContainerView(element, {
			document: element.ownerDocument,
			labels: { ...english, ...labels },
			definitions: this.#blocks.definitions,
			onMissing: (label, view) => this.#wait(label, view),
			outline: [],
		});
	}

	/** The text so far. */
	get text() {
		return this.#text;
	}

	/**
	 * Adds text. The element shows it when this returns.
	 *
	 * @param {string} text
	 */
	append(text) {
		if (this.#ended) throw new Error('the text has ended');
		this.#text += text;
		this.#blocks.push(text);
		const { root } = this.#blocks;
		if (this.#blocks.preview(() => this.#root.patch(root))) this.#root.settle(root);
		this.#refresh(mostRefreshes * this.#text.length);
	}

	/** The text is complete. What is half-written is shown as the characters that it is. */
	end() {
		if (this.#ended) return;
		this.#ended = true;
		this.#blocks.end();
		this.#root.patch(this.#blocks.root);
		this.#root.settle(this.#blocks.root);
		this.#refresh(Infinity);
	}

	/**
	 * @param {string} label
	 * @param {TextView} view
	 */
	#wait(label, view) {
		const views = this.#waiting.get(label);
		if (views) views.add(view);
		else this.#waiting.set(label, new Set([view]));
	}

	/** @param {string} label */
	#noteDefinition(label) {
		for (const view of this.#waiting.get(label) ?? []) this.#outdated.add(view);
		this.#waiting.delete(label);
	}

	/**
	 * Shows outdated views anew, as far as the budget goes. The rest is done at the end of the text.
	 *
	 * @param {number} budget in characters
	 */
	#refresh(budget) {
		for (const view of this.#outdated) {
			if (this.#refreshed + view.length > budget) return;
			this.#refreshed += view.length;
			this.#outdated.delete(view);
			view.refresh();
		}
	}
}

/**
 * Renders a complete text.
 *
 * @param {string} text
 * @param {MarkdownOptions} [options]
 * @returns {DocumentFragment}
 */
export function renderMarkdown(text, options) {
	const fragment = document.createDocumentFragment();
	const view = new MarkdownView(fragment, options);
	view.append(text);
	view.end();
	return fragment;
}
