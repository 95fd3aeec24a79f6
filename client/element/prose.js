import { MarkdownView } from '../markdown.js';
import { create } from './dom.js';
import { beforeNextFrame } from './frames.js';
import { Sentences } from './sentences.js';

/** @typedef {import('./words.js').Words} Words */

/** How many characters are drawn in one frame: a longer text must not keep the page from reacting. */
const mostPerFrame = 2000;

/** Text of an answer that grows. What arrives within a frame is drawn together. */
export class Prose {
	element;

	#view;
	#sentences;
	#onSentences;

	/** The text that is not drawn yet. */
	#pending = '';

	#drawing = false;

	/** Is called when all is drawn, if the text has ended. @type {(() => void) | undefined} */
	#ended;

	/**
	 * @param {Words} words
	 * @param {string | undefined} lang the language of the text, if it is not that of the words
	 * @param {(text: string) => void} [onSentences] is called with each sentence that is complete
	 */
	constructor(words, lang, onSentences) {
		// Auto-translation replaces the nodes of a text, so it must wait for the end.
		this.element = create('div', { class: 'text', translate: 'no', lang });
		this.#view = new MarkdownView(this.element, { labels: markdownLabels(words) });
		this.#sentences = new Sentences(this.element, lang ?? words.lang);
		this.#onSentences = onSentences;
	}

	/** @param {string} text */
	append(text) {
		this.#pending += text;
		this.#draw();
	}

	/** Ends the text. Resolves when all of it is drawn. */
	end() {
		return new Promise((resolve) => {
			this.#ended = () => resolve(undefined);
			if (this.#pending.length <= mostPerFrame) this.#step();
			else this.#draw();
		});
	}

	#draw() {
		if (this.#drawing) return;
		this.#drawing = true;
		beforeNextFrame(() => {
			this.#drawing = false;
			if (this.#pending) this.#step();
			if (this.#pending) this.#draw();
		});
	}

	#step() {
		const end = wholeCharacters(this.#pending, mostPerFrame);
		this.#view.append(this.#pending.slice(0, end));
		this.#pending = this.#pending.slice(end);
		if (this.#ended && !this.#pending) {
			this.#view.end();
			this.element.removeAttribute('translate');
			this.#ended();
			this.#ended = undefined;
			this.#announce(true);
		} else {
			this.#announce(false);
		}
	}

	/** @param {boolean} ended */
	#announce(ended) {
		if (!this.#onSentences) return;
		const text = this.#sentences.next(ended);
		if (text) this.#onSentences(text);
	}
}

/** @param {Words} words */
function markdownLabels(words) {
	return { copy: words.say('copyCode'), copied: words.say('copied'), code: words.say('code'), table: words.say('table'), image: words.say('image') };
}

/**
 * Returns how much of a text can be taken without cutting a character in two.
 *
 * @param {string} text
 * @param {number} most
 */
function wholeCharacters(text, most) {
	if (text.length <= most) return text.length;
	const last = text.charCodeAt(most - 1);
	return last >= 0xd800 && last < 0xdc00 ? most - 1 : most;
}
