/** The parser reads CommonMark's own examples as CommonMark says. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Parser } from 'commonmark';
import spec from 'commonmark-spec';

import { toHtml } from './markdown-html.mjs';

/** Examples that the renderer reads differently on purpose. */
const differences = new Map([
	[25, 'named characters are those of HTML 4'],
	[602, 'URLs in a text are links'],
	[606, 'mail addresses in a text are links'],
	[608, 'URLs in a text are links'],
	[611, 'URLs in a text are links'],
	[612, 'mail addresses in a text are links'],
]);

/** Whether a text has HTML, which stays text here. */
function hasHtml(markdown) {
	const walker = new Parser().parse(markdown).walker();
	for (let step; (step = walker.next());) {
		if (step.node.type.startsWith('html')) return true;
	}
	return false;
}

const examples = spec.tests.map(({ number, section, markdown, html }) => (
	{ number, section, markdown: markdown.replaceAll('→', '\t'), html: html.replaceAll('→', '\t') }
)).filter(({ markdown }) => !hasHtml(markdown));

test('there are examples', () => assert.ok(examples.length > 570));

for (const { number, section, markdown, html } of examples) {
	test(`example ${number}: ${section}`, () => {
		if (differences.has(number)) assert.notEqual(toHtml(markdown), html);
		else assert.equal(toHtml(markdown), html);
	});
}
