/** Visitors read in their language what went wrong, and how an answer ended. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import { endingOf } from '../element/ending.js';
import { explain, explainPause, explainReconnect } from '../element/explain.js';
import { loadWords } from '../element/words.js';
import { ChatError } from '../illumichat.js';
import { Turn } from '../lib/turn.js';
import { replace } from './browser.mjs';

const en = await loadWords('en');
const all = await Promise.all(['ar', 'de', 'en', 'es', 'fr', 'ja'].map((tag) => loadWords(tag)));

const read = (path) => readFileSync(new URL(path, import.meta.url), 'utf8');

/** The codes of the server, with their statuses. The status of a finish is that of its answer, 200. */
const ofTheServer = Array.from(read('../../docs/errors.md').matchAll(/^\| `(\w+:\w+)` \| ([^|]+) \|/gm), ([, code, status]) =>
	[status === 'finish' ? 200 : Number(status.match(/\d\S\S/)[0].replace('xx', '00')), code]);

/** The codes of the client, with their statuses. A row has several codes, and no status if an answer breaks off. */
const ofTheClient = Array.from(read('../README.md').matchAll(/^\| (?:(\d{3}) \| )?((?:`\w+:\w+`(?:, )?)+) \|/gm), ([, status = '200', codes]) =>
	codes.split(', ').map((code) => [Number(status), code.replaceAll('`', '')])).flat();

const codes = [...ofTheServer, ...ofTheClient];

/** The codes whose text says by itself what is wrong, because the page has sent something wrong. */
const wrongRequests = ['bad_request:chat', 'bad_request:page'];

test('the documentation has all codes', () => {
	for (const code of ['rate_limit:chat', 'lost:instance', 'shutting_down:proxy', 'stopped:visitor', 'unavailable:store', 'too_large:answer', 'stalled:connection']) {
		assert.ok(codes.some(([, documented]) => documented === code), code);
	}
});

for (const [status, code] of codes.filter(([, code]) => !wrongRequests.includes(code))) {
	test(`${status} ${code} has a text of its own in each language`, () => {
		const texts = all.map((words) => explain(words, new ChatError('the raw text', { status, code })));
		for (const text of texts) assert.doesNotMatch(text, /raw text/);
		assert.equal(new Set(texts).size, all.length);
	});
}

for (const [failure, want] of [
	[{ status: 429, code: 'rate_limit:chat' }, 'Too many messages for now.'],
	[{ status: 429, code: 'rate_limit:upstream' }, 'Too many messages for now.'],
	[{ status: 503, code: 'overloaded:chat' }, 'The assistant is busy.'],
	[{ status: 503, code: 'unavailable:store' }, 'The assistant is busy.'],
	[{ status: 408, code: 'timeout:chat' }, 'Sending the message took too long.'],
	[{ status: 504, code: 'timeout:upstream' }, 'The assistant took too long.'],
	[{ status: 404, code: 'not_found:stream' }, 'The connection to the assistant broke off.'],
	[{ status: 404, code: 'not_found:upstream' }, 'This chat is not set up correctly. Please tell the owner of the site.'],
	[{ status: 405, code: 'method_not_allowed:chat' }, 'This chat is not set up correctly. Please tell the owner of the site.'],
	[{ status: 413, code: 'too_large:chat' }, 'This message is too long for the assistant. Send a shorter one.'],
	[{ status: 200, code: 'too_large:answer' }, 'The answer is too large for this page.'],
	[{ status: 200, code: 'stalled:upstream' }, 'The assistant took too long.'],
	[{ status: 200, code: 'stalled:connection' }, 'The connection to the assistant broke off.'],
	[{ code: 'unreachable:connection' }, 'The site cannot be reached. Check your connection.'],
	[{ status: 302, code: 'redirected:connection' }, 'You are not signed in any more. Reload the page to sign in again.'],
	// A proxy in front of the site sends no code.
	[{ status: 401 }, 'You are not signed in any more. Reload the page to sign in again.'],
	[{ status: 413 }, 'This message is too long for the assistant. Send a shorter one.'],
	[{ status: 502 }, 'The assistant cannot be reached at the moment.'],
	[{ status: 504 }, 'The assistant took too long.'],
	[{ status: 599 }, 'The assistant cannot be reached at the moment.'],
	// The page's own mistakes, and the assistant's error events, say by themselves what is wrong.
	[{ status: 400, code: 'bad_request:chat' }, 'That did not work: No plan.'],
	[{ status: 402, code: 'payment:billing' }, 'That did not work: No plan.'],
	[{ status: 200, code: 'rate_limit:model' }, 'That did not work: No plan.'],
	[{ status: 200 }, 'That did not work: No plan.'],
]) {
	test(`${failure.status ?? 'no status'} ${failure.code ?? 'without a code'} is explained`, () => {
		assert.equal(explain(en, new ChatError('No plan', failure)), want);
	});
}

test("the server's own words end as a sentence", () => {
	for (const message of ['Why?', 'No!', 'No plan.', '予算がありません。', 'لماذا؟', 'Wait…']) {
		assert.equal(explain(en, new ChatError(message, { status: 400 })), `That did not work: ${message}`);
	}
});

test("a fault of the page's own is not blamed on the server", () => {
	for (const err of [new TypeError('x is not a function'), undefined, 'text']) assert.equal(explain(en, err), 'Something went wrong on this page.');
});

test('a pause is explained, and what follows it', () => {
	const err = new ChatError('x', { status: 429, code: 'rate_limit:chat' });
	assert.deepEqual(explainPause(en, err, 2.1), { why: 'Too many messages for now. Trying again in 3 seconds.', then: 'Trying again.' });
	assert.deepEqual(explainReconnect(en, 1), { why: 'The connection was lost. Reconnecting in 1 second.', then: 'Reconnecting.' });
	const ja = all.find(({ lang }) => lang === 'ja');
	assert.equal(explainReconnect(ja, 1).why, '接続が切れました。1 秒後に再接続します。');
});

test('without a network, no time is promised', (t) => {
	replace(t, 'navigator', { onLine: false });
	const unsent = 'You are offline. The message is sent as soon as you are back online.';
	assert.deepEqual(explainPause(en, new ChatError('x', { code: 'unreachable:connection' }), 4), { why: unsent, then: unsent });
	const answer = 'You are offline. The answer continues as soon as you are back online.';
	assert.deepEqual(explainReconnect(en, 4), { why: answer, then: answer });
});

/** A turn that ended so. */
function turn(state, { events = [], error } = {}) {
	return Object.assign(new Turn('Hello'), { state, events, error });
}

const text = { type: 'text-delta', textDelta: 'Yes.' };
const finish = (finishReason) => ({ type: 'finish', finishReason });
const call = { type: 'tool-call', toolName: 'find', args: {} };

for (const [name, events, want] of [
	['that is complete', [text, finish('stop')], ''],
	['without a finish', [text], ''],
	['of a tool alone', [call, { type: 'tool-result', toolName: 'find', result: 1 }, finish('stop')], ''],
	['whose finish has no reason', [text, { type: 'finish' }], ''],
	['with a reason that no visitor needs', [text, finish('unknown')], ''],
	['with a reason that is a name of all objects', [text, finish('constructor')], ''],
	['that reached its limit', [text, finish('length')], 'The answer ends here because it reached its maximum length.'],
	['that was filtered', [text, finish('content-filter')], 'The answer ends here because of a content filter.'],
	['that was filtered elsewhere', [text, finish('content_filter')], 'The answer ends here because of a content filter.'],
	['that ended with a call', [text, call, finish('tool-calls')], 'The assistant ended before its answer was complete.'],
	['that ended with a call, spelled otherwise', [text, call, finish('tool_calls')], 'The assistant ended before its answer was complete.'],
	['that went on after a step', [call, finish('tool-calls'), text, finish('stop')], ''],
]) {
	test(`the line of an answer ${name} is "${want}"`, () => {
		assert.deepEqual(endingOf(en, turn('done', { events })), { line: want, kind: '', code: '' });
	});
}

test('an answer without anything to see is empty', () => {
	for (const events of [[], [finish('stop')], [{ type: 'text-delta', textDelta: ' \n' }, finish('stop')]]) {
		assert.deepEqual(endingOf(en, turn('done', { events })), { line: 'The assistant sent an empty answer.', kind: 'stopped', code: '' });
	}
});

test('a stopped answer says who stopped it', () => {
	assert.deepEqual(endingOf(en, turn('stopped', { events: [text] })), { line: 'Stopped.', kind: 'stopped', code: '' });
	const elsewhere = { message: 'x', code: 'stopped:visitor', status: 200 };
	assert.deepEqual(endingOf(en, turn('stopped', { error: elsewhere })), { line: 'Stopped elsewhere.', kind: 'stopped', code: '' });
});

test('a question that was perhaps not sent says so', () => {
	assert.deepEqual(endingOf(en, turn('unsent')), { line: 'This message may not have been sent.', kind: 'failed', code: '' });
});

test('a failed answer has its code, and when it can be asked again', () => {
	const thrown = new ChatError('x', { status: 429, code: 'rate_limit:chat', retryAfter: 42 });
	const error = { message: 'x', code: 'rate_limit:chat', status: 429 };
	const want = { line: 'Too many messages for now.', kind: 'failed', code: 'rate_limit:chat' };
	assert.deepEqual(endingOf(en, turn('failed', { error }), thrown), { ...want, retryAfter: 42 });
	// After a reload, the exception is gone, and the time with it.
	assert.deepEqual(endingOf(en, turn('failed', { error })), { ...want, retryAfter: undefined });
});

test('an answer that failed by a fault of the page has no code', () => {
	assert.deepEqual(endingOf(en, turn('failed'), new TypeError('x')), { line: 'Something went wrong on this page.', kind: 'failed', code: '' });
});
