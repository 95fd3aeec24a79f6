/** How requests are sent, and what a response that is no event stream stands for. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { followAnswer, newId, openAnswer, stopAnswer } from '../lib/answer.js';
import { ChatError } from '../lib/error.js';
import { ask } from '../lib/ask.js';
import { Browser, Clock, replace } from './browser.mjs';
import { Reply, Site, all, custom, failed, finish, read, resumable, settle, silence, unreachable, url } from './scripted.mjs';

const question = { messages: [{ role: 'user', content: 'Hello' }] };
const id = 'AAAAAAAAAAAAAAAAAAAAAA';

test('an id is 128 random bits in base64url', () => {
	const ids = Array.from({ length: 1000 }, newId);
	for (const one of ids) assert.match(one, /^[\w-]{22}$/);
	assert.equal(new Set(ids).size, 1000);
});

test('a question is sent as JSON, with an id that the client chooses', async () => {
	const site = new Site(resumable().event(finish).end(), resumable().event(finish).end());
	const asked = { ...question, assistantId: 'asst_1', chatId: 'chat_1', language: 'en' };
	const answer = await openAnswer(url, asked, { fetch: site.fetch });
	const { request } = site.asked[0];
	assert.deepEqual([request.method, request.url, request.headers.get('Content-Type')], ['POST', url, 'application/json']);
	assert.deepEqual(site.asked[0].question, asked);
	assert.match(site.asked[0].id, /^[\w-]{22}$/);
	assert.equal(answer.id, site.asked[0].id);

	assert.equal((await openAnswer(url, question, { fetch: site.fetch, id })).id, id);
	assert.equal(site.asked[1].id, id);
});

test('an answer has no id if the site has no resume', async () => {
	const answer = await openAnswer(url, question, { fetch: new Site(new Reply().end()).fetch });
	assert.equal(answer.id, undefined);
});

test('each request has the headers and credentials that the page sets', async () => {
	const site = new Site(resumable().numbered(1, finish).end());
	const options = { fetch: site.fetch, headers: { Authorization: 'Bearer x', 'Content-Type': 'text/plain', 'Illumichat-Stream': 'no' }, credentials: 'include' };
	await openAnswer(url, question, { ...options, id });
	await followAnswer(url, id, options);
	await stopAnswer(url, id, options);
	const requests = [...site.asked.map(({ request }) => request), ...site.deleted];
	assert.deepEqual(requests.map(({ method }) => method), ['POST', 'GET', 'DELETE']);
	for (const { headers, credentials, redirect } of requests) {
		assert.deepEqual([headers.get('Authorization'), credentials, redirect], ['Bearer x', 'include', 'manual']);
	}
	assert.equal(requests[0].headers.get('Content-Type'), 'application/json');
	assert.equal(requests[0].headers.get('Illumichat-Stream'), id);
	assert.equal(requests[2].headers.get('Illumichat-Stream'), id);
});

test('by default the browser itself sends the requests', async (t) => {
	const site = new Site();
	replace(t, 'fetch', site.fetch);
	await openAnswer(url, question);
	assert.equal(site.asked[0].request.credentials, 'same-origin');
});

test('each GET has a URL of its own, which no cache knows', async () => {
	for (const [endpoint, position] of [[url, '?'], [`${url}?a=b`, '?a=b&']]) {
		const site = new Site(resumable().numbered(8, finish).end());
		await followAnswer(endpoint, id, { fetch: site.fetch, after: 7 });
		const { request } = site.asked[0];
		assert.equal(request.url, `${url}${position}stream=${id}&after=7`);
		assert.equal(request.cache, 'no-store');
	}
});

test('a page whose URL has a user name and a password can send requests', async (t) => {
	const browser = new Browser(t);
	browser.document.baseURI = 'http://me:secret@chat.test/page/';
	const site = new Site(resumable().numbered(1, finish).end());
	await openAnswer('../api/chat-proxy', question, { fetch: site.fetch });
	await followAnswer('/api/chat-proxy', id, { fetch: site.fetch });
	await stopAnswer('/api/chat-proxy', id, { fetch: site.fetch });
	for (const request of [...site.asked.map(({ request }) => request), ...site.deleted]) {
		assert.equal(request.url.split('?')[0], url);
	}
});

test('a worker, which has no document, can send requests', async (t) => {
	replace(t, 'location', new URL('http://chat.test/page/worker.js'));
	const site = new Site();
	await openAnswer('/api/chat-proxy', question, { fetch: site.fetch });
	assert.equal(site.asked[0].request.url, url);
});

test('what cannot be sent is the page\'s mistake, and is not tried again', async (t) => {
	const clock = new Clock(t);
	const loop = {};
	loop.loop = loop;
	for (const [endpoint, asked, options] of [
		[url, { messages: [loop] }, {}],
		['http://[', question, {}],
		[url, question, { headers: { 'X-Line': 'a\nb' } }],
	]) {
		const site = new Site();
		const { err } = await all(ask(endpoint, asked, { ...options, fetch: site.fetch }));
		assert.ok(err instanceof TypeError, String(err));
		assert.equal(site.asked.length, 0);
	}
	assert.equal(clock.timers.size, 0);
});

test('a site that cannot be reached is an error', async () => {
	const { err } = await read(openAnswer(url, question, { fetch: new Site(unreachable()).fetch }));
	assert.ok(err instanceof ChatError);
	assert.deepEqual([err.name, err.status, err.code, err.type, err.cause.message], ['ChatError', 0, 'unreachable:connection', 'unreachable', 'no network']);
});

test('an error has the server\'s words', async () => {
	for (const [body, message, code, details] of [
		['{"error":"no","code":"teapot:chat","details":{"a":"b"}}', 'no', 'teapot:chat', { a: 'b' }],
		['{"error":{"message":"no"}}', 'no', '', undefined],
		['{"message":"no","code":7,"details":"x"}', 'no', '', undefined],
		['{"error":""}', 'the server answered 418, and no event stream', '', undefined],
		['[]', 'the server answered 418, and no event stream', '', undefined],
		['"no"', 'the server answered 418, and no event stream', '', undefined],
		['{"error":', 'the server answered 418, and no event stream', '', undefined],
		['', 'the server answered 418, and no event stream', '', undefined],
	]) {
		const { err } = await read(openAnswer(url, question, { fetch: new Site(new Reply({ status: 418 }).text(body).end()).fetch }));
		assert.ok(err instanceof ChatError);
		assert.deepEqual([err.status, err.message, err.code, err.details], [418, message, code, details]);
	}
});

test('an error without end is not waited for', async (t) => {
	const clock = new Clock(t);
	const reply = new Reply({ status: 400 }).text('{"error":');
	const ended = read(openAnswer(url, question, { fetch: new Site(reply).fetch }));
	await clock.pass(5);
	assert.equal((await ended).err.status, 400);
	assert.ok(reply.cancelled);

	assert.equal(clock.timers.size, 0);
});

test('Retry-After is a number of seconds or a date', async () => {
	const year = 365 * 86_400;
	for (const [value, least, most] of [
		['7', 7, 7], ['0', 0, 0], [' 7 ', 7, 7], ['Wed, 21 Oct 2015 07:28:00 GMT', 0, 0],
		[new Date(Date.now() + year * 1000).toUTCString(), year - 10, year + 10],
		['-5'], ['1.5'], ['+5'], ['5, 5'], ['9'.repeat(400)], ['soon'], [''],
	]) {
		const site = new Site(failed(429, 'rate_limit:chat', { 'Retry-After': value }));
		const { retryAfter } = (await read(openAnswer(url, question, { fetch: site.fetch }))).err;
		assert.ok(least === undefined ? retryAfter === undefined : retryAfter >= least && retryAfter <= most, `${value}: ${retryAfter}`);
	}
});

const html = { 'Content-Type': 'text/html; charset=utf-8' };

/** What something between the page and the chat replies. A browser shows a page nothing of a redirect, and of an opaque response. */
const foreign = {
	'a redirect': [() => custom(() => ({ type: 'opaqueredirect', status: 0, ok: false, headers: new Headers(), body: null })), 'redirected:connection'],
	'a redirect outside of browsers': [() => new Reply({ status: 302, headers: { Location: '/login' } }).end(), 'redirected:connection'],
	'an opaque response': [() => custom(() => ({ type: 'opaque', status: 0, ok: false, headers: new Headers(), body: null, json: async () => JSON.parse('') })), 'not_chat:connection'],
	'a login page': [() => new Reply({ headers: html }).text('<h1>Sign in</h1>').end(), 'not_chat:connection'],
	'a forbidding page': [() => new Reply({ status: 403, headers: html }).text('<h1>No</h1>').end(), 'not_chat:connection'],
	'no type': [() => new Reply({ headers: {} }).end(), 'not_chat:connection'],
	'JSON': [() => new Reply({ headers: { 'Content-Type': 'application/json' } }).text('{"text":"Hello"}').end(), 'not_chat:connection'],
	'nothing': [() => new Reply({ status: 204 }), 'not_chat:connection'],
	'a similar type': [() => new Reply({ headers: { 'Content-Type': 'text/event-stream-like' } }).end(), 'not_chat:connection'],
};
for (const [name, [reply, code]] of Object.entries(foreign)) {
	test(`${name} in place of an answer is no answer, and the question is sent once`, async (t) => {
		const clock = new Clock(t);
		const site = new Site(reply());
		const { err } = await all(ask(url, question, { fetch: site.fetch }));
		assert.ok(err instanceof ChatError, String(err));
		assert.deepEqual([err.code, site.asked.length, clock.timers.size], [code, 1, 0]);
	});
}

for (const status of [429, 500, 502, 503]) {
	test(`a ${status} whose page is HTML may pass`, async (t) => {
		const clock = new Clock(t);
		const site = new Site(new Reply({ status, headers: html }).end(), new Reply().event(finish).end());
		const answer = all(ask(url, question, { fetch: site.fetch }));
		await clock.pass(1);
		assert.deepEqual(await answer, { seen: [finish] });
	});
}

test('an error that calls itself an event stream is an error', async () => {
	const reply = new Reply({ status: 418, headers: { 'Content-Type': 'text/event-stream' } }).text('{"error":"no","code":"teapot:chat"}').end();
	const { err } = await read(openAnswer(url, question, { fetch: new Site(reply).fetch }));
	assert.deepEqual([err.status, err.code, err.message], [418, 'teapot:chat', 'no']);
});

test('a type may have parameters, and any case', async () => {
	const reply = new Reply({ headers: { 'Content-Type': 'Text/Event-Stream ; charset=utf-8' } }).event(finish).end();
	assert.deepEqual((await read(openAnswer(url, question, { fetch: new Site(reply).fetch }))).seen, [finish]);
});

test('a request for an answer that has begun has ten seconds until its response headers', async (t) => {
	const clock = new Clock(t);
	const site = new Site(silence());
	const ended = read(followAnswer(url, id, { fetch: site.fetch, after: 1 }));
	await clock.pass(9);
	assert.ok(!site.asked[0].cancelled);
	await clock.pass(1);
	assert.ok(site.asked[0].cancelled);
	assert.equal((await ended).err?.code, 'unreachable:connection');
	assert.equal(clock.timers.size, 0);
});

test('a request that waits for the first event is repeated sooner if the site is known to have resume', async (t) => {
	const clock = new Clock(t);
	for (const [open, seconds] of [
		[(options) => openAnswer(url, question, { ...options, resumable: true }), 45],
		// No heartbeats come before the response headers.
		[(options) => openAnswer(url, question, { ...options, resumable: true, heartbeat: 1 }), 45],
		[(options) => openAnswer(url, question, options), 180],
		[(options) => followAnswer(url, id, options), 45],
	]) {
		const site = new Site(silence());
		const ended = read(open({ fetch: site.fetch }));
		await clock.pass(seconds - 1);
		assert.ok(!site.asked[0].cancelled, `before ${seconds}`);
		await clock.pass(1);
		assert.ok(site.asked[0].cancelled, `after ${seconds}`);
		assert.equal((await ended).err.code, 'unreachable:connection');
	}
	assert.equal(clock.timers.size, 0);
});

test('an abort gives its reason, and closes the request', async (t) => {
	const clock = new Clock(t);
	const reason = new Error('enough');
	for (const reply of [silence(), new Reply({ status: 500 }).text('{'), new Reply()]) {
		const controller = new AbortController();
		const site = new Site(reply);
		const ended = read(openAnswer(url, question, { fetch: site.fetch, signal: controller.signal }));
		await settle();
		controller.abort(reason);
		assert.equal((await ended).err, reason);
		assert.ok(reply.cancelled);
	}
	const site = new Site();
	assert.equal((await read(openAnswer(url, question, { fetch: site.fetch, signal: AbortSignal.abort(reason) }))).err, reason);
	assert.equal(site.asked.length, 0);
	assert.equal(clock.timers.size, 0);
});

test('a browser without AbortSignal.any can stop and give up requests', async (t) => {
	replace(t, 'any', undefined, AbortSignal);
	const clock = new Clock(t);
	const controller = new AbortController();
	const site = new Site(resumable().numbered(1, finish).end(), silence());
	assert.equal((await read(openAnswer(url, question, { fetch: site.fetch, signal: controller.signal }))).err, undefined);
	const ended = read(followAnswer(url, id, { fetch: site.fetch, signal: controller.signal }));
	await clock.pass(1);
	controller.abort();
	assert.equal((await ended).err.name, 'AbortError');
});

test('an answer that is over leaves no listener at the signal', async () => {
	const controller = new AbortController();
	let listeners = 0;
	const { addEventListener, removeEventListener } = controller.signal;
	controller.signal.addEventListener = function (...args) { listeners++; addEventListener.apply(this, args); };
	controller.signal.removeEventListener = function (...args) { listeners--; removeEventListener.apply(this, args); };
	const site = new Site(new Reply().event(finish).end(), failed(400, 'bad_request:chat'), unreachable(), new Reply({ status: 204 }));
	for (let i = 0; i < 4; i++) await read(openAnswer(url, question, { fetch: site.fetch, signal: controller.signal }));
	assert.equal(site.asked.length, 4);
	assert.equal(listeners, 0);
});

test('stopping tells whether the server knew the answer, outlives the page, and needs the site', async () => {
	const site = new Site();
	assert.equal(await stopAnswer(url, id, { fetch: site.fetch }), true);
	const [request] = site.deleted;
	assert.deepEqual([request.method, request.url, request.keepalive], ['DELETE', url, true]);
	const unknown = '{"error":"no","code":"not_found:stream"}';
	assert.equal(await stopAnswer(url, id, { fetch: async () => new Response(unknown, { status: 404 }) }), false);
	for (const [fetch, code] of [
		[async () => { throw new TypeError('no network'); }, 'unreachable:connection'],
		[async () => new Response(null, { status: 302 }), 'redirected:connection'],
		[async () => new Response('{"error":"no","code":"method_not_allowed:chat"}', { status: 405 }), 'method_not_allowed:chat'],
	]) {
		await assert.rejects(stopAnswer(url, id, { fetch }), { name: 'ChatError', code });
	}
});
