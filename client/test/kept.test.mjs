/** A reload of the page: the data that survives it, and for whom. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Chat } from '../illumichat.js';
import { Browser, Clock, openStorage, replace } from './browser.mjs';
import { Reply, Site, all, delta, failed, finish, one, resumable, settle, silence, two, unreachable, url } from './scripted.mjs';

const yes = delta('Yes.');
const call = { type: 'tool-call', toolName: 'search', args: {} };
const stopped = { type: 'finish', finishReason: 'stop', error: 'the answer was stopped', code: 'stopped:visitor' };

/** A tab whose page can be loaded anew. */
class Tab {
	constructor(t, options = {}) {
		this.clock = new Clock(t);
		this.browser = new Browser(t);
		this.items = openStorage(t);
		this.options = options;
	}

	/** Opens a page. It has a network of its own, which ends with it. */
	open(site = new Site(), options = {}) {
		const page = {};
		const fetch = (request) => page.left ? new Promise(() => {}) : site.fetch(request);
		this.page = page;
		return new Chat(url, { storageKey: 'chat', fetch, ...this.options, ...options });
	}

	/** Leaves the page, with which its timers end. */
	leave() {
		this.browser.leave();
		this.page.left = true;
		this.clock.timers.clear();
	}

	/** Loads the page anew. */
	reload(site, options) {
		this.leave();
		return this.open(site, options);
	}

	/** Ends the page without an event, as browsers do when memory is short. */
	crash() {
		this.browser.leave(false);
		this.page.left = true;
		this.clock.timers.clear();
	}
}

/** Returns how a turn stands. */
const told = ({ content, events, state, error }) => [content, events, state, error?.code];

test('a conversation is kept with its events and how each turn ended', async (t) => {
	const tab = new Tab(t);
	const site = new Site(
		resumable().numbered(1, { ...one, chatId: 'chat_1' }, two, call, finish).end(),
		resumable().numbered(1, call, finish).end(),
		resumable().numbered(1, one, { type: 'finish', finishReason: 'error', error: 'The upstream was silent.', code: 'stalled:upstream' }).end(),
		resumable().numbered(1, one, stopped).end(),
		resumable().numbered(1, one),
	);
	const chat = tab.open(site);
	for (const content of ['First', 'Tools', 'Broken', 'Elsewhere']) await all(chat.send(content));
	const last = all(chat.send('Stopped'));
	await settle();
	chat.stop();
	await last;

	const after = tab.reload();
	assert.deepEqual(after.turns.map(told), [
		['First', [{ ...one, textDelta: 'One, two, ', chatId: 'chat_1' }, call, finish], 'done', undefined],
		['Tools', [call, finish], 'done', undefined],
		['Broken', [one], 'failed', 'stalled:upstream'],
		['Elsewhere', [one], 'stopped', 'stopped:visitor'],
		['Stopped', [one], 'stopped', undefined],
	]);
	assert.deepEqual(after.turns[2].error, { message: 'The upstream was silent.', code: 'stalled:upstream', status: 200 });
	assert.deepEqual([after.turns[0].text, after.chatId, after.openQuestion], ['One, two, ', 'chat_1', undefined]);
	assert.deepEqual(after.messages, chat.messages);
	assert.deepEqual(await all(after.resume()), { seen: [] });
});

test('what is kept is continued, whatever the page says', async (t) => {
	const tab = new Tab(t);
	await all(tab.open(new Site(resumable().numbered(1, yes, finish).end()), { messages: [{ role: 'user', content: 'Before' }] }).send('Hello'));
	const chat = tab.reload(new Site(), { messages: [{ role: 'user', content: 'something else' }], chatId: 'chat_9' });
	assert.deepEqual(chat.messages.map(({ content }) => content), ['Before', 'Hello', 'Yes.']);
	assert.equal(chat.chatId, undefined);
});

test('a chat\'s id that arrives after the finish is kept', async (t) => {
	const tab = new Tab(t);
	await all(tab.open(new Site(resumable().numbered(1, yes, finish, { type: 'usage', chatId: 'chat_2' }).end())).send('Hello'));
	assert.equal(tab.reload().chatId, 'chat_2');
});

test('an answer goes on after a reload, from its first event on', async (t) => {
	const tab = new Tab(t);
	const site = new Site(resumable().numbered(1, yes, finish).end(), resumable().numbered(1, one));
	const before = tab.open(site);
	await all(before.send('First'));
	all(before.send('Second'));
	await settle();

	let chat = tab.reload(site);
	assert.deepEqual([chat.openQuestion, chat.turns.length, chat.turns[1].state], ['Second', 2, 'open']);
	// What had arrived can be shown until the answer is there again.
	assert.equal(chat.turns[1].text, 'One, ');
	assert.deepEqual(chat.messages.map(({ content }) => content), ['First', 'Yes.']);

	site.then(resumable().numbered(1, one, two), resumable().numbered(1, one, two, finish).end());
	const answer = all(chat.resume());
	await settle();
	site.gets[0].break();
	assert.equal(chat.openQuestion, undefined);
	await assert.rejects(chat.send('Third').next(), /still on its way/);
	await assert.rejects(chat.resume().next(), /still on its way/);
	await tab.clock.pass(1);
	assert.deepEqual(await answer, { seen: [one, two, finish] });
	const { id } = site.posts[1];
	assert.deepEqual(site.gets.map((get) => [get.id, get.after]), [[id, '0'], [id, '2']]);
	assert.deepEqual([chat.turns[1].text, chat.turns[1].state, site.posts.length], ['One, two, ', 'done', 2]);
	assert.deepEqual(await all(chat.resume()), { seen: [] });

	chat = tab.reload(site);
	assert.deepEqual([chat.openQuestion, chat.turns[1].text], [undefined, 'One, two, ']);
});

for (const [phase, { replies, seconds = 0 }] of Object.entries({
	'before the response headers': { replies: () => [silence()] },
	'in a retry pause': { replies: () => [failed(503, 'overloaded:chat', { 'Retry-After': '9' })] },
	'after the question was lost': { replies: () => [unreachable(), silence()], seconds: 3 },
})) {
	for (const how of ['leave', 'crash']) test(`a question is paid for once if the page is loaded anew ${phase} (${how})`, async (t) => {
		const tab = new Tab(t);
		const site = new Site(...replies());
		all(tab.open(site).send('Hello'));
		await tab.clock.pass(seconds);
		await settle();
		const { id } = site.posts[0];

		tab[how]();
		const chat = tab.open(site);
		assert.deepEqual([chat.openQuestion, chat.turns[0].state], ['Hello', 'open']);
		site.then(resumable().numbered(1, yes, finish).end());
		assert.deepEqual(await all(chat.resume()), { seen: [yes, finish] });
		// The site attaches a POST with that id to the answer.
		assert.deepEqual(new Set(site.posts.map((post) => post.id)), new Set([id]));
		assert.equal(site.posts.at(-1).request.method, 'POST');
		assert.deepEqual(site.posts.at(-1).question, site.posts[0].question);
	});
}

test('before the first event, an answer is followed after a reload, and not asked for again', async (t) => {
	const tab = new Tab(t);
	const site = new Site(resumable());
	all(tab.open(site).send('Hello'));
	await settle();
	tab.crash();
	const chat = tab.open(site);
	site.then(silence(), resumable().numbered(1, yes, finish).end());
	const answer = all(chat.resume());
	// The site waits with its response headers until there is something to send.
	await tab.clock.pass(50);
	assert.deepEqual(await answer, { seen: [yes, finish] });
	assert.deepEqual([site.posts.length, site.gets.length], [1, 2]);
});

test('a question that cannot be on its way any more is unsent after a reload', async (t) => {
	const tab = new Tab(t);
	const site = new Site(silence());
	all(tab.open(site).send('Hello'));
	await settle();
	tab.leave();
	await tab.clock.pass(61);
	const chat = tab.open(site);
	assert.deepEqual([chat.openQuestion, chat.turns[0].state, chat.messages], [undefined, 'unsent', []]);
	assert.deepEqual(await all(chat.resume()), { seen: [] });
	site.then(resumable().numbered(1, yes, finish).end());
	assert.deepEqual(await all(chat.retry()), { seen: [yes, finish] });
	// The site may have the answer of the first request.
	assert.equal(site.posts[0].id, site.posts[1].id);
	assert.equal(chat.turns.length, 1);
});

test('a question whose headers were still asked for is not lost by a reload', async (t) => {
	const tab = new Tab(t);
	const site = new Site(resumable().numbered(1, yes, finish).end());
	all(tab.open(site, { headers: () => new Promise(() => {}) }).send('Hello'));
	await settle();
	const chat = tab.reload(site);
	assert.equal(chat.openQuestion, 'Hello');
	assert.deepEqual(await all(chat.resume()), { seen: [yes, finish] });
});

test('a question without a network is not lost by a reload', async (t) => {
	const tab = new Tab(t);
	const site = new Site(unreachable());
	tab.browser.goOffline();
	all(tab.open(site).send('Hello'));
	await settle();
	const chat = tab.reload(site);
	site.then(unreachable(), resumable().numbered(1, yes, finish).end());
	const answer = all(chat.resume());
	await tab.clock.pass(600);
	tab.browser.goOnline();
	await settle();
	assert.deepEqual(await answer, { seen: [yes, finish] });
});

test('an answer that is not kept any more after a reload can be asked for again', async (t) => {
	const tab = new Tab(t);
	const site = new Site(resumable().numbered(1, one));
	all(tab.open(site).send('Hello'));
	await settle();
	const chat = tab.reload(site);
	site.then(failed(404, 'not_found:stream'), resumable().numbered(1, yes, finish).end());
	const { seen, err } = await all(chat.resume());
	assert.deepEqual([seen, err.name, err.code], [[], 'ChatError', 'closed:connection']);
	// What had arrived stays.
	assert.deepEqual([chat.turns[0].text, chat.turns[0].state, chat.openQuestion], ['One, ', 'failed', undefined]);
	assert.equal(tab.reload(site).turns[0].state, 'failed');
	assert.deepEqual(await all(tab.open(site).retry()), { seen: [yes, finish] });
});

test('an answer that cannot be resumed has failed after a reload', async (t) => {
	const tab = new Tab(t);
	all(tab.open(new Site(new Reply().event(one))).send('Hello'));
	await settle();
	const chat = tab.reload();
	assert.deepEqual(chat.turns.map(told), [['Hello', [one], 'failed', 'closed:connection']]);
	assert.deepEqual([chat.openQuestion, chat.messages.length], [undefined, 2]);
});

test('Stop works after a reload, whether or not the answer was continued', async (t) => {
	for (const resume of [false, true]) {
		const tab = new Tab(t);
		const site = new Site(resumable().numbered(1, one), resumable().numbered(1, one, two));
		all(tab.open(site).send('Hello'));
		await settle();
		const chat = tab.reload(site);
		const answer = resume ? all(chat.resume()) : undefined;
		await settle();
		await chat.stop();
		if (answer) assert.equal((await answer).err.code, 'stopped:page');
		assert.deepEqual(site.deleted.map((request) => request.headers.get('Illumichat-Stream')), [site.posts[0].id]);
		assert.equal(tab.reload().turns[0].state, 'stopped');
	}
});

test('a draft is kept until it is sent', async (t) => {
	const tab = new Tab(t);
	const site = new Site(resumable().numbered(1, yes, finish).end());
	tab.open().draft = `Hello 👋 ${'👋'.slice(0, 1)}`;
	const chat = tab.reload(site);
	assert.equal(chat.draft, 'Hello 👋 \ufffd');
	await all(chat.send('Hello'));
	assert.equal(chat.draft, '');
	assert.equal(tab.reload().draft, '');
	tab.open().draft = 'x';
	tab.open().draft = '';
	assert.equal(tab.reload().draft, '');
});

for (const [whose, other] of Object.entries({
	'another visitor': { owner: 'user_2' },
	'a visitor who has logged out': { owner: undefined },
	'another assistant': { assistantId: 'asst_2' },
	'another site': { url: 'http://chat.test/api/other' },
})) {
	test(`${whose} sees nothing of a conversation, and nothing of it stays`, async (t) => {
		const tab = new Tab(t);
		const options = { owner: 'user_1', assistantId: 'asst_1' };
		const chat = tab.open(new Site(resumable().numbered(1, { ...yes, chatId: 'chat_1' }, finish).end()), options);
		await all(chat.send('a secret'));
		chat.draft = 'another secret';
		tab.leave();

		const { url: endpoint = url, ...changed } = other;
		const stranger = new Chat(endpoint, { storageKey: 'chat', ...options, ...changed });
		assert.deepEqual([stranger.turns, stranger.messages, stranger.chatId, stranger.draft, stranger.openQuestion], [[], [], undefined, '', undefined]);
		assert.ok(![...tab.items.values()].join().includes('secret'));
		assert.deepEqual(tab.open(new Site(), options).turns, []);
	});
}

test('the visitor who comes back sees the conversation', async (t) => {
	const tab = new Tab(t, { owner: 'user_1', assistantId: 'asst_1' });
	await all(tab.open(new Site(resumable().numbered(1, yes, finish).end())).send('Hello'));
	assert.equal(tab.reload().turns.length, 1);
});

test('a new conversation is kept, and the one before is not', async (t) => {
	const tab = new Tab(t);
	const site = new Site(resumable().numbered(1, yes, finish).end());
	const chat = tab.open(site);
	await all(chat.send('a secret'));
	chat.draft = 'another secret';
	chat.reset();
	assert.ok(![...tab.items.values()].join().includes('secret'));
	assert.deepEqual(tab.reload().turns, []);
});

test('a new conversation is not overwritten by the answer that was on its way', async (t) => {
	const tab = new Tab(t);
	const site = new Site(resumable().numbered(1, one));
	const chat = tab.open(site);
	const answer = all(chat.send('a secret'));
	await settle();
	chat.reset();
	await answer;
	await tab.clock.pass(10);
	tab.leave();
	assert.ok(![...tab.items.values()].join().includes('secret'));
});

test('a storage that does not work is none', async (t) => {
	const fail = () => { throw new Error('no storage'); };
	openStorage(t);
	for (const storage of [undefined, { getItem: fail, setItem: fail, removeItem: fail }, { getItem: () => '[1', setItem: fail, removeItem: () => {} }]) {
		replace(t, 'sessionStorage', storage);
		const site = new Site(resumable().numbered(1, one, finish).end());
		const chat = new Chat(url, { storageKey: 'chat', fetch: site.fetch });
		chat.draft = 'Hello';
		assert.deepEqual(await all(chat.send('Hello')), { seen: [one, finish] });
		assert.equal(chat.openQuestion, undefined);
		chat.reset();
	}
	// In a private mode, merely asking for the storage may throw.
	Object.defineProperty(globalThis, 'sessionStorage', { get: fail, configurable: true });
	assert.deepEqual(new Chat(url, { storageKey: 'chat' }).turns, []);
});

test('what is in the storage in another format is as if there were nothing', (t) => {
	const items = openStorage(t);
	const owner = JSON.stringify([url, null, null]);
	for (const text of ['', '[1', 'null', '7', '"x"', '[]', '{}', ...[null, 'x', [], {}, { turns: 7 }].map((value) => JSON.stringify({ owner, value }))]) {
		items.set('chat', text);
		const chat = new Chat(url, { storageKey: 'chat' });
		assert.deepEqual([chat.turns, chat.messages, chat.chatId, chat.openQuestion], [[], [], undefined, undefined], text);
	}
});

test('a conversation for which there is no room is kept in part', async (t) => {
	const items = new Map();
	const store = {
		get: (key) => items.get(key),
		set: (key, value) => {
			if (value.length > 2500) throw new DOMException('full', 'QuotaExceededError');
			items.set(key, value);
		},
		remove: (key) => { items.delete(key); },
	};
	const site = new Site();
	const chat = new Chat(url, { storageKey: 'chat', store, fetch: site.fetch });
	for (let i = 0; i < 8; i++) {
		site.then(resumable().numbered(1, delta('x'.repeat(400)), finish).end());
		await all(chat.send(`Question ${i}`));
	}
	assert.equal(chat.turns.length, 8);
	const kept = new Chat(url, { storageKey: 'chat', store }).turns;
	assert.ok(kept.length > 0 && kept.length < 8, String(kept.length));
	assert.equal(kept.at(-1).content, 'Question 7');

	// Rather nothing than what is not true any more.
	site.then(resumable().numbered(1, delta('x'.repeat(4000)), finish).end());
	await all(chat.send('Question 8'));
	assert.deepEqual(new Chat(url, { storageKey: 'chat', store }).turns, []);
});

test('without a key, nothing is kept', async (t) => {
	const items = openStorage(t);
	const chat = new Chat(url, { fetch: new Site(resumable().numbered(1, yes, finish).end()).fetch });
	chat.draft = 'x';
	await all(chat.send('Hello'));
	assert.equal(items.size, 0);
});

test('a conversation belongs to the visitor whom the site gives its last answer', async (t) => {
	for (const [reply, want] of [
		[new Reply({ status: 204 }), true], [resumable(), true],
		[failed(404, 'not_found:stream'), false], [failed(401, 'unauthorized:site'), false], [new Reply({ status: 302 }).end(), false],
	]) {
		const tab = new Tab(t);
		await all(tab.open(new Site(resumable().numbered(1, one, yes, finish).end())).send('Hello'));
		const site = new Site(reply);
		assert.equal(await tab.reload(site).belongsToVisitor(), want);
		assert.deepEqual([reply.request.method, reply.after], ['GET', '3']);
		await settle();
		// Nobody reads on.
		if (want) assert.ok(reply.cancelled || reply.status === 204);
		assert.equal(tab.clock.timers.size, 0);
	}
});

test('a conversation belongs to its owner, and an empty one to anybody', async (t) => {
	const tab = new Tab(t);
	const site = new Site();
	assert.equal(await tab.open(site).belongsToVisitor(), true);
	await all(tab.open(new Site(resumable().numbered(1, yes, finish).end()), { owner: 'user_1' }).send('Hello'));
	assert.equal(await tab.reload(site, { owner: 'user_1' }).belongsToVisitor(), true);
	assert.equal(site.asked.length, 0);
	// Without an answer to ask for, nobody knows.
	const other = new Tab(t);
	await all(other.open(new Site(new Reply().event(yes, finish).end())).send('Hello'));
	assert.equal(await other.reload(site).belongsToVisitor(), false);
});
