/**
 * The parser reads texts as other parsers do: CommonMark's own one, and marked for what GitHub adds. Each difference that is
 * normalized here is a row of the list in the README.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { HtmlRenderer, Parser } from 'commonmark';
import { Marked } from 'marked';

import { Random, answers } from './markdown.mjs';
import { toHtml } from './markdown-html.mjs';

/** How long random texts are compared, in milliseconds, and the seed of the first one. */
const time = Number(process.env.FUZZ_MS ?? 3000);
const seed = Number(process.env.FUZZ_SEED ?? 1);

/** What CommonMark knows, without what only GitHub does: bars, pairs of tildes. */
const commonWords = [
	'*', '*', '**', '***', '_', '__', '`', '``', '```', '~~~', '[', ']', '(', ')', '![', '](', '](/u "t")', '[a]', '[a]: /u\n',
	'[b]: <c> "t"\n', '<made:b>', '<', '>', '> ', '- ', '* ', '+ ', '1. ', '2) ', '1.', '# ', '## ', '---', '===', '\n', '\n', '\n\n',
	'  ', '    ', '\t', 'a', 'b', 'foo', 'bar baz', 'é', '—', '\\', '&amp;', '&', '!', ':', '"', '\'', '\r\n', '0', '"t"',
	'    - ', '   > ', '\n   ', '\n    ', '\n > ', '\n- ', '\n1. ', '\n```\n',
];

/** Whether CommonMark's parser reads a text as other parsers do, and as this one is meant to. */
function isComparable(text, tree) {
	const walker = tree.walker();
	for (let step; (step = walker.next());) {
		if (step.node.type.startsWith('html')) return false; // HTML stays text
	}
	// It takes a tab for a character of a link's destination, contrary to the specification.
	if (/(?:\]:|\()[^]*\t/.test(text)) return false;
	// A delimiter row of one column makes a table, and what is left of three tildes behind a backslash strikes out.
	return !/^[ \t>]*(?::-+:?|-+:)[ \t]*$/m.test(text) && !text.includes('\\~');
}

test('random texts are read as CommonMark says', () => {
	const random = new Random(seed);
	let compared = 0;
	for (const end = Date.now() + time; Date.now() < end;) {
		const text = random.text(commonWords, 25);
		const tree = new Parser().parse(text);
		if (!isComparable(text, tree)) continue;
		// It leaves an empty paragraph where only definitions were.
		const html = new HtmlRenderer().render(tree).replaceAll('<p></p>\n', '');
		assert.equal(toHtml(text, { bareLinks: false }), html, JSON.stringify(text));
		compared++;
	}
	assert.ok(compared > 100, `only ${compared} texts were compared`);
});

/** Texts whose marks depend on each other in ways that are rarely random. */
const intricate = [
	'[a [b](/c)](/d) [e](/f)', '[a ![b [c](/d)](/e)](/f) [g](/h)', '*a [b*](/c) d*', '*a [b* c', '**a *b** c*', '***a** b*', '_a __b_ c__', '*a `b*` c*',
	'[a `b](/c)`', '[a <made:b](/c)>', '![*a* [b](/c)](/d "e")', '[a][b] [b] [a]\n\n[b]: /c', '[[a]]\n\n[a]: /b', '- a\n\n  - b\n\n\n    c\n- d',
	'1. a\n\n   ```\n   b\n\n   c\n   ```\n2. d', '> - a\n>\n>   b\nc', '- a\n-\n\n  b', '-\n\n  a', '    a\n\n\n    b\n\nc', 'a\n===\nb\n---\n- c\n---',
];

test('intricate texts are read as CommonMark says', () => {
	for (const text of intricate) assert.equal(toHtml(text), new HtmlRenderer().render(new Parser().parse(text)), JSON.stringify(text));
});

/** Removes what the HTML of marked and of the test's own writer differ in without a meaning. */
function normalize(html) {
	return html
		.replaceAll(/<(br|hr|img|input)\b([^>]*?)\s*\/?>/g, '<$1$2>')
		.replaceAll(/&#39;/g, '\'').replaceAll('&quot;', '"')
		.replaceAll('<input checked="" disabled="" type="checkbox">', '☑').replaceAll('<input disabled="" type="checkbox">', '☐')
		.replaceAll(/\s*(<\/?(?:ul|ol|li|p|table|thead|tbody|tr|td|th|h\d|blockquote|pre|hr|br)\b[^>]*>)\s*/g, '$1')
		.replaceAll(/ +/g, ' ')
		.trim();
}

/** Reads as GitHub does, except that HTML stays text. */
const marked = new Marked({ gfm: true, tokenizer: { html: () => undefined, tag: () => undefined } });

/** What is read differently on purpose, by answer: as marked does, and as the renderer does. */
const differences = {
	// Emphasis whose text begins or ends with punctuation needs no spaces around it in Chinese and Japanese.
	'chinese.md': [['**“重点”**', '<strong>“重点”</strong>']],
	'japanese.md': [
		['**「設定」**', '<strong>「設定」</strong>'],
		// Their punctuation ends a URL.
		[
			'help%E3%80%82%E3%81%8A%E6%B0%97%E8%BB%BD%E3%81%AB%E3%81%A9%E3%81%86%E3%81%9E%EF%BC%81">https://example.com/help。お気軽にどうぞ！</a>',
			'help">https://example.com/help</a>。お気軽にどうぞ！',
		],
	],
};

for (const [name, text] of Object.entries(answers)) {
	test(`${name} is read as marked does`, () => {
		let want = normalize(marked.parse(text));
		for (const [theirs, ours] of differences[name] ?? []) {
			assert.ok(want.includes(theirs), `marked does not write ${theirs}`);
			want = want.replace(theirs, ours);
		}
		assert.equal(normalize(toHtml(text)), want);
	});
}

/** Lines of what GitHub adds, in forms that marked reads as GitHub does. */
const gfmWords = ['a', 'b ', ' *c* ', ' **d** ', ' `e` ', ' ~~f~~ ', ' [g](/u) ', '\\|', ' 1 ', '✓', ' - ', ' & ', '日本'];

function randomRow(random, columns) {
	return `| ${Array.from({ length: columns }, () => random.text(gfmWords, 4).trim() || 'x').join(' | ')} |\n`;
}

test('random tables are read as marked does', () => {
	const random = new Random(seed);
	for (let i = 0; i < 300; i++) {
		const columns = 1 + random.below(4);
		const delimiters = Array.from({ length: columns }, () => ['---', ':--', ':-:', '--:'][random.below(4)]).join('|');
		const rows = Array.from({ length: random.below(5) }, () => randomRow(random, Math.max(1, columns + random.below(3) - 1)));
		const text = `${randomRow(random, columns)}|${delimiters}|\n${rows.join('')}\ntext\n`;
		assert.equal(normalize(toHtml(text)), normalize(marked.parse(text)), JSON.stringify(text));
	}
});
