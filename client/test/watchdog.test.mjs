/** The client finds out that a connection is dead although the browser reports nothing. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { openAnswer } from '../lib/answer.js';
import { Browser, Clock } from './browser.mjs';
import { Reply, Site, all, finish, one, read, resumable, settle, silence, three, two, url } from './scripted.mjs';

const question = { messages: [{ role: 'user', content: 'Hello' }] };

/** Asks a site, and reads the answer. */
const ask = (site, options) => read(openAnswer(url, question, { ...options, fetch: site.fetch }));

/** How many heartbeats a test waits at least until a connection must still be taken for alive, and at most. */
const [alive, dead] = [2.6, 3.1];

for (const heartbeat of [undefined, 5]) {
	test(`a connection that is silent for three heartbeats of ${heartbeat ?? 'the default'} is replaced`, async (t) => {
		const clock = new Clock(t);
		const seconds = heartbeat ?? 15;
		const site = new Site(resumable().numbered(1, one), resumable().numbered(2, two, finish).end());
		const told = [];
		const answer = ask(site, { heartbeat, onReconnect: (err) => told.push(err.code) });
		await clock.pass(alive * seconds);
		assert.equal(site.asked.length, 1);
		assert.ok(!site.asked[0].cancelled);
		await clock.pass((dead - alive) * seconds);
		assert.ok(site.asked[0].cancelled);
		await clock.pass(1);
		const { seen, err } = await answer;
		assert.deepEqual([seen, err, told, clock.timers.size], [[one, two, finish], undefined, ['stalled:connection'], 0]);
	});
}

test('comments, and the pieces of a large event, are signs of life', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().numbered(1, one));
	const answer = ask(site);
	for (const piece of [': ping\n\n', ': ping\n\n', 'da', 'ta: {"type":', '"usage"}\n', '\n', ': ping\n\n']) {
		await clock.pass(40);
		site.asked[0].text(piece);
		await settle();
	}
	site.asked[0].numbered(2, finish).end();
	assert.deepEqual((await answer).seen, [one, { type: 'usage' }, finish]);
	assert.equal(site.asked.length, 1);
});

test('an answer that cannot be resumed ends when its connection is silent', async (t) => {
	const clock = new Clock(t);
	const site = new Site(new Reply().event(one));
	const answer = ask(site);
	await clock.pass(dead * 15);
	const { seen, err } = await answer;
	assert.deepEqual([seen, err.code, clock.timers.size], [[one], 'stalled:connection', 0]);
	assert.ok(site.asked[0].cancelled);
});

test('an answer that is finished does not wait for a silent connection', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().numbered(1, one, finish));
	const answer = ask(site);
	await clock.pass(dead * 15);
	const { seen, err } = await answer;
	assert.deepEqual([seen, err, site.asked.length, clock.timers.size], [[one, finish], undefined, 1, 0]);
});

test('a site without a heartbeat may be silent for as long as it likes', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().numbered(1, one));
	const answer = ask(site, { heartbeat: 0 });
	await clock.pass(1000);
	assert.ok(!site.asked[0].cancelled);
	site.asked[0].numbered(2, finish).end();
	assert.deepEqual((await answer).seen, [one, finish]);
	assert.equal(clock.timers.size, 0);
});

test('a page that was frozen does not take its connection for dead', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().numbered(1, one));
	const answer = ask(site);
	await clock.freeze(3600);
	assert.ok(!site.asked[0].cancelled);
	site.asked[0].numbered(2, finish).end();
	assert.deepEqual((await answer).seen, [one, finish]);
	assert.equal(site.asked.length, 1);
});

for (const options of [{}, { resumable: true }]) {
	test(`a page that takes its time with an event loses nothing${options.resumable ? ' and need not reconnect' : ''}`, async (t) => {
		const clock = new Clock(t);
		const browser = new Browser(t);
		const site = new Site(new Reply(options).event(one, two));
		const { events } = await openAnswer(url, question, { fetch: site.fetch });
		assert.deepEqual((await events.next()).value, one);
		await clock.pass(1000);
		browser.show();
		await clock.pass(1000);
		assert.deepEqual((await events.next()).value, two);
		await clock.pass(1000);
		site.asked[0].event(finish).end();
		const { seen, err } = await all(events);
		assert.deepEqual([seen, err, site.asked.length], [[finish], undefined, 1]);
	});
}

for (const [name, awake] of Object.entries({
	'becomes visible': (browser) => browser.show(),
	'comes back from the back/forward cache': (browser) => browser.comeBack(),
})) {
	test(`a page that ${name} checks at once whether its connection lives`, async (t) => {
		const clock = new Clock(t);
		const browser = new Browser(t);
		const site = new Site(resumable().numbered(1, one), resumable().numbered(2, two), resumable());
		const answer = ask(site);
		await clock.pass(10);
		awake(browser);
		await clock.pass(1);
		assert.ok(!site.asked[0].cancelled);
		await clock.pass(3);
		assert.ok(site.asked[0].cancelled);
		assert.equal(site.asked.length, 2);

		// A sign of life ends the check.
		awake(browser);
		await clock.pass(1);
		site.asked[1].text(': ping\n\n');
		await clock.pass(10);
		assert.ok(!site.asked[1].cancelled);

		// The next check begins anew, and ends with the answer.
		awake(browser);
		await clock.pass(3);
		assert.ok(site.asked[1].cancelled);
		awake(browser);
		site.asked[2].numbered(3, three, finish).end();
		assert.deepEqual((await answer).seen, [one, two, three, finish]);
		assert.deepEqual([browser.listeners, clock.timers.size], [0, 0]);
	});

	test(`a page that ${name} does not give up an answer that cannot be resumed`, async (t) => {
		const clock = new Clock(t);
		const browser = new Browser(t);
		const site = new Site(new Reply().event(one));
		const answer = ask(site);
		await settle();
		awake(browser);
		await clock.pass(10);
		assert.ok(!site.asked[0].cancelled);
		site.asked[0].event(finish).end();
		assert.deepEqual((await answer).seen, [one, finish]);
	});
}

test('a page that is hidden checks nothing', async (t) => {
	const clock = new Clock(t);
	const browser = new Browser(t);
	const site = new Site(resumable().numbered(1, one));
	const answer = ask(site);
	await settle();
	browser.show('hidden');
	await clock.pass(10);
	assert.ok(!site.asked[0].cancelled);
	site.asked[0].numbered(2, finish).end();
	await answer;
});

test('a browser that comes back online replaces its connection at once', async (t) => {
	const clock = new Clock(t);
	const browser = new Browser(t);
	const site = new Site(resumable().numbered(1, one), resumable().numbered(2, two), resumable().numbered(3, three, finish).end());
	const answer = ask(site);
	await settle();

	// In a pause, it does not wait any longer.
	site.asked[0].break();
	await settle();
	browser.goOffline();
	browser.goOnline();
	await settle();
	assert.equal(site.asked.length, 2);

	// A connection from before may be dead without a sign.
	browser.goOffline();
	browser.goOnline();
	await clock.pass(1);
	const { seen, err } = await answer;
	assert.deepEqual([seen, err, site.asked.length], [[one, two, three, finish], undefined, 3]);
	assert.ok(site.asked[1].cancelled);
	assert.deepEqual([browser.listeners, clock.timers.size], [0, 0]);
});

test('a browser that comes back online repeats a request that has no response yet', async (t) => {
	const clock = new Clock(t);
	const browser = new Browser(t);
	const site = new Site(resumable().break(), silence(), resumable().numbered(1, one, finish).end());
	const answer = ask(site);
	await clock.pass(1);
	assert.equal(site.asked.length, 2);
	browser.goOffline();
	browser.goOnline();
	await clock.pass(2);
	assert.ok(site.asked[1].cancelled);
	assert.equal(site.asked.length, 3);
	assert.deepEqual((await answer).seen, [one, finish]);
	assert.deepEqual([browser.listeners, clock.timers.size], [0, 0]);
});
