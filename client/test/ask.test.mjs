/** A question is sent until an answer has begun, and is paid for once. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ask } from '../lib/ask.js';
import { Clock, replace } from './browser.mjs';
import { Reply, Site, all, delta, failed, finish, one, resumable, settle, silence, two, unreachable, url } from './scripted.mjs';

const question = { messages: [{ role: 'user', content: 'Hello' }] };
const stream = (text) => new Reply().text(text).end();
const failure = (code) => new Reply().event({ type: 'finish', finishReason: 'error', error: 'it ended', code }).end();

for (const [name, { first, least = 0, most = 0, code }] of Object.entries({
	'a 429': { first: failed(429, 'rate_limit:chat'), least: 0.5, most: 1, code: 'rate_limit:chat' },
	'a 429 for 2 seconds': { first: failed(429, 'rate_limit:chat', { 'Retry-After': '2' }), least: 2, most: 3, code: 'rate_limit:chat' },
	'a 429 for 15 seconds': { first: failed(429, 'rate_limit:chat', { 'Retry-After': '15' }), least: 15, most: 16, code: 'rate_limit:chat' },
	'a 429 for 16 seconds': { first: failed(429, 'rate_limit:chat', { 'Retry-After': '16' }), code: 'rate_limit:chat' },
	'a 500': { first: failed(500, 'server_error:upstream'), least: 0.5, most: 1, code: 'server_error:upstream' },
	'a 502': { first: failed(502, 'bad_gateway:upstream'), least: 0.5, most: 1, code: 'bad_gateway:upstream' },
	'a 503': { first: failed(503, 'overloaded:chat', { 'Retry-After': '1' }), least: 1, most: 2, code: 'overloaded:chat' },
	'a 504': { first: failed(504, 'timeout:upstream'), code: 'timeout:upstream' },
	'a 400': { first: failed(400, 'bad_request:chat'), code: 'bad_request:chat' },
	'a 409': { first: failed(409, 'conflict:stream'), code: 'conflict:stream' },
	'a token that is refused': { first: failed(502, 'unauthorized:upstream'), code: 'unauthorized:upstream' },
	'a firewall': { first: failed(502, 'blocked:upstream'), code: 'blocked:upstream' },
	'no network': { first: unreachable(), least: 0.5, most: 1, code: 'unreachable:connection' },
	'no event': { first: stream(''), least: 0.5, most: 1, code: 'closed:connection' },
	'a comment alone': { first: stream(': hello\n\n'), least: 0.5, most: 1, code: 'closed:connection' },
	'data that is no event': { first: stream('data: []\n\n'), least: 0.5, most: 1, code: 'closed:connection' },
	'a connection that broke': { first: new Reply().break(), least: 0.5, most: 1, code: 'broken:connection' },
	'an upstream that closed': { first: failure('closed:upstream'), least: 0.5, most: 1, code: 'closed:upstream' },
	'a server that restarts': { first: failure('shutting_down:proxy'), least: 0.5, most: 1, code: 'shutting_down:proxy' },
	'an upstream that was silent': { first: failure('stalled:upstream'), code: 'stalled:upstream' },
	'an error without a code': { first: failure(''), code: '' },
	'an end after some text': { first: new Reply().event(one).end(), code: 'closed:connection' },
	'an error after some text': { first: new Reply().event(one, { type: 'finish', finishReason: 'error', error: 'it ended', code: 'closed:upstream' }).end(), code: 'closed:upstream' },
	'an end after a tool was called': { first: new Reply().event({ type: 'tool-call' }).end(), code: 'closed:connection' },
})) {
	test(`a question is ${least ? '' : 'not '}sent again after ${name}`, async (t) => {
		const clock = new Clock(t);
		const site = new Site(first, new Reply().event(two, finish).end());
		const told = [];
		const answer = all(ask(url, question, { fetch: site.fetch, onRetry: (err, wait) => told.push([err.code, wait]) }));
		await clock.pass(least);
		assert.equal(site.asked.length, 1);
		await clock.pass(most - least);
		const { seen, err } = await answer;
		if (most === 0) {
			assert.deepEqual([err.name, err.code, site.asked.length, told.length, clock.timers.size], ['ChatError', code, 1, 0, 0]);
			return;
		}
		assert.deepEqual([seen, err, site.asked.length], [[two, finish], undefined, 2]);
		assert.deepEqual(site.asked[1].question, question);
		const [[toldCode, wait], ...more] = told;
		assert.deepEqual([toldCode, more], [code, []]);
		assert.ok(wait >= least && wait <= most, String(wait));
	});
}

test('a request that may have been lost is repeated with its id', async (t) => {
	for (const lost of [unreachable(), silence(), failed(500, 'server_error:upstream'), failed(503, 'overloaded:chat'), failed(429, 'rate_limit:chat')]) {
		const clock = new Clock(t);
		const site = new Site(lost, resumable().numbered(1, one, finish).end());
		const attempts = [];
		const answer = all(ask(url, question, { fetch: site.fetch, resumable: true, onAttempt: (id) => attempts.push(id) }));
		await clock.pass(50);
		assert.deepEqual((await answer).seen, [one, finish]);
		assert.deepEqual(site.posts.map(({ id }) => id), attempts);
		assert.equal(attempts.length, 2);
		assert.equal(attempts[0], attempts[1]);
	}
});

test('an answer that broke before its first event is asked for anew, under another id', async (t) => {
	const clock = new Clock(t);
	const broken = resumable().numbered(1, { type: 'finish', finishReason: 'error', error: 'it ended', code: 'closed:upstream' }).end();
	const site = new Site(broken, unreachable(), resumable().numbered(1, one, finish).end());
	const answer = all(ask(url, question, { fetch: site.fetch }));
	await clock.pass(5);
	assert.deepEqual((await answer).seen, [one, finish]);
	const [first, second, third] = site.posts.map(({ id }) => id);
	assert.notEqual(first, second);
	assert.equal(second, third);
});

test('an answer that was given, and cannot be continued, is not paid for again', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().end(), failed(404, 'not_found:stream'));
	const answer = all(ask(url, question, { fetch: site.fetch, onRetry: () => assert.fail('it may have been given in full') }));
	await clock.pass(5);
	assert.equal((await answer).err.code, 'closed:connection');
	assert.equal(site.posts.length, 1);
});

test('the response headers are told before the first event', async () => {
	const site = new Site(resumable());
	const opened = [];
	const events = ask(url, question, { fetch: site.fetch, onOpen: ({ id, chatId }) => opened.push([id, chatId]) });
	const first = events.next();
	await settle();
	assert.deepEqual(opened, [[site.asked[0].id, undefined]]);
	site.asked[0].numbered(1, one);
	assert.deepEqual((await first).value, one);
	await events.return();
});

test('a question is sent three times, or as often as the page says', async (t) => {
	for (const [attempts, want] of [[undefined, 3], [1, 1], [2, 2], [0, 1], [NaN, 1]]) {
		const clock = new Clock(t);
		const site = new Site(...Array.from({ length: 9 }, () => failed(503, 'overloaded:chat')));
		const answer = all(ask(url, question, { fetch: site.fetch, attempts }));
		await clock.pass(100);
		assert.equal(site.asked.length, want, String(attempts));
		assert.equal((await answer).err.status, 503);
	}
});

test('the pauses grow, up to a bound', async (t) => {
	const clock = new Clock(t);
	replace(t, 'random', () => 0.999, Math);
	const site = new Site(...Array.from({ length: 8 }, () => failed(500, '')));
	const waits = [];
	const answer = all(ask(url, question, { fetch: site.fetch, attempts: 8, onRetry: (_, wait) => waits.push(Math.round(wait)) }));
	await clock.pass(100);
	assert.equal((await answer).err.status, 500);
	assert.deepEqual(waits, [1, 2, 4, 8, 15, 15, 15]);
});

test('an abort ends a pause, and gives its reason', async (t) => {
	const clock = new Clock(t);
	const reason = new Error('enough');
	for (const abort of ['in the pause', 'where it is announced']) {
		const controller = new AbortController();
		const site = new Site(failed(500, ''));
		const onRetry = () => { if (abort !== 'in the pause') controller.abort(reason); };
		const answer = all(ask(url, question, { fetch: site.fetch, signal: controller.signal, onRetry }));
		await settle();
		controller.abort(reason);
		assert.equal((await answer).err, reason);
		assert.deepEqual([site.asked.length, clock.timers.size], [1, 0]);
	}
});
