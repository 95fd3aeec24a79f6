/** A browser that knows that it has no network does not use up attempts. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { ask } from '../lib/ask.js';
import { Browser, Clock } from './browser.mjs';
import { Reply, Site, all, failed, finish, one, resumable, settle, two, unreachable, url } from './scripted.mjs';

const question = { messages: [{ role: 'user', content: 'Hello' }] };

test('a question waits for the network, and then has all its attempts', async (t) => {
	const clock = new Clock(t);
	const browser = new Browser(t);
	const busy = () => failed(503, 'overloaded:chat');
	const site = new Site(unreachable(), busy(), busy(), new Reply().event(one, finish).end());
	browser.goOffline();
	const answer = all(ask(url, question, { fetch: site.fetch }));
	await clock.pass(3600);
	assert.equal(site.asked.length, 1);
	browser.goOnline();
	await clock.pass(10);
	assert.deepEqual((await answer).seen, [one, finish]);
	assert.deepEqual([site.asked.length, browser.listeners, clock.timers.size], [4, 0, 0]);
	assert.equal(new Set(site.posts.map(({ id }) => id)).size, 1);
});

test('the last attempt, too, waits for the network', async (t) => {
	const clock = new Clock(t);
	const browser = new Browser(t);
	const site = new Site(unreachable(), new Reply().event(one, finish).end());
	browser.goOffline();
	const answer = all(ask(url, question, { fetch: site.fetch, attempts: 1 }));
	await clock.pass(100);
	browser.goOnline();
	await clock.pass(1);
	assert.deepEqual((await answer).seen, [one, finish]);
});

test('a pause in which the network goes away lasts until it is back', async (t) => {
	const clock = new Clock(t);
	const browser = new Browser(t);
	const site = new Site(failed(503, 'overloaded:chat'), new Reply().event(one, finish).end());
	const answer = all(ask(url, question, { fetch: site.fetch, attempts: 2 }));
	await settle();
	browser.goOffline();
	await clock.pass(100);
	assert.equal(site.asked.length, 1);
	browser.goOnline();
	await clock.pass(1);
	assert.deepEqual((await answer).seen, [one, finish]);
});

test('an answer is continued after any time without a network', async (t) => {
	const clock = new Clock(t);
	const browser = new Browser(t);
	const site = new Site(resumable().numbered(1, one), resumable().numbered(2, two, finish).end());
	const answer = all(ask(url, question, { fetch: site.fetch }));
	await settle();
	browser.goOffline();
	site.asked[0].break();
	await clock.pass(3600);
	assert.equal(site.asked.length, 1);
	browser.goOnline();
	await clock.pass(1);
	assert.deepEqual((await answer).seen, [one, two, finish]);
});

test('attempts to continue an answer that fail without a network do not count', async (t) => {
	const clock = new Clock(t);
	const browser = new Browser(t);
	// The browser goes offline while each request is on its way.
	const lost = Array.from({ length: 40 }, () => {
		const reply = unreachable();
		const { to } = reply;
		reply.to = async (request) => {
			browser.goOffline();
			return to(request);
		};
		return reply;
	});
	const site = new Site(resumable().numbered(1, one), ...lost, resumable().numbered(2, finish).end());
	const answer = all(ask(url, question, { fetch: site.fetch }));
	await settle();
	site.asked[0].break();
	await clock.pass(1);
	for (let i = 0; i < 40; i++) {
		browser.goOnline();
		await clock.pass(1);
	}
	assert.deepEqual((await answer).seen, [one, finish]);
});

test('an abort ends the wait for the network', async (t) => {
	const clock = new Clock(t);
	const browser = new Browser(t);
	const controller = new AbortController();
	const site = new Site(unreachable());
	browser.goOffline();
	const answer = all(ask(url, question, { fetch: site.fetch, signal: controller.signal }));
	await settle();
	controller.abort();
	assert.equal((await answer).err.name, 'AbortError');
	browser.goOnline();
	await clock.pass(10);
	assert.deepEqual([site.asked.length, browser.listeners, clock.timers.size], [1, 0, 0]);
});
