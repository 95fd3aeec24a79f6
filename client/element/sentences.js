/** How often a growing text is searched for sentences at most, in milliseconds: nobody listens faster. */
const interval = 500;

/** The elements between whose texts a screen reader pauses. */
const blocks = 'p, h3, h4, h5, h6, li, td, th, pre, blockquote';

/** Finds the complete sentences of a growing text, so that a screen reader reads each once, and soon. */
export class Sentences {
	#element;
	#segmenter;

	/** The child that is read next, and how many characters of it have been read. */
	#child = 0;
	#read = 0;

	#searched = -Infinity;

	/**
	 * @param {Element} element has a child for each block of the text
	 * @param {string} lang
	 */
	constructor(element, lang) {
		this.#element = element;
		// Firefox has it only since 125.
		this.#segmenter = Intl.Segmenter && new Intl.Segmenter(lang, { granularity: 'sentence' });
	}

	/**
	 * Returns what can be read since the last call.
	 *
	 * @param {boolean} ended whether the text grows no more
	 */
	next(ended) {
		const now = performance.now();
		if (!ended && now - this.#searched < interval) return '';
		this.#searched = now;
		const { children } = this.#element;
		let found = '';
		for (; this.#child < children.length; this.#child++, this.#read = 0) {
			const text = textOf(children[this.#child]);
			const grows = !ended && this.#child === children.length - 1;
			const rest = text.slice(this.#read);
			const end = grows ? this.#endOfSentences(rest) : rest.length;
			found += `${rest.slice(0, end)} `;
			if (grows) {
				this.#read += end;
				break;
			}
		}
		return found.trim();
	}

	/**
	 * Returns where the last complete sentence of a growing text ends.
	 *
	 * @param {string} text
	 */
	#endOfSentences(text) {
		if (!this.#segmenter) return Math.max(0, ...['. ', '! ', '? ', '。', '؟ '].map((mark) => text.lastIndexOf(mark) + 1));
		// The last one may still grow.
		return [...this.#segmenter.segment(text)].at(-1)?.index ?? 0;
	}
}

/**
 * Returns the text of a block, with a space between the items of a list and the cells of a table.
 *
 * @param {Element} block
 */
function textOf(block) {
	const walker = document.createTreeWalker(block, NodeFilter.SHOW_TEXT);
	let text = '';
	let before = null;
	for (let node = walker.nextNode(); node; node = walker.nextNode()) {
		if (node.parentElement?.closest('button')) continue;
		const within = node.parentElement?.closest(blocks);
		if (before && within !== before) text += ' ';
		before = within;
		text += node.nodeValue;
	}
	return text;
}
