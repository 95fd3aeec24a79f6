/** What a visitor sees while an answer grows. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Random, answers, htmlOf, pieces, rendered, startView, textOf } from './markdown.mjs';

/** Adds a text in pieces, and calls a function after each. */
function stream(text, length, onPiece = () => {}) {
	const { element, view } = startView();
	for (const piece of pieces(text, length)) {
		view.append(piece);
		onPiece(element, view.text);
	}
	view.end();
	return element;
}

/** Returns what is shown of a text that may go on. */
function shownOf(text, length = 1) {
	const { element, view } = startView();
	for (const piece of pieces(text, length)) view.append(piece);
	return element;
}

for (const [name, text] of Object.entries(answers)) {
	test(`${name} ends up the same in pieces of any length`, () => {
		const whole = htmlOf(rendered(text));
		for (const length of [1, 2, 3, 4, 7, 50]) assert.equal(htmlOf(stream(text, length)), whole, `in pieces of ${length}`);
		assert.equal(htmlOf(stream(text.replaceAll('\n', '\r\n'), 1)), whole, 'with CRLF');
	});
}

/** How long random texts are tried, in milliseconds, and the seed of the first one. */
const time = Number(process.env.FUZZ_MS ?? 3000);
const seed = Number(process.env.FUZZ_SEED ?? 1);

const words = [
	'*', '**', '_', '__', '~~', '`', '``', '```', '````', '~~~', '***', '[', ']', '(', ')', '![', '](', '](http://x.y)', '[a]', '[a]: /u\n',
	'[b]: http://b.c "t"\n', '<http://a.b>', '<', '>', '> ', '- ', '* ', '+ ', '1. ', '1.', '2) ', '# ', '## ', '---', '===', '\n', '\n',
	'\n\n', '  ', '    ', '\t', 'a', 'b', 'foo', 'bar baz', '\\', '&amp;', '&', '!', '|', '| a | b |\n', '|---|---|\n', ' | ',
	'\n| a | b |\n|---|---|\n', '\n| a |\n|:-:|\n| b |\n',
	'https://x.y/a_b_c', 'www.a.bc', 'a@b.cd', '- [ ] ', '- [x] ', ':', '"', '\'', '\r\n', '\r', '1', '0', '"t"', '漢字', '。', '🎉', '\0',
	`${'x'.repeat(300)} `, 'lorem ipsum dolor sit amet '.repeat(30), 'lorem ipsum dolor sit amet\n'.repeat(60),
];

test('random texts end up the same in random pieces', () => {
	const random = new Random(seed);
	let tried = 0;
	for (const end = Date.now() + time; Date.now() < end; tried++) {
		const text = random.text(words, 30);
		const most = text.length > 500 ? 60 : 6;
		const streamed = stream(text, () => 1 + random.below(most));
		assert.equal(htmlOf(streamed), htmlOf(rendered(text)), JSON.stringify(text));
	}
	assert.ok(tried > 50, `only ${tried} texts were tried`);
});

/** Returns the first part of a text that is not in another one, with other characters in between. */
function missingIn(part, whole) {
	let found = 0;
	for (let i = 0; i < whole.length && found < part.length; i++) {
		if (whole[i] === part[found]) found++;
	}
	return part.slice(found);
}

for (const [name, text] of Object.entries(answers)) {
	test(`nothing of ${name} is shown and taken away`, () => {
		// Brackets are shown until the definition of the link in them comes.
		const late = [...text.matchAll(/^\[(.+?)\]:/gm)].map(([, label]) => label);
		const ready = late.map((label) => text.match(new RegExp(`^\\[${label}\\]:.*\n(?:\t.*\n)?`, 'm'))[0]).join('') + '\n' + text;
		const whole = textOf(rendered(ready));
		for (const length of [1, 3, 4]) {
			stream(ready, length, (element, soFar) => {
				const shown = textOf(element);
				assert.equal(missingIn(shown, whole), '', `${JSON.stringify(soFar.slice(-50))} is shown as ${JSON.stringify(shown.slice(-50))}`);
			});
		}
	});
}

const halfWritten = {
	'emphasis': ['a **bol', '<p dir="auto">a <strong>bol</strong></p>'],
	'emphasis that begins': ['a *', '<p dir="auto">a </p>'],
	'emphasis that ends': ['a **bold*', '<p dir="auto">a <strong>bold</strong></p>'],
	'emphasis in emphasis': ['**a *b', '<p dir="auto"><strong>a <em>b</em></strong></p>'],
	'strikethrough': ['~~a b', '<p dir="auto"><del>a b</del></p>'],
	'an asterisk of arithmetic': ['5*3 is', '<p dir="auto">5*3 is</p>'],
	'code': ['a `b c', '<p dir="auto">a <code>b c</code></p>'],
	'a link\'s text': ['see [the ma', '<p dir="auto">see the ma</p>'],
	'a link before its target': ['see [the manual]', '<p dir="auto">see the manual</p>'],
	'a link\'s target': ['see [the manual](https://exa', '<p dir="auto">see the manual</p>'],
	'a link\'s title': ['see [the manual](https://example.com "The', '<p dir="auto">see the manual</p>'],
	'an image': ['see ![a chart](https://exa', '<p dir="auto">see a chart</p>'],
	'an autolink': ['see <https://exam', '<p dir="auto">see </p>'],
	'an entity': ['a &am', '<p dir="auto">a </p>'],
	'an escape': ['a \\', '<p dir="auto">a </p>'],
	'a heading': ['a\n\n##', '<p dir="auto">a</p>'],
	'an item': ['a\n-', '<p dir="auto">a</p>'],
	'a numbered item': ['a\n\n1.', '<p dir="auto">a</p>'],
	'a rule or an item': ['a\n\n--', '<p dir="auto">a</p>'],
	'an underline or an item': ['a\n- ', '<p dir="auto">a</p>'],
	'a quote': ['a\n>', '<p dir="auto">a</p>'],
	'a fence': ['a\n```j', '<p dir="auto">a</p>'],
	'a header': ['a\n\n| b | c', '<p dir="auto">a</p><p dir="auto" hidden=""></p>'],
	'a delimiter row': ['a\n\n| b | c |\n|--', '<p dir="auto">a</p><p dir="auto" hidden=""></p>'],
	'a definition': ['a\n\n[b]: https://exa', '<p dir="auto">a</p><p dir="auto" hidden=""></p>'],
	'a task': ['a\n- [', '<p dir="auto">a</p><ul class="tight"><li dir="auto"><p hidden=""></p></li></ul>'],
};
for (const [name, [text, html]] of Object.entries(halfWritten)) {
	test(`half-written: ${name}`, () => {
		for (const length of [1, text.length]) assert.equal(htmlOf(shownOf(text, length)), html);
	});
}

test('a bracket and a link\'s target are left out only as long as they are short', () => {
	const words = 'lorem ipsum '.repeat(100);
	assert.equal(textOf(shownOf('see [0, 1) and ' + words.slice(0, 150))), ('see 0, 1) and ' + words.slice(0, 150)).trim());
	assert.equal(textOf(shownOf('see [0, 1) and ' + words.slice(0, 250), 10)), ('see [0, 1) and ' + words.slice(0, 250)).trim());
	assert.equal(textOf(shownOf('see [a](https://x.y/' + 'z'.repeat(900), 10)), 'see a');
	assert.ok(textOf(shownOf('see [a](https://x.y/' + 'z'.repeat(1100), 10)).startsWith('see [a](https://x.y/zz'));
});

test('what stays half-written is shown as it is', () => {
	for (const text of ['a **bol', 'a `b c', 'see [the manual](https://exa', 'a &am', 'a \\', '| b | c |\n|--', 'a ~~b', '<https://exam', '![']) {
		assert.equal(textOf(stream(text, 1)), text.replaceAll('\n', ' '));
	}
});

test('blocks that are complete are not touched again', () => {
	const texts = Object.values(answers).map((text) => text.replaceAll(/^\[.*\]:.*\n/gm, ''));
	for (const text of texts) {
		const { element, view } = startView();
		let before = [];
		for (const piece of pieces(text, 4)) {
			view.append(piece);
			const now = [...element.childNodes];
			// The last block may still grow.
			for (const [i, { node, html }] of before.slice(0, -1).entries()) {
				assert.equal(now[i], node);
				assert.equal(now[i].outerHTML, html);
			}
			before = now.map((node) => ({ node, html: node.outerHTML }));
		}
	}
});

test('text that grows stays in its node', () => {
	for (const start of ['Hello', '- one\n- two', '> quo', '| a | b |\n|---|---|\n| c | d', '```\ncode', '# Titl', 'a **bol']) {
		const { element, view } = startView();
		view.append(start);
		let node = element;
		while (node.lastChild) node = node.lastChild;
		assert.equal(node.nodeType, 3, start);
		for (const piece of [' and', ' mor', 'e']) view.append(piece);
		assert.ok(node.data.endsWith(' and more'), `${start}: ${node.data}`);
		assert.ok(element.contains(node));
	}
});

test('a list that turns out to be loose keeps its items', () => {
	const { element, view } = startView();
	view.append('- a\n- b\n');
	const [list] = element.children;
	const items = [...list.children];
	assert.ok(list.classList.contains('tight'));
	view.append('\n- c');
	assert.ok(!list.classList.contains('tight'));
	assert.deepEqual([...list.children].slice(0, 2), items);
});

test('a link that is defined after it is used becomes one', () => {
	const { element, view } = startView();
	view.append('See [the manual][1] and [2].\n\n');
	assert.equal(textOf(element), 'See [the manual][1] and [2].');
	view.append('[1]: https://example.com/1\n\n');
	assert.equal(textOf(element), 'See the manual and [2].');
	view.append('[2]: https://example.com/2');
	view.end();
	assert.deepEqual([...element.querySelectorAll('a')].map(({ href }) => href), ['https://example.com/1', 'https://example.com/2']);
});

test('many links that are defined late are all links at the end', () => {
	const labels = Array.from({ length: 200 }, (_, i) => `l${i}`);
	const text = labels.map((label) => `[${label}]`).join(' ') + '\n\n' + labels.map((label) => `[${label}]: https://x.y/${label}\n\n`).join('');
	const element = stream(text, 50);
	assert.equal(element.querySelectorAll('a').length, 200);
});

test('long lines are shown in steps, and whole at the end', () => {
	for (const start of ['', '# ', '- ', '| a |\n|---|\n| ', '*', '`', '[a](', '    ', '```\n']) {
		const text = start + 'lorem *ipsum* dolor '.repeat(400);
		const { element, view } = startView();
		for (const piece of pieces(text, 40)) {
			view.append(piece);
			assert.ok(textOf(element).length >= view.text.length / 2 - 30, `of ${view.text.length} characters after ${start}, ${textOf(element).length} are shown`);
		}
		view.end();
		assert.equal(htmlOf(element), htmlOf(rendered(text)));
	}
});

test('a long paragraph shows no marks that have a counterpart', () => {
	const { element, view } = startView();
	for (const piece of pieces('lorem *ipsum* `dolor` [sit](https://x.y) '.repeat(250), 7)) {
		view.append(piece);
		assert.doesNotMatch(element.textContent, /[*`[\]]/);
	}
});

test('a table may begin below a paragraph', () => {
	const text = 'lorem ipsum\n| a | b |\n|---|---|\n| c | d |';
	for (const length of [1, 12, 24, 40]) assert.equal(htmlOf(stream(text, length)), htmlOf(rendered(text)));
	assert.equal(rendered(text).querySelector('p').textContent, 'lorem ipsum');
});

test('the text so far can be read', () => {
	const { view } = startView();
	view.append('a *');
	view.append('b*');
	assert.equal(view.text, 'a *b*');
	view.end();
	view.end();
	assert.throws(() => view.append('c'), /ended/);
	assert.equal(view.text, 'a *b*');
});
