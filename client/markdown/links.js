import { decode } from './entities.js';

/**
 * Where a link leads.
 * @typedef {object} Target
 * @property {string} href
 * @property {string} title
 * @property {number} end the position after it
 */

/** The longest label of a link's definition, in characters. */
const longestLabel = 999;

/** The deepest nesting of parentheses in a link's destination. */
const deepestParentheses = 32;

/**
 * Reads `(destination "title")` behind a link's text.
 *
 * @param {string} text
 * @param {number} pos where the parenthesis opens
 * @returns {Target | 'unfinished' | undefined} `unfinished` if the text ends before it is clear
 */
export function readTarget(text, pos) {
	pos = skipSpace(text, pos + 1);
	const destination = readDestination(text, pos);
	if (!destination) return pos >= text.length ? 'unfinished' : undefined;
	let { end } = destination;
	let title = '';
	pos = skipSpace(text, end);
	if (pos > end) {
		const found = readTitle(text, pos);
		if (found) ({ text: title, end } = found);
		pos = skipSpace(text, Math.max(pos, end));
	}
	if (pos >= text.length) return 'unfinished';
	return text[pos] === ')' ? { href: destination.text, title, end: pos + 1 } : undefined;
}

/**
 * Reads `[label]: destination "title"`, which defines a link.
 *
 * @param {string} text a paragraph, or its start
 * @param {number} pos
 * @returns {Target & { label: string } | undefined}
 */
export function readDefinition(text, pos) {
	const label = readLabel(text, pos);
	if (!label || text[label.end] !== ':') return undefined;
	const start = skipSpace(text, label.end + 1);
	const destination = readDestination(text, start);
	if (!destination || destination.end === start || destination.end > text.length) return undefined;
	const target = { label: label.text, href: destination.text };

	const afterSpace = skipSpace(text, destination.end);
	const title = afterSpace > destination.end ? readTitle(text, afterSpace) : undefined;
	const end = title && endOfLine(text, title.end);
	if (title && end !== undefined) return { ...target, title: title.text, end };

	// The text that looked like a title may be the next line of a paragraph.
	const withoutTitle = endOfLine(text, destination.end);
	return withoutTitle === undefined ? undefined : { ...target, title: '', end: withoutTitle };
}

/**
 * Reads `[label]`.
 *
 * @param {string} text
 * @param {number} pos where the bracket opens
 * @returns {{ text: string, end: number } | undefined} the label, in the form in which labels are compared
 */
export function readLabel(text, pos) {
	const end = findEnd(text.slice(0, pos + longestLabel + 2), pos + 1, ']', '[');
	if (text[end] !== ']') return undefined;
	const label = normalizeLabel(text.slice(pos + 1, end));
	return label === '' ? undefined : { text: label, end: end + 1 };
}

/** @param {string} label */
export function normalizeLabel(label) {
	return label.trim().replaceAll(/\s+/g, ' ').toLowerCase().toUpperCase();
}

/**
 * Finds the character that ends something.
 *
 * @param {string} text
 * @param {number} pos
 * @param {string} end
 * @param {string} forbidden the characters that must not come before it, unless behind a backslash
 * @returns {number} its position; the text's length if the text ends before; −1 if a forbidden character comes before
 */
export function findEnd(text, pos, end, forbidden) {
	for (; pos < text.length; pos++) {
		const c = text[pos];
		if (c === '\\') pos++;
		else if (c === end) return pos;
		else if (forbidden.includes(c)) return -1;
	}
	return text.length;
}

/**
 * @param {string} text
 * @param {number} pos
 * @returns {{ text: string, end: number } | undefined} with an `end` beyond the text if the text ends before it is clear
 */
function readDestination(text, pos) {
	if (text[pos] === '<') {
		const end = findEnd(text, pos + 1, '>', '<\n');
		return end < 0 ? undefined : { text: decode(text.slice(pos + 1, end)), end: end + 1 };
	}
	let depth = 0;
	let end = pos;
	for (; end < text.length; end++) {
		const c = text[end];
		if (c <= ' ' || c === '\x7f') break;
		if (c === '\\' && /[!-/:-@[-`{-~]/.test(text[end + 1] ?? '')) end++;
		else if (c === '(' && ++depth > deepestParentheses) return undefined;
		else if (c === ')' && --depth < 0) break;
	}
	if (depth > 0 && end < text.length) return undefined;
	return { text: decode(text.slice(pos, end)), end: depth > 0 ? end + 1 : end };
}

/**
 * @param {string} text
 * @param {number} pos
 * @returns {{ text: string, end: number } | undefined} with an `end` beyond the text if the text ends before it is clear
 */
function readTitle(text, pos) {
	const quote = text[pos];
	if (!quote || !`"'(`.includes(quote)) return undefined;
	const end = findEnd(text, pos + 1, quote === '(' ? ')' : quote, quote === '(' ? '(' : '');
	return end < 0 ? undefined : { text: decode(text.slice(pos + 1, end)), end: end + 1 };
}

/**
 * @param {string} text
 * @param {number} pos
 */
function skipSpace(text, pos) {
	while (pos < text.length && ' \t\n'.includes(text[pos])) pos++;
	return pos;
}

/**
 * @param {string} text
 * @param {number} pos
 * @returns {number | undefined} where the next line begins, if nothing but space is left of this one
 */
function endOfLine(text, pos) {
	while (text[pos] === ' ' || text[pos] === '\t') pos++;
	if (pos === text.length) return pos;
	return text[pos] === '\n' ? pos + 1 : undefined;
}
