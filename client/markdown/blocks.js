import { Line } from './line.js';
import { readDefinition } from './links.js';
import { readDelimiterRow, splitRow } from './table.js';

/** @typedef {import('./table.js').Align} Align */
/** @typedef {'document' | 'quote' | 'list' | 'item' | 'paragraph' | 'heading' | 'code' | 'rule' | 'table' | 'row' | 'cell'} BlockType */

/** How many blocks may be open within each other. What would begin a deeper one is text. */
const deepest = 48;

/** From this length on, an unfinished line goes into its block for good, if it can be nothing else any more. */
export const longLine = 1000;

/** From this length on, an unfinished line whose block is not clear is read when it is complete. */
const longestLine = 32_768;

/** An unfinished line of which the next character decides what it is. */
const undecided = /^(?:[ \t>*+=_#|:~`-]|\d{1,9}(?:[.)](?=[ \t]|$)|$))*$/;

/** A part of the text: its `children`, or the `parts` of its text, which make up whole lines. */
export class Block {
	/** @type {Block[]} */
	children = [];

	/** @type {string[]} */
	parts = [];

	/** Whether more text may come into the block. */
	open = true;

	/** The level of a heading, from 1 to 6. */
	level = 0;

	/** The words behind the fence of code. */
	info = '';

	/** The fence that opened code; empty if its indentation did. */
	fence = '';

	/** Empty lines that are part of indented code if more of it comes. */
	emptyLines = '';

	/** The indentation of an item's text, or of the fence of code. */
	indent = 0;

	/** The bullet of a list, or the character behind its numbers. */
	marker = '';

	/** The first number of an ordered list. @type {number | undefined} */
	start;

	/** Whether a list has no empty lines between its parts. */
	tight = true;

	/** Whether an item had anything in it, such as the definition of a link. */
	filled = false;

	/** Whether a task is done; undefined for an item that is no task. @type {boolean | undefined} */
	checked;

	/** The alignment of each column of a table. @type {Align[]} */
	aligns = [];

	/**
	 * @param {BlockType} type
	 * @param {Block} [parent]
	 * @param {Partial<Block>} [fields]
	 */
	constructor(type, parent, fields) {
		this.type = type;
		this.parent = parent;
		Object.assign(this, fields);
		parent?.children.push(this);
	}
}

/** Reads Markdown's blocks while the text grows. What is read for good is never read again. */
export class Blocks {
	root = new Block('document');

	/** Where links lead, by label. @type {Map<string, { href: string, title: string }>} */
	definitions = new Map();

	/** Is called with the label of each new definition. @type {(label: string) => void} */
	onDefinition = () => {};

	/** The document, and the blocks within each other that are open. */
	#open = [this.root];

	/** How many of them the line goes on with. */
	#matched = 1;

	/** The start of a line. */
	#rest = '';

	/** The block that gets the rest of the line as it comes. @type {Block | undefined} */
	#rests;

	/** The length from which on the start of a long line is read again. */
	#readAgain = 0;

	/** Whether the line is not complete, and read only to show it. */
	#preview = false;

	#endedInCR = false;
	#afterEmptyLine = false;

	/**
	 * Adds text.
	 *
	 * @param {string} text
	 */
	push(text) {
		if (text === '') return;
		// A CR at the end of a piece has ended its line already; an LF after it belongs to it.
		const begin = this.#endedInCR && text.startsWith('\n') ? 1 : 0;
		this.#endedInCR = text.endsWith('\r');
		const lines = text.slice(begin).replaceAll('\0', '\ufffd').split(/\r\n|\r|\n/);
		const rest = lines.pop() ?? '';
		for (const line of lines) this.#endLine(line);
		if (this.#rests) this.#rests.parts.push(rest);
		else this.#rest += rest;
	}

	/** The text is complete. */
	end() {
		if (this.#rest !== '' || this.#rests) this.#endLine('');
		this.#closeFrom(0);
	}

	/**
	 * Calls a function while the tree contains the unfinished line as well, as far as it is clear what that is.
	 *
	 * @param {() => void} show
	 * @returns {boolean} whether it was called: a long line is shown in steps
	 */
	preview(show) {
		const { length } = this.#rest;
		if (length > longLine && (length < this.#readAgain || length > longestLine)) return false;
		if (length > longLine) this.#settleLongLine();
		if (this.#rest === '' || length <= longLine && undecided.test(this.#rest)) {
			show();
			return true;
		}
		const restore = this.#save();
		this.#preview = true;
		this.#readLine(this.#rest);
		show();
		this.#preview = false;
		restore();
		return true;
	}

	/** @param {string} text the rest of the line */
	#endLine(text) {
		if (this.#rests) {
			this.#rests.parts.push(text + '\n');
			this.#rests = undefined;
			return;
		}
		const line = this.#rest + text;
		this.#rest = '';
		this.#readAgain = 0;
		this.#readLine(line);
	}

	/** Puts a long line into its block if that is a paragraph or code, and otherwise has it read again when it is longer. */
	#settleLongLine() {
		this.#readAgain = this.#rest.length * 9 / 8;
		if (/^[ \t>*+=_#|:~`-]*$/.test(this.#rest.slice(0, longLine))) return;
		const restore = this.#save();
		this.#preview = true;
		const block = this.#readLine(this.#rest);
		this.#preview = false;
		restore();
		if (block?.type !== 'paragraph' && block?.type !== 'code') return;
		this.#rests = this.#readLine(this.#rest, '');
		this.#rest = '';
	}

	/** Returns a function that takes back what is done until it is called. */
	#save() {
		const open = this.#open.slice();
		const afterEmptyLine = this.#afterEmptyLine;
		const saved = open.map((block) => (
			{ block, fields: { ...block }, children: block.children.length, last: block.children.at(-1), parts: block.parts.length }
		));
		return () => {
			for (const { block, fields, children, last, parts } of saved) {
				Object.assign(block, fields);
				block.parts.length = parts;
				block.children.length = children;
				if (last) block.children[children - 1] = last;
			}
			this.#open = open;
			this.#afterEmptyLine = afterEmptyLine;
		};
	}

	/**
	 * Reads a line into the blocks.
	 *
	 * @param {string} text
	 * @param {string} [lineEnd]
	 * @returns {Block | undefined} the paragraph or the code that got the text
	 */
	#readLine(text, lineEnd = this.#preview ? '' : '\n') {
		const line = new Line(text);
		for (this.#matched = 1; this.#matched < this.#open.length; this.#matched++) {
			const block = this.#open[this.#matched];
			if (isFenceEnd(line, block)) {
				this.#closeFrom(this.#matched);
				return undefined;
			}
			if (!goesOn(line, block)) break;
		}
		const container = this.#container;
		const isEmpty = line.blank && container.type !== 'quote' && !container.fence;

		let begun;
		do begun = this.#begin(line);
		while (begun === 'block');
		if (begun === 'line') return undefined;

		// A paragraph takes a line even if the blocks around it do not go on.
		const isLazy = this.#tip.type === 'paragraph' && !line.blank;
		if (!isLazy) this.#closeFrom(this.#matched);
		const block = this.#addText(line, lineEnd);
		this.#afterEmptyLine = isEmpty;
		return block;
	}

	/** The innermost open block. */
	get #tip() {
		return this.#open[this.#open.length - 1];
	}

	/** The innermost open block that the line goes on with. */
	get #container() {
		return this.#open[this.#matched - 1];
	}

	/**
	 * Adds what is left of a line to the innermost block.
	 *
	 * @param {Line} line
	 * @param {string} lineEnd
	 */
	#addText(line, lineEnd) {
		let block = this.#tip;
		if (block.type === 'code') {
			addCode(line, lineEnd, block);
			return block;
		}
		if (line.blank) return undefined;
		if (block.type === 'table') {
			this.#addRow(block, line.content);
			return undefined;
		}
		if (block.type !== 'paragraph') block = this.#add('paragraph');
		else if (!`"'(`.includes(line.text[line.next])) this.#takeDefinitions(block, true);
		block.parts.push((block.parts.length === 0 ? takeTask(block, line.content) : line.content) + lineEnd);
		return block;
	}

	/**
	 * Begins the block that a line begins, if it does.
	 *
	 * @param {Line} line
	 * @returns {'block' | 'line' | undefined} `block` if what is left of the line belongs into the block, `line` if nothing is left
	 */
	#begin(line) {
		if (line.blank || this.#container.type === 'code') return undefined;
		if (line.indent >= 4) {
			if (this.#tip.type === 'paragraph') return undefined;
			line.takeSpace(4);
			this.#add('code');
			return 'block';
		}
		switch (line.text[line.next]) {
		case '>':
			return this.#beginQuote(line);
		case '#':
			return this.#addHeading(line);
		case '`':
		case '~':
			return this.#beginFence(line);
		}
		return this.#underline(line) ?? this.#beginTable(line) ?? this.#addRule(line) ?? this.#beginItem(line);
	}

	/** @param {Line} line */
	#beginQuote(line) {
		if (this.#matched >= deepest) return undefined;
		line.take(1);
		line.takeSpace(1);
		this.#add('quote');
		return 'block';
	}

	/** @param {Line} line */
	#addHeading(line) {
		const mark = line.match(/#{1,6}(?=[ \t]|$)/y)?.[0];
		if (!mark) return undefined;
		const text = line.content.slice(mark.length).trim().replace(/(^|[ \t])#+$/, '').trimEnd();
		this.#addLeaf('heading', { level: mark.length, parts: [text] });
		return 'line';
	}

	/** @param {Line} line */
	#beginFence(line) {
		const fence = line.match(/`{3,}(?=[^`]*$)|~{3,}/y)?.[0];
		if (!fence) return undefined;
		// The rest of the line may make it a code span.
		if (!this.#preview) this.#add('code', { fence, info: line.content.slice(fence.length).trim(), indent: line.indent });
		return 'line';
	}

	/**
	 * Makes a heading of a paragraph that has a line below it.
	 *
	 * @param {Line} line
	 */
	#underline(line) {
		const paragraph = this.#container;
		const mark = paragraph.type === 'paragraph' && line.match(/(?:=+|-+)[ \t]*$/y)?.[0];
		if (!mark) return undefined;
		this.#takeDefinitions(paragraph);
		if (paragraph.parts.length === 0) return undefined;
		paragraph.parent?.children.pop();
		this.#open.pop();
		new Block('heading', paragraph.parent, { level: mark.startsWith('=') ? 1 : 2, parts: paragraph.parts, open: false });
		return 'line';
	}

	/**
	 * Makes a table's header of the last line of a paragraph.
	 *
	 * @param {Line} line
	 */
	#beginTable(line) {
		const paragraph = this.#container;
		const aligns = paragraph.type === 'paragraph' && readDelimiterRow(line.content);
		if (!aligns) return undefined;
		const { parts } = paragraph;
		let start = parts.length - 1;
		while (start > 0 && !parts[start - 1].endsWith('\n')) start--;
		const header = parts.slice(start).join('');
		if (splitRow(header).length !== aligns.length) return undefined;
		parts.length = start;
		this.#addRow(this.#add('table', { aligns }), header);
		return 'line';
	}

	/**
	 * @param {Block} table
	 * @param {string} line
	 */
	#addRow(table, line) {
		const row = new Block('row', table, { open: this.#preview });
		const cells = splitRow(line).slice(0, table.aligns.length);
		cells.forEach((text, i) => {
			const open = this.#preview && i === cells.length - 1;
			new Block('cell', row, { parts: [text], aligns: [table.aligns[i]], open });
		});
	}

	/** @param {Line} line */
	#addRule(line) {
		if (!line.match(/(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$/y)) return undefined;
		this.#addLeaf('rule');
		return 'line';
	}

	/** @param {Line} line */
	#beginItem(line) {
		if (this.#matched + 1 >= deepest) return undefined;
		const [mark, number] = line.match(/(?:[*+-]|(\d{1,9})[.)])(?=[ \t]|$)/y) ?? [];
		if (!mark) return undefined;
		if (this.#container.type === 'paragraph') {
			const isEmpty = line.text.length === line.next + mark.length || line.match(/\S+[ \t]+$/y);
			if (isEmpty || number && Number(number) !== 1) return undefined;
		}
		const before = line.indent + mark.length;
		line.take(mark.length);
		// More space makes the item's text indented code.
		const space = line.blank || line.indent > 4 ? 1 : line.indent;
		line.takeSpace(space);

		const marker = mark[mark.length - 1];
		if (this.#container.type !== 'list' || this.#container.marker !== marker) {
			this.#add('list', { marker, start: number ? Number(number) : undefined });
		}
		this.#add('item', { indent: before + space });
		return 'block';
	}

	/**
	 * Adds a block where the line is, and closes what ends there.
	 *
	 * @param {BlockType} type
	 * @param {Partial<Block>} [fields]
	 */
	#add(type, fields) {
		this.#closeFrom(this.#matched);
		while (!mayContain(this.#tip, type)) this.#closeFrom(this.#open.length - 1);
		const parent = this.#tip;
		if (this.#afterEmptyLine) loosen(parent);
		this.#afterEmptyLine = false;
		parent.filled = true;
		const block = new Block(type, parent, fields);
		this.#matched = this.#open.push(block);
		return block;
	}

	/**
	 * Adds a block that has no more than the line.
	 *
	 * @param {BlockType} type
	 * @param {Partial<Block>} [fields]
	 */
	#addLeaf(type, fields) {
		const block = this.#add(type, fields);
		this.#open.pop();
		block.open = this.#preview;
	}

	/** @param {number} depth */
	#closeFrom(depth) {
		while (this.#open.length > depth) {
			const block = /** @type {Block} */ (this.#open.pop());
			block.open = false;
			if (block.type !== 'paragraph') continue;
			this.#takeDefinitions(block);
			if (block.parts.length === 0) block.parent?.children.pop();
		}
	}

	/**
	 * Takes the definitions of links from the start of a paragraph.
	 *
	 * @param {Block} paragraph
	 * @param {boolean} [whole] whether nothing else may be in it
	 */
	#takeDefinitions(paragraph, whole = false) {
		const { parts } = paragraph;
		if (!parts[0]?.startsWith('[') || whole && parts.length > 20) return;
		const text = parts.join('');
		const found = [];
		let pos = 0;
		for (let next; text[pos] === '[' && (next = readDefinition(text, pos)); pos = next.end) found.push(next);
		if (pos === 0 || whole && pos < text.length) return;
		paragraph.parts = pos < text.length ? [text.slice(pos)] : [];
		if (this.#preview) return;
		for (const { label, href, title } of found) {
			if (this.definitions.has(label)) continue;
			this.definitions.set(label, { href, title });
			this.onDefinition(label);
		}
	}
}

/**
 * Takes what a block needs of a line to go on with it.
 *
 * @param {Line} line
 * @param {Block} block
 * @returns {boolean} whether it goes on
 */
function goesOn(line, block) {
	switch (block.type) {
	case 'quote':
		if (line.indent >= 4 || line.text[line.next] !== '>') return false;
		line.take(1);
		line.takeSpace(1);
		return true;
	case 'item':
		if (line.blank ? !block.filled : line.indent < block.indent) return false;
		line.takeSpace(line.blank ? line.indent : block.indent);
		return true;
	case 'code':
		if (block.fence) return true;
		if (line.indent < 4 && !line.blank) return false;
		line.takeSpace(4);
		return true;
	case 'paragraph':
	case 'table':
		return !line.blank;
	}
	return true;
}

/**
 * @param {Line} line
 * @param {Block} block
 */
function isFenceEnd(line, { fence }) {
	if (!fence || line.indent >= 4) return false;
	const mark = line.match(/(`{3,}|~{3,})[ \t]*$/y)?.[1];
	return mark?.[0] === fence[0] && mark.length >= fence.length;
}

/**
 * @param {Line} line
 * @param {string} lineEnd
 * @param {Block} block
 */
function addCode(line, lineEnd, block) {
	line.takeSpace(block.indent);
	if (!block.fence && line.blank) {
		block.emptyLines += line.rest + lineEnd;
		return;
	}
	block.parts.push(block.emptyLines + line.rest + lineEnd);
	block.emptyLines = '';
}

/**
 * @param {Block} block
 * @param {BlockType} type
 */
function mayContain({ type: container }, type) {
	if (container === 'list') return type === 'item';
	return container === 'document' || container === 'quote' || container === 'item';
}

/**
 * An empty line before a part of a list makes it a loose one.
 *
 * @param {Block} parent the list, or the item whose part it is
 */
function loosen(parent) {
	const list = parent.type === 'item' && parent.filled ? parent.parent : parent;
	if (list) list.tight = false;
}

/**
 * Takes the box from the first line of a task.
 *
 * @param {Block} paragraph
 * @param {string} line
 */
function takeTask({ parent }, line) {
	const box = parent?.type === 'item' && parent.children.length === 1 && /^\[([ xX])\][ \t]+(?=\S)/.exec(line);
	if (!box) return line;
	parent.checked = box[1] !== ' ';
	return line.slice(box[0].length);
}
