import { findBareUrl, withAddresses } from './autolinks.js';
import { build, pair, preview } from './emphasis.js';
import { decode } from './entities.js';
import { findEnd, normalizeLabel, readLabel, readTarget } from './links.js';

/**
 * A part of a paragraph's text.
 *
 * @typedef {object} Inline
 * @property {'text' | 'code' | 'break' | 'em' | 'strong' | 'del' | 'link' | 'image'} type
 * @property {string} [text] of `text` and `code`
 * @property {Inline[]} [children]
 * @property {string} [href]
 * @property {string} [title]
 * @property {boolean} [bare] whether the link is a URL in the text
 * @property {number} [cut] its position in the source, if the source may be cut before it
 */

/** @typedef {import('./emphasis.js').Run} Run */
/** @typedef {{ index: number, pos: number, image: boolean, token: Inline, depth: number, hasInner?: boolean }} Bracket */

/** How deep images may be nested in each other's descriptions. */
const deepestImage = 8;

/** How far back an open bracket is left out of an unfinished text, in characters: it may be a link's. */
const longestOpenBracket = 200;

/** How much of a link's destination an unfinished text may have to be left out, in characters. */
const longestOpenTarget = 1000;

/** How much text is between two places at which a text may be cut, in characters. */
const betweenCuts = 512;

const space = /\s/;
const punctuation = /[\p{P}\p{S}]/u;
const cjk = /[\p{sc=Han}\p{sc=Hiragana}\p{sc=Katakana}\p{sc=Hangul}]/u;

/** Matches the end of an unfinished text that cannot be understood without the next characters. */
const undecided = /\\*(?:&#?\w{0,31}|!|[*_~`]+|<[^\s<>]*|[\ud800-\udbff])?$/;

/**
 * Reads the inlines of a text.
 *
 * @param {string} text
 * @param {object} options
 * @param {Map<string, { href: string, title: string }>} options.definitions where links lead, by label
 * @param {boolean} [options.unfinished] whether more text follows. Then marks whose counterpart is to come are left out.
 * @param {(label: string) => void} [options.onMissing] is called with each label that has no definition
 * @returns {{ nodes: Inline[], cut: number }} and a position: what follows does not change what is before it
 */
export function parseInlines(text, { definitions, unfinished = false, onMissing = () => {} }) {
	const scanner = new Scanner(unfinished ? text.slice(0, decidedLength(text)) : text, definitions, unfinished, onMissing);
	return scanner.read();
}

/** @param {string} text */
function decidedLength(text) {
	const end = text.slice(-256);
	return text.length - end.length + end.search(undecided);
}

/** Reads a text from its start to its end. */
class Scanner {
	#text;
	#definitions;
	#unfinished;
	#onMissing;

	/** @type {(Inline | Run)[]} */
	#tokens = [];

	/** @type {Bracket[]} */
	#brackets = [];

	/** How many of the brackets can open no link, because a link is in them. */
	#withLink = 0;

	/** Where runs of backticks begin, by their length, the last one first. @type {Map<number, number[]> | undefined} */
	#ticks;

	/** From here on, the result may still change. */
	#limit = Infinity;

	#pos = 0;
	#lastCut = 0;

	/**
	 * @param {string} text
	 * @param {Map<string, { href: string, title: string }>} definitions
	 * @param {boolean} unfinished
	 * @param {(label: string) => void} onMissing
	 */
	constructor(text, definitions, unfinished, onMissing) {
		this.#text = text;
		this.#definitions = definitions;
		this.#unfinished = unfinished;
		this.#onMissing = onMissing;
	}

	read() {
		while (this.#pos < this.#text.length) this.#readNext();
		const openers = pair(this.#tokens);
		for (const { pos } of [...openers, ...this.#brackets]) this.#limit = Math.min(this.#limit, pos);
		if (this.#unfinished) {
			for (const opener of openers) preview(opener);
			for (const { token, pos } of this.#brackets.slice(this.#withLink)) {
				if (pos >= this.#text.length - longestOpenBracket) token.text = '';
			}
		}
		const nodes = withAddresses(build(this.#tokens));
		const cut = nodes.findLast(({ cut }) => cut !== undefined && cut <= this.#limit)?.cut ?? 0;
		return { nodes, cut };
	}

	#readNext() {
		const c = this.#text[this.#pos];
		switch (c) {
		case '\n':
			return this.#readLineEnd();
		case '\\':
			return this.#readEscape();
		case '`':
			return this.#readCode();
		case '*':
		case '_':
		case '~':
			return this.#readRun(c);
		case '[':
			return this.#openBracket('[', false);
		case '!':
			return this.#text[this.#pos + 1] === '[' ? this.#openBracket('![', true) : this.#addText('!');
		case ']':
			return this.#closeBracket();
		case '<':
			return this.#readAutolink();
		case '&':
			return this.#readEntity();
		}
		this.#readPlain();
	}

	/**
	 * Adds text as it is in the source.
	 *
	 * @param {string} source
	 * @param {string} [text]
	 */
	#addText(source, text = source) {
		this.#pos += source.length;
		this.#tokens.push({ type: 'text', text });
	}

	/**
	 * @param {RegExp} expression
	 * @returns {RegExpExecArray | null}
	 */
	#match(expression) {
		expression.lastIndex = this.#pos;
		return expression.exec(this.#text);
	}

	#readPlain() {
		const end = this.#pos + (this.#match(/[^\n\\`*_~[\]!<&]+/y)?.[0].length ?? 0);
		while (this.#pos < end) {
			const url = findBareUrl(this.#text, this.#pos, end, this.#brackets.length > 0);
			this.#addPlain(this.#text.slice(this.#pos, url?.start ?? end));
			if (!url) return;
			this.#pos = url.end;
			const text = this.#text.slice(url.start, url.end);
			this.#tokens.push({ type: 'link', bare: true, href: url.href, title: '', children: [{ type: 'text', text }] });
		}
	}

	/**
	 * Adds text without marks, with a place to cut it.
	 *
	 * @param {string} text
	 */
	#addPlain(text) {
		const word = text.trimEnd().lastIndexOf(' ') + 1;
		const cut = this.#pos + word;
		if (word > 0 && cut - this.#lastCut > betweenCuts && this.#brackets.length === 0) {
			this.#addText(text.slice(0, word));
			this.#lastCut = cut;
			this.#tokens.push({ type: 'text', text: '', cut });
			text = text.slice(word);
		}
		this.#addText(text);
	}

	#readLineEnd() {
		const last = this.#tokens[this.#tokens.length - 1];
		const text = last?.type === 'text' && last.text || '';
		this.#pos++;
		while (this.#text[this.#pos] === ' ') this.#pos++;
		const isEnd = this.#pos === this.#text.length;
		if (last?.type === 'text') last.text = isEnd ? text.trimEnd() : text.slice(0, lengthWithoutSpaces(text));
		if (isEnd) return;
		if (text.endsWith('  ')) this.#tokens.push({ type: 'break' });
		else this.#tokens.push({ type: 'text', text: '\n' });
	}

	#readEscape() {
		const next = this.#text[this.#pos + 1];
		if (next === '\n') {
			this.#pos += 2;
			if (this.#pos < this.#text.length) this.#tokens.push({ type: 'break' });
			else if (!this.#unfinished) this.#tokens.push({ type: 'text', text: '\\' });
		} else if (next && /[!-/:-@[-`{-~]/.test(next)) {
			this.#addText('\\' + next, next);
		} else {
			this.#addText('\\');
		}
	}

	#readCode() {
		const mark = this.#match(/`+/y)?.[0] ?? '';
		const start = this.#pos + mark.length;
		const end = this.#findTicks(mark.length, start);
		if (end === undefined) {
			this.#limit = Math.min(this.#limit, this.#pos);
			if (!this.#unfinished) return this.#addText(mark);
		}
		const text = this.#text.slice(start, end).replaceAll('\n', ' ');
		const isPadded = end !== undefined && /^ .* $/s.test(text) && /[^ ]/.test(text);
		this.#tokens.push({ type: 'code', text: isPadded ? text.slice(1, -1) : text });
		this.#pos = end === undefined ? this.#text.length : end + mark.length;
	}

	/**
	 * Finds the next run of as many backticks.
	 *
	 * @param {number} length
	 * @param {number} from
	 */
	#findTicks(length, from) {
		if (!this.#ticks) {
			this.#ticks = new Map();
			for (const { 0: run, index } of [...this.#text.matchAll(/`+/g)].reverse()) {
				const same = this.#ticks.get(run.length);
				if (same) same.push(index);
				else this.#ticks.set(run.length, [index]);
			}
		}
		const starts = this.#ticks.get(length) ?? [];
		while (starts.length > 0 && starts[starts.length - 1] < from) starts.pop();
		return starts[starts.length - 1];
	}

	/** @param {string} char */
	#readRun(char) {
		const start = this.#pos;
		let end = start;
		while (this.#text[end] === char) end++;
		const length = end - start;
		if (char === '~' && length !== 2) return this.#addText(char.repeat(length));

		const before = characterBefore(this.#text, start);
		const after = String.fromCodePoint(this.#text.codePointAt(end) ?? 0x20);
		const [spaceBefore, spaceAfter] = [space.test(before), space.test(after)];
		const [markBefore, markAfter] = [punctuation.test(before), punctuation.test(after)];
		// Chinese, Japanese and Korean have no spaces around emphasis whose text begins or ends with punctuation.
		const left = !spaceAfter && (!markAfter || spaceBefore || markBefore || cjk.test(before));
		const right = !spaceBefore && (!markBefore || spaceAfter || markAfter || cjk.test(after));
		this.#pos = end;
		this.#tokens.push({
			type: 'run', char, length, count: length, pos: start, at: 0, opens: [], closes: [],
			canOpen: left && (char !== '_' || !right || markBefore),
			canClose: right && (char !== '_' || !left || markAfter),
			inWord: /[A-Za-z0-9]/.test(before),
		});
	}

	/**
	 * @param {string} mark
	 * @param {boolean} image
	 */
	#openBracket(mark, image) {
		const outer = this.#brackets[this.#brackets.length - 1];
		if (outer) outer.hasInner = true;
		const pos = this.#pos;
		const index = this.#tokens.length;
		this.#addText(mark);
		this.#brackets.push({ index, pos, image, depth: 0, token: /** @type {Inline} */ (this.#tokens[index]) });
	}

	#closeBracket() {
		const close = this.#pos;
		const opener = this.#brackets.pop();
		this.#addText(']');
		if (!opener) return;
		const outer = this.#brackets[this.#brackets.length - 1];
		if (outer) outer.depth = Math.max(outer.depth, opener.depth);
		const isWithLink = this.#brackets.length < this.#withLink;
		this.#withLink = Math.min(this.#withLink, this.#brackets.length);
		if (isWithLink && !opener.image) return;

		const target = this.#readTarget(opener, close);
		if (target === 'unfinished') this.#leaveOpen(opener);
		else if (target) this.#addLink(opener, target);
	}

	/**
	 * @param {Bracket} opener
	 * @param {number} close
	 * @returns {{ href: string, title: string, end: number } | 'unfinished' | undefined}
	 */
	#readTarget(opener, close) {
		const pos = close + 1;
		const mayGoOn = this.#unfinished && this.#text.length - pos < longestOpenTarget;
		const next = this.#text[pos];
		if (mayGoOn && next === undefined) return 'unfinished';
		if (next === '(') {
			const target = readTarget(this.#text, pos);
			if (target !== 'unfinished') return target ?? this.#byLabel(opener, close);
			return mayGoOn ? target : this.#byLabel(opener, close);
		}
		if (mayGoOn && next === '[' && findEnd(this.#text, pos + 1, ']', '[') === this.#text.length) return 'unfinished';
		return this.#byLabel(opener, close);
	}

	/**
	 * Looks for the definition of a link's label: the one that follows, or its text.
	 *
	 * @param {Bracket} opener
	 * @param {number} close
	 */
	#byLabel(opener, close) {
		let end = close + 1;
		let label;
		if (this.#text[end] === '[') {
			const written = readLabel(this.#text, end);
			if (written) ({ text: label, end } = written);
			else if (this.#text[end + 1] === ']') end += 2;
		}
		const start = opener.pos + (opener.image ? 2 : 1);
		if (label === undefined && !opener.hasInner && close - start < 1000) label = normalizeLabel(this.#text.slice(start, close));
		if (!label) return undefined;
		const definition = this.#definitions.get(label);
		if (!definition) this.#onMissing(label);
		return definition && { ...definition, end };
	}

	/**
	 * The text of a link is there, and where it leads is to come.
	 *
	 * @param {Bracket} opener
	 */
	#leaveOpen(opener) {
		this.#limit = Math.min(this.#limit, opener.pos);
		opener.token.text = '';
		this.#tokens.pop();
		this.#pos = this.#text.length;
	}

	/**
	 * @param {Bracket} opener
	 * @param {{ href: string, title: string, end: number }} target
	 */
	#addLink({ index, image, depth }, { href, title, end }) {
		if (depth >= deepestImage) return;
		const outer = this.#brackets[this.#brackets.length - 1];
		if (outer) outer.depth = Math.max(outer.depth, depth + 1);
		const inner = this.#tokens.slice(index + 1, -1);
		pair(inner);
		this.#tokens.length = index;
		this.#tokens.push({ type: image ? 'image' : 'link', href, title, children: build(inner) });
		this.#pos = end;
		if (!image) this.#withLink = this.#brackets.length;
	}

	#readAutolink() {
		const [whole, url, address] = this.#match(autolink) ?? [];
		if (!whole) return this.#addText('<');
		this.#pos += whole.length;
		const text = url ?? address;
		this.#tokens.push({ type: 'link', href: url ?? 'mailto:' + address, title: '', children: [{ type: 'text', text }] });
	}

	#readEntity() {
		const whole = this.#match(/&(?:#[xX][\da-fA-F]{1,6}|#\d{1,7}|[a-zA-Z][a-zA-Z\d]{1,31});/y)?.[0] ?? '&';
		this.#addText(whole, decode(whole));
	}
}

const autolink = /<(?:([A-Za-z][A-Za-z0-9.+-]{1,31}:[^<>\x00-\x20]*)|([\w.!#$%&'*+/=?^`{|}~-]+@[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?)*))>/y;

/**
 * @param {string} text
 * @param {number} pos
 */
function characterBefore(text, pos) {
	const isPair = pos > 1 && /[\udc00-\udfff]/.test(text[pos - 1]);
	return text.slice(pos - (isPair ? 2 : 1), pos) || ' ';
}

/** @param {string} text */
function lengthWithoutSpaces(text) {
	let { length } = text;
	while (text[length - 1] === ' ') length--;
	return length;
}
