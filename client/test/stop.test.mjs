/** Stop ends an answer in every phase, and leaving it ends it in none. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Chat, ChatError } from '../illumichat.js';
import { Browser, Clock, openStorage } from './browser.mjs';
import { Reply, Site, all, failed, finish, one, resumable, settle, silence, two, unreachable, url } from './scripted.mjs';

/** The phases of an answer at a site with resume. Each returns a site whose chat is in that phase after its steps. */
const phases = {
	'before the response headers': { site: () => new Site(silence()), seen: [] },
	'in a retry pause': { site: () => new Site(failed(503, 'overloaded:chat', { 'Retry-After': '9' })), seen: [] },
	'while the question is sent again': {
		site: () => new Site(unreachable(), silence()), then: (site, clock) => clock.pass(2), seen: [],
	},
	'before the first event': { site: () => new Site(resumable()), seen: [] },
	'in the stream': { site: () => new Site(resumable().numbered(1, one)), seen: [one] },
	'in a pause before it reconnects': {
		site: () => new Site(resumable().numbered(1, one)), then: (site) => { site.asked[0].break(); }, seen: [one],
	},
	'while it reconnects': {
		site: () => new Site(resumable().numbered(1, one), silence()),
		then: async (site, clock) => {
			site.asked[0].break();
			await clock.pass(2);
		},
		seen: [one],
	},
	'in the rest': {
		site: () => new Site(resumable().numbered(1, one), resumable().numbered(2, two)),
		then: async (site, clock) => {
			site.asked[0].break();
			await clock.pass(2);
		},
		seen: [one, two],
	},
	'after the finish of a step': {
		site: () => new Site(resumable().numbered(1, one, { type: 'finish', finishReason: 'tool-calls' })), seen: [one, { type: 'finish', finishReason: 'tool-calls' }],
	},
};

for (const [phase, { site: open, then, seen }] of Object.entries(phases)) {
	test(`Stop works ${phase}`, async (t) => {
		const clock = new Clock(t);
		const browser = new Browser(t);
		const site = open();
		const chat = new Chat(url, { fetch: site.fetch });
		const answer = all(chat.send('Hello'));
		await settle();
		await then?.(site, clock);
		await settle();
		const asked = site.asked.length;
		const { id } = site.asked[0];

		const stopped = chat.stop();
		assert.equal(chat.turns[0].state, 'stopped');
		await settle();
		// The page may be left in a moment, so nothing is waited for.
		assert.equal(site.deleted.length, 1);
		const [request] = site.deleted;
		assert.deepEqual([request.url, request.headers.get('Illumichat-Stream'), request.keepalive], [url, id, true]);

		const result = await answer;
		assert.deepEqual(result.seen, seen);
		assert.ok(result.err instanceof ChatError);
		assert.equal(result.err.code, 'stopped:page');
		await stopped;
		await clock.pass(100);
		assert.deepEqual([site.asked.length, site.deleted.length, clock.timers.size, browser.listeners], [asked, 1, 0, 0]);
		assert.deepEqual([chat.turns[0].state, chat.openQuestion], ['stopped', undefined]);

		// The next question can be asked.
		site.then(resumable().numbered(1, two, finish).end());
		assert.deepEqual((await all(chat.send('And?'))).seen, [two, finish]);
		assert.equal(site.deleted.length, 1);
	});

	for (const leave of ['detach', 'abort']) {
		test(`an answer that is left by ${leave} ${phase} is not stopped, and can be continued`, async (t) => {
			const clock = new Clock(t);
			const browser = new Browser(t);
			const site = open();
			const chat = new Chat(url, { fetch: site.fetch });
			const controller = new AbortController();
			const answer = all(chat.send('Hello', { signal: controller.signal }));
			await settle();
			await then?.(site, clock);
			await settle();
			const asked = site.asked.length;
			const { id } = site.asked[0];

			if (leave === 'detach') chat.detach();
			else controller.abort();
			const result = await answer;
			assert.deepEqual(result.seen, seen);
			assert.equal(result.err.name, 'AbortError');
			await clock.pass(10);
			assert.deepEqual([site.asked.length, site.deleted.length, clock.timers.size, browser.listeners], [asked, 0, 0, 0]);
			assert.deepEqual([chat.turns[0].state, chat.openQuestion], ['open', 'Hello']);

			site.then(resumable().numbered(1, one, two, finish).end());
			assert.deepEqual(await all(chat.resume()), { seen: [one, two, finish] });
			assert.equal(site.asked.at(-1).id, id);
			assert.deepEqual([chat.turns.length, chat.turns[0].text, chat.turns[0].state], [1, 'One, two, ', 'done']);
			assert.equal(site.deleted.length, 0);
		});
	}
}

test('Stop ends the answer that was asked for anew', async (t) => {
	const clock = new Clock(t);
	const broken = resumable().numbered(1, { type: 'finish', finishReason: 'error', error: 'it ended', code: 'closed:upstream' }).end();
	const site = new Site(broken, silence());
	const chat = new Chat(url, { fetch: site.fetch });
	const answer = all(chat.send('Hello'));
	await clock.pass(2);
	await chat.stop();
	await answer;
	assert.notEqual(site.posts[0].id, site.posts[1].id);
	assert.deepEqual(site.deleted.map((request) => request.headers.get('Illumichat-Stream')), [site.posts[1].id]);
});

test('an answer that is over leaves no listener at the signal', async () => {
	const { signal } = new AbortController();
	let listeners = 0;
	const { addEventListener, removeEventListener } = signal;
	signal.addEventListener = function (...args) { listeners++; addEventListener.apply(this, args); };
	signal.removeEventListener = function (...args) { listeners--; removeEventListener.apply(this, args); };
	await all(new Chat(url, { fetch: new Site(resumable().numbered(1, one, finish).end()).fetch }).send('Hello', { signal }));
	assert.equal(listeners, 0);
});

test('no event comes after Stop, though it has arrived', async () => {
	const site = new Site(resumable().numbered(1, one, two));
	const chat = new Chat(url, { fetch: site.fetch });
	const seen = [];
	await assert.rejects(async () => {
		for await (const event of chat.send('Hello')) {
			seen.push(event);
			chat.stop();
		}
	}, { code: 'stopped:page' });
	assert.deepEqual(seen, [one]);
	assert.deepEqual(chat.messages.at(-1), { role: 'assistant', content: 'One, ' });
});

test('a loop that is left leaves the answer', async () => {
	const site = new Site(resumable().numbered(1, one));
	const chat = new Chat(url, { fetch: site.fetch });
	for await (const event of chat.send('Hello')) {
		assert.deepEqual(event, one);
		break;
	}
	await settle();
	assert.ok(site.asked[0].cancelled);
	assert.deepEqual([site.deleted.length, chat.openQuestion], [0, 'Hello']);
	await chat.stop();
	assert.deepEqual([site.deleted.length, chat.turns[0].state], [1, 'stopped']);
});

test('at a site without resume, leaving an answer ends it', async () => {
	for (const leave of [(chat) => chat.detach(), (chat) => chat.stop()]) {
		const site = new Site(new Reply().event(one));
		const chat = new Chat(url, { fetch: site.fetch });
		const answer = all(chat.send('Hello'));
		await settle();
		leave(chat);
		assert.deepEqual((await answer).seen, [one]);
		assert.ok(site.asked[0].cancelled);
		assert.deepEqual([chat.turns[0].state, chat.openQuestion, site.deleted.length], ['stopped', undefined, 0]);
		assert.deepEqual(await all(chat.resume()), { seen: [] });
	}
});

test('Stop is repeated if it overtook the question, or was lost', async (t) => {
	const clock = new Clock(t);
	const replies = [
		async () => new Response('{"error":"no","code":"not_found:stream"}', { status: 404 }),
		async () => { throw new TypeError('no network'); },
		async () => new Response(null, { status: 204 }),
	];
	let deleted = 0;
	const site = new Site(silence());
	const fetch = (request) => request.method === 'DELETE' ? replies[deleted++]() : site.fetch(request);
	const chat = new Chat(url, { fetch });
	const answer = all(chat.send('Hello'));
	await settle();
	chat.stop();
	await settle();
	assert.equal(deleted, 1);
	await clock.pass(100);
	assert.equal(deleted, 3);
	await answer;
	assert.equal(clock.timers.size, 0);
});

test('Stop gives up where it is of no use', async (t) => {
	const clock = new Clock(t);
	for (const [begun, reply, want] of [
		[true, new Response('{"error":"no","code":"not_found:stream"}', { status: 404 }), 1],
		[false, new Response('{"error":"no","code":"method_not_allowed:chat"}', { status: 405 }), 1],
		[false, new Response(null, { status: 204 }), 1],
	]) {
		let deleted = 0;
		const site = new Site(begun ? resumable().numbered(1, one) : silence());
		const fetch = async (request) => {
			if (request.method !== 'DELETE') return site.fetch(request);
			deleted++;
			return reply;
		};
		const chat = new Chat(url, { fetch });
		const answer = all(chat.send('Hello'));
		await settle();
		chat.stop();
		await clock.pass(100);
		assert.equal(deleted, want);
		await answer;
	}
});

test('Stop without an answer does nothing', async () => {
	const site = new Site(resumable().numbered(1, one, finish).end());
	const chat = new Chat(url, { fetch: site.fetch });
	await chat.stop();
	await all(chat.send('Hello'));
	await chat.stop();
	chat.detach();
	assert.deepEqual([chat.turns[0].state, site.deleted.length], ['done', 0]);
});

test('Stop in the rest after the finish is too late', async () => {
	const site = new Site(resumable().numbered(1, one, finish));
	const chat = new Chat(url, { fetch: site.fetch });
	const events = chat.send('Hello');
	await events.next();
	await events.next();
	await chat.stop();
	site.asked[0].end();
	assert.deepEqual(await all(events), { seen: [] });
	assert.deepEqual([chat.turns[0].state, site.deleted.length], ['done', 0]);
});

test('Stop while the headers of a request are asked for asks nothing', async (t) => {
	const clock = new Clock(t);
	const items = openStorage(t);
	const site = new Site();
	let tell;
	const headers = new Promise((resolve) => { tell = resolve; });
	const chat = new Chat(url, { fetch: site.fetch, storageKey: 'chat', headers: () => headers });
	const answer = all(chat.send('Hello'));
	await settle();
	chat.stop();
	tell({});
	assert.equal((await answer).err.code, 'stopped:page');
	await clock.pass(10);
	assert.deepEqual([site.asked.length, chat.turns[0].state], [0, 'stopped']);
	assert.equal(JSON.parse(items.get('chat')).value.open, undefined);
});

test('Stop whose headers cannot be had is no error of the page', async (t) => {
	const unhandled = [];
	const note = (err) => unhandled.push(err);
	process.on('unhandledRejection', note);
	t.after(() => process.off('unhandledRejection', note));
	let asked = 0;
	const site = new Site(resumable().numbered(1, one));
	const headers = async () => {
		if (asked++ > 0) throw new Error('the login has expired');
		return {};
	};
	const chat = new Chat(url, { fetch: site.fetch, headers });
	const answer = all(chat.send('Hello'));
	await settle();
	await chat.stop();
	await answer;
	await settle();
	assert.deepEqual([unhandled, chat.turns[0].state], [[], 'stopped']);
});

test('an answer that was left is stopped by the next question, by a retry and by a new conversation', async (t) => {
	const clock = new Clock(t);
	for (const next of [(chat) => all(chat.send('And?')), (chat) => all(chat.retry()), (chat) => chat.reset()]) {
		const site = new Site(resumable().numbered(1, one), resumable().numbered(1, two, finish).end());
		const chat = new Chat(url, { fetch: site.fetch });
		const left = all(chat.send('Hello'));
		await settle();
		chat.detach();
		await left;
		await next(chat);
		await clock.pass(1);
		assert.deepEqual(site.deleted.map((request) => request.headers.get('Illumichat-Stream')), [site.asked[0].id]);
	}
});

test('a new conversation stops the answer that is on its way', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().numbered(1, one));
	const chat = new Chat(url, { fetch: site.fetch });
	const answer = all(chat.send('Hello'));
	await settle();
	chat.reset();
	assert.equal((await answer).err.code, 'stopped:page');
	await clock.pass(1);
	assert.deepEqual([site.deleted.length, chat.turns.length, chat.messages.length], [1, 0, 0]);
});

test('an answer that is left and continued at once arrives once', async () => {
	const site = new Site(resumable().numbered(1, one), resumable().numbered(1, one, two, finish).end());
	const chat = new Chat(url, { fetch: site.fetch });
	const left = all(chat.send('Hello'));
	await settle();
	chat.detach();
	const again = all(chat.resume());
	assert.equal((await left).err.name, 'AbortError');
	assert.deepEqual(await again, { seen: [one, two, finish] });
	assert.deepEqual([chat.turns.length, chat.turns[0].text, chat.turns[0].state], [1, 'One, two, ', 'done']);
});

test('a question whose signal is aborted is not sent', async () => {
	const site = new Site();
	const reason = new Error('enough');
	const chat = new Chat(url, { fetch: site.fetch });
	assert.equal((await all(chat.send('Hello', { signal: AbortSignal.abort(reason) }))).err, reason);
	assert.equal(site.asked.length, 0);
});
