import { CodeView } from './code-view.js';
import { focusWhileScrolling, contentChanged } from './scroll.js';
import { TextView } from './text-view.js';

/** @typedef {import('./blocks.js').Block} Block */

/**
 * The things that all views of a text share.
 *
 * @typedef {object} Context
 * @property {Document} document
 * @property {{ copy: string, copied: string, code: string, table: string, image: string }} labels
 * @property {Map<string, { href: string, title: string }>} definitions where links lead, by label
 * @property {(label: string, view: TextView) => void} onMissing is called with each label in a view that has no definition
 * @property {number[]} outline the levels of the headings that the text is under
 */

/** @typedef {{ element: HTMLElement, patch(block: Block): void, settle?(block: Block): void }} View */

/** An element that shows a block and the blocks in it. */
export class ContainerView {
	/** The views of the blocks in it, except those that are done. @type {(View | undefined)[]} */
	#views = [];

	/** The type of the block that each view shows. @type {string[]} */
	#kinds = [];

	/** How many of the blocks in it cannot change any more. */
	#done = 0;

	#context;
	#place;

	/**
	 * @param {Element | DocumentFragment} element
	 * @param {Context} context
	 * @param {(element: HTMLElement, index: number) => void} [place] adds an element
	 */
	constructor(element, context, place = (child) => element.append(child)) {
		this.element = /** @type {HTMLElement} */ (element);
		this.#context = context;
		this.#place = place;
	}

	/** @param {Block} block */
	patch(block) {
		if (block.type === 'list') this.element.classList.toggle('tight', block.tight);
		const { children } = block;
		for (let i = this.#done; i < children.length; i++) this.#viewOf(children[i], i).patch(children[i]);
		for (const gone of this.#views.splice(children.length)) gone?.element.remove();
	}

	/**
	 * Forgets the views of blocks that are closed for good.
	 *
	 * @param {Block} block
	 */
	settle({ children }) {
		for (; this.#done < children.length; this.#done++) {
			const child = children[this.#done];
			if (child.open) {
				this.#views[this.#done]?.settle?.(child);
				return;
			}
			this.#views[this.#done] = undefined;
		}
	}

	/**
	 * @param {Block} block
	 * @param {number} index
	 */
	#viewOf(block, index) {
		const kind = kindOf(block);
		const old = this.#views[index];
		if (old && kind === this.#kinds[index]) return old;
		const view = makeView(block, this.#context);
		this.#views[index] = view;
		this.#kinds[index] = kind;
		if (old) old.element.replaceWith(view.element);
		else this.#place(view.element, index);
		return view;
	}
}

/**
 * Returns what an element is made for. A block of another kind needs another element.
 *
 * @param {Block} block
 */
function kindOf({ type, level, info, start, checked }) {
	return `${type} ${level} ${start} ${checked} ${info}`;
}

/**
 * @param {Block} block
 * @param {Context} context
 * @returns {View}
 */
function makeView(block, context) {
	const { document } = context;
	switch (block.type) {
	case 'quote':
		return new ContainerView(document.createElement('blockquote'), context);
	case 'list':
		return new ContainerView(makeList(block, document), context);
	case 'item':
		return new ContainerView(makeItem(block, document), context);
	case 'code':
		return new CodeView(block, context);
	case 'table':
		return makeTable(context);
	case 'row':
		return new ContainerView(document.createElement('tr'), context);
	case 'rule':
		return { element: document.createElement('hr'), patch() {} };
	}
	return new TextView(makeText(block, context), context);
}

/**
 * @param {Block} block
 * @param {Document} document
 */
function makeList({ start }, document) {
	if (start === undefined) return document.createElement('ul');
	const list = document.createElement('ol');
	if (start !== 1) list.start = start;
	return list;
}

/**
 * The text in an item decides its direction, so that the paragraphs in it have none of their own.
 *
 * @param {Block} block
 * @param {Document} document
 */
function makeItem({ checked }, document) {
	const item = document.createElement('li');
	item.dir = 'auto';
	if (checked !== undefined) item.className = 'task';
	return item;
}

/**
 * @param {Context} context
 * @returns {View} a table in an element that scrolls
 */
function makeTable(context) {
	const { document, labels } = context;
	const element = document.createElement('div');
	element.className = 'table';
	const table = element.appendChild(document.createElement('table'));
	focusWhileScrolling(element, labels.table);
	const rows = new ContainerView(table, context, (row, index) => {
		if (index < 2) table.append(document.createElement(index === 0 ? 'thead' : 'tbody'));
		table.lastElementChild?.append(row);
	});
	return {
		element,
		patch(block) {
			rows.patch(block);
			contentChanged(element);
		},
		settle: (block) => rows.settle(block),
	};
}

/**
 * Returns the element for a paragraph, a heading or a cell.
 *
 * @param {Block} block
 * @param {Context} context
 */
function makeText(block, { document, outline }) {
	const { type, level, parent } = block;
	if (type === 'cell') return makeCell(block, document);
	const element = document.createElement(type === 'heading' ? nextHeading(level, outline) : 'p');
	if (parent?.type !== 'item') element.dir = 'auto';
	else if (parent.checked !== undefined && parent.children[0] === block) element.append(makeBox(parent.checked, document));
	return element;
}

/**
 * Returns the name of the next heading's element. The page has its own headings above those of an answer, and those skip no
 * level: many an answer begins with a heading of the second or third one.
 *
 * @param {number} level
 * @param {number[]} outline
 */
function nextHeading(level, outline) {
	while (outline.length > 0 && outline[outline.length - 1] >= level) outline.pop();
	outline.push(level);
	return `h${Math.min(outline.length + 2, 6)}`;
}

/**
 * Returns the element for a cell. A header without text heads nothing.
 *
 * @param {Block} block
 * @param {Document} document
 */
function makeCell({ parent: row, parts, aligns: [align] }, document) {
	const isHeader = row?.parent?.children[0] === row && parts[0] !== '';
	const cell = document.createElement(isHeader ? 'th' : 'td');
	if (isHeader) cell.setAttribute('scope', 'col');
	if (align) cell.setAttribute('align', align);
	cell.dir = 'auto';
	return cell;
}

/**
 * @param {boolean} checked
 * @param {Document} document
 */
function makeBox(checked, document) {
	const box = document.createElement('span');
	box.className = 'box';
	box.textContent = checked ? '☑ ' : '☐ ';
	return box;
}
