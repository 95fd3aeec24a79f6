/** What the tests of the Markdown renderer share: a document, answers as assistants write them, and random texts. */
import { readFileSync, readdirSync } from 'node:fs';

import { parseHTML } from 'linkedom';

import { MarkdownView, renderMarkdown } from '../markdown.js';

const { document } = parseHTML('<!DOCTYPE html><html><body></body></html>');
globalThis.document = document;

const answersDir = new URL('testdata/answers/', import.meta.url);

/** Answers as assistants write them, by file name. @type {Record<string, string>} */
export const answers = Object.fromEntries(readdirSync(answersDir).map((name) => [name, readFileSync(new URL(name, answersDir), 'utf8')]));

/** Returns an element that shows a complete text. */
export function rendered(text, options) {
	const element = document.createElement('div');
	element.append(renderMarkdown(text, options));
	return element;
}

/** Returns an element and the view that writes into it. */
export function startView(options) {
	const element = document.createElement('div');
	return { element, view: new MarkdownView(element, options) };
}

/** Cuts a text into pieces of a length, which may be a function. */
export function* pieces(text, length) {
	for (let pos = 0, end; pos < text.length; pos = end) {
		end = pos + (typeof length === 'function' ? length() : length);
		yield text.slice(pos, end);
	}
}

/** Returns the HTML in an element, with its attributes in order. How text is divided into nodes does not matter. */
export function htmlOf({ childNodes }) {
	return [...childNodes].map((node) => {
		if (node.nodeType === 3) return node.data.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
		const attributes = [...node.attributes].filter(({ name, value }) => name !== 'class' || value !== '')
			.map(({ name, value }) => ` ${name}="${value}"`).sort().join('');
		return `<${node.localName}${attributes}>${htmlOf(node)}</${node.localName}>`;
	}).join('');
}

const breaks = new Set(['P', 'LI', 'H3', 'H4', 'H5', 'H6', 'TR', 'TD', 'TH', 'PRE', 'DIV', 'BR']);

/** Returns what a visitor reads in an element, without the buttons. */
export function textOf(element) {
	let text = '';
	(function add(node) {
		if (node.nodeType === 3) text += node.data;
		else if (node.nodeName !== 'BUTTON' && !node.hidden) node.childNodes.forEach(add);
		if (breaks.has(node.nodeName)) text += '\n';
	})(element);
	return text.replaceAll(/\s+/g, ' ').trim();
}

/** A generator of random numbers that can be repeated: mulberry32. */
export class Random {
	constructor(seed) {
		this.seed = seed;
	}

	/** Returns a whole number from 0 to below a limit. */
	below(limit) {
		this.seed = this.seed + 0x6d2b79f5 | 0;
		let t = Math.imul(this.seed ^ this.seed >>> 15, this.seed | 1);
		t ^= t + Math.imul(t ^ t >>> 7, t | 61);
		return ((t ^ t >>> 14) >>> 0) % limit;
	}

	/** Joins up to a number of the words. */
	text(words, most) {
		return Array.from({ length: 1 + this.below(most) }, () => words[this.below(words.length)]).join('');
	}
}
