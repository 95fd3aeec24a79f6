import { decode } from './entities.js';
import { contentChanged, focusWhileScrolling } from './scroll.js';

/** @typedef {import('./blocks.js').Block} Block */
/** @typedef {import('./views.js').Context} Context */

/** From this length on, a text node gets no more text, so that adding some does not copy it all. */
const longestNode = 4096;

/** How long a copy button says that it has copied, in milliseconds. */
const copiedFor = 2000;

/** A block of code, with a button that copies it. */
export class CodeView {
	#pre;
	#code;

	/** The last piece of the code. @type {Text | undefined} */
	#node;

	/** The parts that are shown. @type {string[] | undefined} */
	#parts;

	/** How many of them are there for good. */
	#settled = 0;

	/** The text that is shown of the others. */
	#fresh = '';

	/**
	 * @param {Block} block
	 * @param {Context} context
	 */
	constructor(block, { document, labels }) {
		const language = /^[\w.+#-]{1,40}(?=\s|$)/.exec(decode(block.info))?.[0] ?? '';
		this.element = document.createElement('div');
		this.element.className = 'code';
		const bar = this.element.appendChild(document.createElement('div'));
		bar.className = 'bar';
		const name = bar.appendChild(document.createElement('span'));
		name.className = 'language';
		name.textContent = language;
		bar.append(makeCopyButton(document, labels, () => this.#code.textContent ?? '', () => select(this.#code)));

		this.#pre = this.element.appendChild(document.createElement('pre'));
		this.#pre.dir = 'ltr';
		this.#pre.setAttribute('translate', 'no');
		this.#code = this.#pre.appendChild(document.createElement('code'));
		if (language) this.#code.className = 'language-' + language;
		focusWhileScrolling(this.#pre, labels.code);
	}

	/** @param {Block} block */
	patch({ parts }) {
		if (parts !== this.#parts && this.#settled > 0) this.#clear();
		this.#parts = parts;
		const fresh = parts.slice(this.#settled).join('');
		if (fresh === this.#fresh) return;
		this.#node ??= this.#code.appendChild(this.#code.ownerDocument.createTextNode(''));
		if (fresh.startsWith(this.#fresh)) this.#node.appendData(fresh.slice(this.#fresh.length));
		else this.#node.replaceData(this.#node.length - this.#fresh.length, this.#fresh.length, fresh);
		this.#fresh = fresh;
		contentChanged(this.#pre);
	}

	/** @param {Block} block */
	settle({ parts }) {
		if (parts !== this.#parts) return;
		this.#fresh = this.#fresh.slice(parts.slice(this.#settled).join('').length);
		this.#settled = parts.length;
		if (this.#fresh === '' && this.#node && this.#node.length > longestNode) this.#node = undefined;
	}

	#clear() {
		this.#code.replaceChildren();
		this.#node = undefined;
		this.#settled = 0;
		this.#fresh = '';
	}
}

/**
 * @param {Document} document
 * @param {Context['labels']} labels
 * @param {() => string} read returns what is copied
 * @param {() => void} select is called if the page may not copy, so that the visitor can
 */
function makeCopyButton(document, labels, read, select) {
	const button = document.createElement('button');
	button.type = 'button';
	button.className = 'copy';
	button.textContent = labels.copy;
	button.addEventListener('click', async () => {
		try {
			await navigator.clipboard.writeText(read());
		} catch {
			select();
			return;
		}
		button.textContent = labels.copied;
		setTimeout(() => { button.textContent = labels.copy; }, copiedFor);
	});
	return button;
}

/** @param {Element} element */
function select(element) {
	getSelection()?.selectAllChildren(element);
}
