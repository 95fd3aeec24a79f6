/** The time that a text takes grows with its length, and not with the square of it, whatever the text is, at once and in pieces. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { pieces, startView } from './markdown.mjs';

/** Returns a function that repeats a unit to a length. */
function repeat(unit, { before = '', after = '' } = {}) {
	return (length) => before + unit.repeat(Math.ceil(length / unit.length)) + after;
}

/** Joins what a function returns for 0, 1, 2 … to a length. */
function count(unit) {
	return (length) => {
		let text = '';
		for (let i = 0; text.length < length; i++) text += unit(i);
		return text;
	};
}

/** Texts that take a parser with a careless loop the square of their length, by what they have many of. */
const suspects = {
	'words in a line': repeat('lorem ipsum dolor '),
	'lines in a paragraph': repeat('lorem ipsum\n'),
	'words behind an asterisk': repeat('lorem ipsum dolor ', { before: '*' }),
	'lines behind an asterisk': repeat('lorem ipsum\n', { before: 'a *' }),
	'words behind a bracket': repeat('lorem ipsum dolor ', { before: 'a [' }),
	'words behind a backtick': repeat('lorem ipsum dolor ', { before: 'a `' }),
	'asterisks': repeat('*'),
	'openers': repeat('*a '),
	'openers of two kinds': repeat('*a _b '),
	'openers of two lengths': repeat('**a *b '),
	'closers': repeat('a* '),
	'openers and closers of two kinds': repeat('*a b_ '),
	'openers and closers': repeat('*a**b'),
	'underscores': repeat('_a '),
	'tildes': repeat('~~a '),
	'backticks of all lengths': count((i) => '`'.repeat(i + 1) + ' '),
	'backticks': repeat('` `` '),
	'opening brackets': repeat('['),
	'closing brackets': repeat(']'),
	'pairs of brackets': repeat('[]'),
	'nested brackets': (length) => '['.repeat(length / 2) + ']'.repeat(length / 2),
	'nested images': (length) => '!['.repeat(length / 6) + 'a' + '](b)'.repeat(length / 6),
	'links': repeat('[a](https://x.y) '),
	'links behind brackets': repeat('[a](b)', { before: '['.repeat(2000) }),
	'links without an end': repeat('[a](b'),
	'links with angles without an end': repeat('[a](<b'),
	'links with titles without an end': repeat('[a](b "'),
	'parentheses': repeat('(', { before: '[a](' }),
	'references': repeat('[a][b]'),
	'angles': repeat('<'),
	'URLs in angles without an end': repeat('<http:'),
	'addresses in angles without an end': repeat('<a@'),
	'tags': repeat('<a b="c" '),
	'comments': repeat('<!-- '),
	'entities': repeat('&a'),
	'entities at the end of a URL': repeat('&a;', { before: 'https://x.y/' }),
	'semicolons at the end of a URL': repeat(';', { before: 'https://x.y/' }),
	'parentheses at the end of a URL': repeat(')', { before: 'https://x.y/' }),
	'starts of URLs': repeat('www.a_'),
	'URLs': repeat('https://x.y/a_b '),
	'addresses': repeat('a@a'),
	'letters before an address': repeat('a', { after: '@b.c' }),
	'backslashes': repeat('\\'),
	'spaces': repeat(' ', { before: 'a', after: 'b' }),
	'spaces in a heading': repeat(' ', { before: '# a', after: 'b' }),
	'number signs': repeat('#', { before: '# a ', after: 'b' }),
	'tabs': repeat('\t'),
	'nested quotes': repeat('> '),
	'nested lists': repeat('- '),
	'levels of lists': (length) => count((i) => ' '.repeat(i % 40) + '- a\n')(length),
	'items': repeat('- a **b**\n'),
	'loose items': repeat('* a\n\n'),
	'numbered items': repeat('1. a\n'),
	'lazy lines': repeat('> a\nb\n'),
	'empty lines': repeat('\n'),
	'carriage returns': repeat('\r'),
	'empty lines in code': repeat('\n', { before: '    a\n', after: '    b' }),
	'headings': repeat('# a\n'),
	'underlines': repeat('a\n=\n'),
	'rules': repeat('---\n'),
	'hyphens': repeat('-', { after: 'a' }),
	'spaced hyphens': repeat('- ', { after: 'a' }),
	'lines of code': repeat('const a = 1;\n', { before: '```js\n' }),
	'fences': repeat('```\n'),
	'fences in a line': repeat('~~~ '),
	'rows': repeat('| a | **b** |\n', { before: '| a | b |\n|---|---|\n' }),
	'short rows of a wide table': (length) => '|a'.repeat(length / 8) + '|\n' + '|-'.repeat(length / 8) + '|\n' + '|\n'.repeat(length / 4),
	'cells': repeat('| a ', { after: '|' }),
	'delimiter rows': repeat('|-|\n'),
	'a long cell': repeat('a *b* ', { before: '| a |\n|---|\n| ' }),
	'a long heading': repeat('a *b* ', { before: '# ' }),
	'definitions': count((i) => `[a${i}]: https://x.y\n`),
	'the same definition': repeat('[a]: b\n'),
	'definitions with titles without an end': repeat('"a\n', { before: '[a]: b\n' }),
	'definitions of labels in lines before': (length) => {
		const labels = Array.from({ length: length / 30 }, (_, i) => `a${i}`);
		return labels.map((label) => `[${label}]\n`).join('') + '\n' + labels.map((label) => `[${label}]: https://x.y\n\n`).join('');
	},
	'definitions of labels that are used before': (length) => {
		const labels = Array.from({ length: length / 30 }, (_, i) => `a${i}`);
		return labels.map((label) => `[${label}] `).join('') + '\n\n' + labels.map((label) => `[${label}]: https://x.y\n\n`).join('');
	},
};

/** Returns how much processor time it takes to show a text, in milliseconds. */
function measure(text, pieceLength) {
	const { view } = startView();
	const before = process.cpuUsage();
	for (const piece of pieces(text, pieceLength)) view.append(piece);
	view.end();
	const { user, system } = process.cpuUsage(before);
	return (user + system) / 1000;
}

/** A text that takes less time than this, in milliseconds, is not measured closely: a loop that takes the square takes more. */
const soonEnough = 250;

/** Checks that four times the text takes less than eight times the time. The square would be sixteen times. */
function assertLinear(make, length, pieceLength) {
	let [short, long] = [Infinity, Infinity];
	for (let attempts = 0; attempts < 6; attempts++) {
		long = Math.min(long, measure(make(4 * length), pieceLength));
		if (long < soonEnough) return;
		short = Math.min(short, measure(make(length), pieceLength));
		if (long < 8 * short) return;
	}
	assert.fail(`${length} characters take ${short} ms, four times as many ${long} ms`);
}

for (const [name, make] of Object.entries(suspects)) {
	test(`many ${name}`, () => {
		assertLinear(make, 40_000, Infinity);
		assertLinear(make, 5000, 4);
	});
}
