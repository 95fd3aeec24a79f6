/** The bytes of an event stream are read as the HTML standard defines. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { openAnswer } from '../lib/answer.js';
import { ChatError } from '../lib/error.js';
import { Reply, Site, delta, finish, one, read, settle, url } from './scripted.mjs';

/** Returns what a client reads of a reply. */
function reading(reply) {
	return read(openAnswer(url, { messages: [] }, { fetch: new Site(reply).fetch }));
}

test('only objects are events', async () => {
	const { seen, err } = await reading(new Reply().text('data: []\n\ndata: 1\n\ndata: null\n\ndata: "finish"\n\ndata: x\n\n').event(finish).end());
	assert.deepEqual([seen, err], [[finish], undefined]);
});

test('fields are read as the standard defines them', async () => {
	const { seen } = await reading(new Reply().text(
		'\ufeffdata:{"a":1}\n\n' +
		'data\ndata: {"b":\ndata:  2}\n\n' +
		'DATA: {"no":0}\n data: {"no":0}\nfoo: bar\n\n' +
		'event: x\nid: 1\nretry: 5\n: data: {"no":0}\ndata: {"c":"a\u2028b"}\n\n' +
		'data: {"no":0}',
	).end());
	assert.deepEqual(seen, [{ a: 1 }, { b: 2 }, { c: 'a\u2028b' }]);
});

for (const [name, lineEnd] of Object.entries({ LF: '\n', CRLF: '\r\n', CR: '\r' })) {
	test(`lines end with ${name}, wherever the stream is cut`, async () => {
		const bytes = new TextEncoder().encode(`data: {"a":\r\ndata: "👋"}\n\ndata: ${JSON.stringify(finish)}\n\n`.replaceAll(/\r?\n/g, lineEnd));
		const reply = new Reply();
		for (const byte of bytes) reply.bytes(byte);
		const { seen, err } = await reading(reply.end());
		assert.deepEqual([seen, err], [[{ a: '👋' }, finish], undefined]);
	});
}

test('a line end may be cut where nothing can be decoded', async () => {
	const { seen } = await reading(new Reply().text('data: {"a":"').bytes(0xf0).bytes(0x9f).bytes(0x91, 0x8b)
		.text('",\r').bytes().text('\ndata: "b":1}\r').bytes().text('\n').bytes().text('\r').text('\n').event(finish).end());
	assert.deepEqual(seen, [{ a: '👋', b: 1 }, finish]);
});

test('an event is handed out at its blank line, not at the next byte', async () => {
	for (const blank of ['\n\n', '\r\n\r\n', '\r\r']) {
		const reply = new Reply().text(`data: ${JSON.stringify(one)}${blank}`);
		const { events } = await openAnswer(url, { messages: [] }, { fetch: new Site(reply).fetch });
		assert.deepEqual((await events.next()).value, one);
		await events.return();
		assert.ok(reply.cancelled);
	}
});

test('a line without end is not kept', async () => {
	const reply = new Reply();
	const ended = reading(reply);
	await settle();
	for (let i = 0; i < 17; i++) reply.text('x'.repeat(1024 * 1024));
	const { err } = await ended;
	assert.ok(err instanceof ChatError);
	assert.equal(err.code, 'too_large:answer');
	assert.ok(reply.cancelled);
});

test('an event without end is not kept', async () => {
	const reply = new Reply();
	const ended = reading(reply);
	await settle();
	for (let i = 0; i < 17; i++) reply.text(`data: ${'x'.repeat(1024 * 1024)}\n`);
	reply.end();
	const { err } = await ended;
	assert.equal(err.code, 'too_large:answer');
});

test('an answer may be long, as long as its events are not', async () => {
	const reply = new Reply();
	const ended = reading(reply);
	await settle();
	for (let i = 0; i < 20; i++) reply.event({ type: 'ping', filler: 'x'.repeat(1024 * 1024) });
	reply.event(finish).end();
	const { seen, err } = await ended;
	assert.deepEqual([seen.length, err], [21, undefined]);
});

test('the text of an event is the piece, whatever its name is', async () => {
	const named = [{ type: 'text-delta', delta: 'Yes' }, { type: 'text-delta', delta: 'no', textDelta: '.' }, { type: 'tool-input-delta', delta: 'x' }];
	const { seen } = await reading(new Reply().event(...named, delta(7), finish).end());
	assert.deepEqual(seen.map(({ textDelta }) => textDelta), ['Yes', '.', undefined, '', undefined]);
});
