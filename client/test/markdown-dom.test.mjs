/** The renderer makes the elements of its list, and nothing else, whatever a text says. */
import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { test } from 'node:test';

import { answers, htmlOf, rendered, startView, textOf } from './markdown.mjs';

/** The elements that may be made, with the attributes that they may have. */
const allowed = {
	a: ['href', 'rel', 'target', 'title'], blockquote: [], br: [], button: ['class', 'type'], code: ['class'], del: [], div: ['class'],
	em: [], h3: ['dir'], h4: ['dir'], h5: ['dir'], h6: ['dir'], hr: [], li: ['class', 'dir'], ol: ['class', 'start'], p: ['dir', 'hidden'],
	pre: ['dir', 'translate'], span: ['class'], strong: [], table: [], tbody: [], td: ['align', 'dir'], th: ['align', 'dir', 'scope'],
	thead: [], tr: [], ul: ['class'],
};

/** What an attribute may say. */
const values = {
	align: /^(left|center|right)$/, class: /^(|tight|task|box|code|bar|language|copy|table|language-[\w.+#-]{1,40})$/, dir: /^(auto|ltr)$/,
	hidden: /^$/, href: /^(https?:\/\/|mailto:)[^\s"<>]*$/, rel: /^noopener noreferrer nofollow ugc$/, scope: /^col$/, start: /^\d{1,9}$/,
	target: /^_blank$/, title: /^/, translate: /^no$/, type: /^button$/,
};

function assertAllowed(element) {
	for (const { localName, attributes } of element.querySelectorAll('*')) {
		assert.ok(allowed[localName], `there is a <${localName}>`);
		for (const { name, value } of attributes) {
			assert.ok(allowed[localName].includes(name), `<${localName}> has ${name}`);
			assert.match(value, values[name], `${name} of <${localName}>`);
		}
	}
}

const hostileDir = new URL('../../e2e/page/testdata/markdown/', import.meta.url);
const hostile = Object.fromEntries(readdirSync(hostileDir).filter((name) => name.endsWith('.md'))
	.map((name) => [name, readFileSync(new URL(name, hostileDir), 'utf8')]));

for (const [name, text] of Object.entries({ ...answers, ...hostile })) {
	test(`${name} makes only elements and attributes that are allowed`, () => {
		assertAllowed(rendered(text));
		const { element, view } = startView();
		for (const character of text) {
			view.append(character);
			if (character === '\n' || character === ')') assertAllowed(element);
		}
		view.end();
		assertAllowed(element);
		assert.equal(htmlOf(element), htmlOf(rendered(text)));
	});
}

/** Returns where the links in a text lead. */
function hrefs(text) {
	return [...rendered(text).querySelectorAll('a')].map((link) => link.getAttribute('href'));
}

test('links lead to the web and to mail', () => {
	assert.deepEqual(hrefs('[a](https://example.com/x?y=1&z#w) <http://example.com> [b](mailto:x@example.com) www.example.com y@example.com'), [
		'https://example.com/x?y=1&z#w', 'http://example.com/', 'mailto:x@example.com', 'http://www.example.com/', 'mailto:y@example.com',
	]);
	assert.deepEqual(hrefs('[a](HTTPS://EXAMPLE.COM/X) [b](https:example.com) [c](https:\\\\example.com\\x) [d](https://example.com/ä)'), [
		'https://example.com/X', 'https://example.com/', 'https://example.com/x', 'https://example.com/%C3%A4',
	]);
});

test('other links are their text', () => {
	const paragraphs = hostile['links.md'].split('\n\n').filter((text) => text.startsWith('[a](') && !/https?:/i.test(text));
	assert.ok(paragraphs.length >= 5);
	for (const text of paragraphs) assert.deepEqual(hrefs(text), [], text);
	for (const href of ['/x', 'x', '../x', '//example.com/x', '?x', '#x', '', '<>', 'javascript:x', 'data:,x', 'tel:1', 'ftp://x.y/']) {
		assert.equal(rendered(`see [the *page*](${href}).`).innerHTML, '<p dir="auto">see the <em>page</em>.</p>');
	}
});

test('an image is a link', () => {
	const [link] = rendered('![a *chart*](https://example.com/x.png "of 2024")').querySelectorAll('a');
	assert.equal(link.textContent, 'a chart');
	assert.equal(link.title, 'of 2024');
	assert.equal(rendered('![](https://example.com/x.png)', { labels: { image: 'Bild' } }).textContent, 'Bild');
	assert.equal(rendered('![a](x.png)').innerHTML, '<p dir="auto">a</p>');
	assert.deepEqual(hrefs('[![a](https://example.com/x.png)](https://example.com/)'), ['https://example.com/']);
});

test('a link without text has its address as text', () => {
	assert.equal(rendered('[](https://example.com/x)').textContent, 'https://example.com/x');
});

test('headings are below those of the page', () => {
	const element = rendered('# a\n## b\n### c\n#### d\n##### e\n###### f\n\ng\n===');
	assert.deepEqual([...element.children].map(({ localName }) => localName), ['h3', 'h4', 'h5', 'h6', 'h6', 'h6', 'h3']);
});

test('a task has a box that is text', () => {
	const element = rendered('- [x] a\n- [ ] b\n- [ ]c\n- d');
	assert.deepEqual([...element.querySelectorAll('li')].map((item) => [item.className, item.textContent]), [
		['task', '☑ a'], ['task', '☐ b'], ['', '[ ]c'], ['', 'd'],
	]);
});

test('a header without text is a cell', () => {
	const element = rendered('| | a |\n|---|--:|\n| b | 1 |\n| c |\n| d | 2 | 3 |');
	assert.deepEqual([...element.querySelectorAll('thead > tr > *')].map(({ localName }) => localName), ['td', 'th']);
	assert.deepEqual([...element.querySelectorAll('tbody > tr')].map(({ children }) => children.length), [2, 1, 2]);
	assert.equal(element.querySelector('tbody td + td').getAttribute('align'), 'right');
});

test('a block of code says its language', () => {
	const element = rendered('```js {1,2}\nx\n```\n\n```"><b>\ny\n```\n\n    z');
	assert.deepEqual([...element.querySelectorAll('code')].map((code) => [code.className, code.textContent]), [
		['language-js', 'x\n'], ['', 'y\n'], ['', 'z\n'],
	]);
	assert.deepEqual([...element.querySelectorAll('.language')].map(({ textContent }) => textContent), ['js', '', '']);
});

test('text has its own direction, and that of an item includes its paragraphs', () => {
	const element = rendered('a\n\n> b\n\n- c\n\n      d\n- e\n\n# f\n\n| g |\n|---|\n| h |');
	const own = [...element.querySelectorAll('[dir=auto]')].map(({ localName }) => localName);
	assert.deepEqual(own, ['p', 'p', 'li', 'li', 'h3', 'th', 'td']);
	assert.equal(element.querySelector('pre').getAttribute('dir'), 'ltr');
});

test('labels may be in another language', () => {
	assert.equal(rendered('```\nx\n```', { labels: { copy: 'Kopieren' } }).querySelector('button').textContent, 'Kopieren');
	assert.equal(rendered('```\nx\n```').querySelector('button').textContent, 'Copy');
});

/** Returns how deep the elements in an element are nested. */
function depthOf({ children }) {
	return children.length === 0 ? 0 : 1 + Math.max(...[...children].map(depthOf));
}

test('what is nested too deep is text', () => {
	for (const text of [
		'>'.repeat(5000), '> '.repeat(5000) + 'a', '- '.repeat(5000) + 'a', '1. '.repeat(5000) + 'a',
		'*a **b '.repeat(5000) + 'c** d*'.repeat(5000), '['.repeat(5000) + 'a' + '](https://x.y)'.repeat(5000),
		'!['.repeat(5000) + 'a' + '](https://x.y)'.repeat(5000),
		Array.from({ length: 500 }, (_, i) => ' '.repeat(2 * i) + '- a').join('\n'),
	]) {
		const element = rendered(text);
		assert.ok(depthOf(element) <= 120, `${JSON.stringify(text.slice(0, 20))} has ${depthOf(element)} levels`);
		assert.ok(textOf(element).length > 0);
	}
});

test('the names of an object\'s properties are labels like others', () => {
	assert.deepEqual(hrefs('[\\__proto__] [constructor] [a][toString]'), []);
	assert.deepEqual(hrefs('[\\__proto__] [constructor]\n\n[\\__proto__]: https://x.y/1\n[constructor]: https://x.y/2'), ['https://x.y/1', 'https://x.y/2']);
});
