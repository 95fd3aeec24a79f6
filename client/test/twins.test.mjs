/** Two tabs with the same conversation, as after "Duplicate tab", separate. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Chat } from '../illumichat.js';
import { Browser, Channel, Clock } from './browser.mjs';
import { Site, all, delta, finish, one, resumable, settle, two, url } from './scripted.mjs';

const said = (text) => resumable().numbered(1, { ...delta(text), chatId: 'chat_1' }, finish).end();

/** A tab's storage. */
function newStore(items = new Map()) {
	return {
		items,
		get: (key) => items.get(key),
		set: (key, value) => { items.set(key, value); },
		remove: (key) => { items.delete(key); },
	};
}

/** Returns a tab whose conversation has one turn, and its twin. */
async function duplicate(t, options) {
	const clock = new Clock(t);
	const browser = new Browser(t);
	const store = newStore();
	const site = new Site(said('First.'));
	const chat = new Chat(url, { storageKey: 'chat', store, fetch: site.fetch, ...options });
	await all(chat.send('First'));
	const twinStore = newStore(new Map(store.items));
	new Browser(t);
	const twin = new Chat(url, { storageKey: 'chat', store: twinStore, fetch: site.fetch, ...options });
	await settle();
	return { clock, browser, site, chat, store, twin, twinStore };
}

test('the newer of two tabs goes on in a chat of its own, with the same messages', async (t) => {
	const { site, chat, twin, twinStore } = await duplicate(t);
	assert.deepEqual([chat.chatId, twin.chatId], ['chat_1', undefined]);
	assert.equal(JSON.parse(twinStore.items.get('chat')).value.chatId, undefined);
	assert.deepEqual(twin.messages, chat.messages);
	site.then(said('Second.'), said('Other.'));
	await all(chat.send('Second'));
	await all(twin.send('Other'));
	const [, second, other] = site.posts.map(({ question }) => question);
	assert.deepEqual([second.chatId, other.chatId], ['chat_1', undefined]);
	assert.deepEqual(other.messages.map(({ content }) => content), ['First', 'First.', 'Other']);
});

test('a question that is asked again in the newer tab is no part of the older one\'s chat', async (t) => {
	const { site, chat, store } = await duplicate(t);
	site.then(said('Second.'));
	await all(chat.send('Second'));
	new Browser(t);
	const twin = new Chat(url, { storageKey: 'chat', store: newStore(new Map(store.items)), fetch: site.fetch });
	await settle();
	site.then(said('Again.'));
	await all(twin.retry());
	assert.deepEqual(site.posts.at(-1).question.messages.map(({ content }) => content), ['First', 'First.', 'Second']);
	assert.equal(site.posts.at(-1).question.chatId, undefined);
});

test('an answer that goes on in both tabs leaves the newer one in a chat of its own', async (t) => {
	new Clock(t);
	new Browser(t);
	const store = newStore();
	const site = new Site(resumable().numbered(1, { ...one, chatId: 'chat_1' }));
	const chat = new Chat(url, { storageKey: 'chat', store, fetch: site.fetch });
	const answer = all(chat.send('First'));
	await settle();
	new Browser(t);
	const twin = new Chat(url, { storageKey: 'chat', store: newStore(new Map(store.items)), fetch: site.fetch });
	await settle();
	assert.equal(twin.openQuestion, 'First');
	site.then(resumable().numbered(1, { ...one, chatId: 'chat_1' }, two, finish).end());
	assert.equal((await all(twin.resume())).seen.length, 3);
	site.asked[0].numbered(2, two, finish).end();
	await answer;
	assert.deepEqual([chat.chatId, twin.chatId], ['chat_1', undefined]);
	assert.equal(twin.turns[0].text, 'One, two, ');
});

test('the next question of the newer tab does not stop the answer in the older one', async (t) => {
	for (const next of [(twin) => twin.reset(), (twin) => all(twin.send('Next')), (twin) => all(twin.retry())]) {
		const clock = new Clock(t);
		new Browser(t);
		const store = newStore();
		const site = new Site(resumable().numbered(1, one));
		const chat = new Chat(url, { storageKey: 'chat', store, fetch: site.fetch });
		const answer = all(chat.send('First'));
		await settle();
		new Browser(t);
		const twin = new Chat(url, { storageKey: 'chat', store: newStore(new Map(store.items)), fetch: site.fetch });
		await settle();
		site.then(said('Next.'));
		await next(twin);
		await clock.pass(10);
		assert.equal(site.deleted.length, 0);
		site.asked[0].numbered(2, finish).end();
		assert.deepEqual(await answer, { seen: [one, finish] });
	}
});

test('Stop ends an answer in both tabs', async (t) => {
	const clock = new Clock(t);
	new Browser(t);
	const store = newStore();
	const site = new Site(resumable().numbered(1, one));
	const answer = all(new Chat(url, { storageKey: 'chat', store, fetch: site.fetch }).send('First'));
	await settle();
	new Browser(t);
	const twin = new Chat(url, { storageKey: 'chat', store: newStore(new Map(store.items)), fetch: site.fetch });
	await settle();
	twin.stop();
	await clock.pass(1);
	assert.equal(site.deleted.length, 1);
	site.asked[0].numbered(2, { type: 'finish', finishReason: 'stop', code: 'stopped:visitor' }).end();
	assert.equal((await answer).err.code, 'stopped:visitor');
});

test('three tabs have three chats', async (t) => {
	const { site, chat, twin, store } = await duplicate(t);
	new Browser(t);
	const third = new Chat(url, { storageKey: 'chat', store: newStore(new Map(store.items)), fetch: site.fetch });
	await settle();
	site.then(said('x'), said('x'), said('x'));
	for (const one of [chat, twin, third]) await all(one.send('Next'));
	assert.deepEqual(site.posts.slice(1).map(({ question }) => question.chatId), ['chat_1', undefined, undefined]);
});

test('a copy of the newer tab separates from it, too', async (t) => {
	const { site, twin, twinStore } = await duplicate(t);
	site.then(resumable().numbered(1, { ...delta('x'), chatId: 'chat_2' }, finish).end());
	await all(twin.send('Other'));
	new Browser(t);
	const copy = new Chat(url, { storageKey: 'chat', store: newStore(new Map(twinStore.items)), fetch: site.fetch });
	await settle();
	assert.deepEqual([twin.chatId, copy.chatId, copy.turns.length], ['chat_2', undefined, 2]);
});

test('the older tab keeps its chat, though it is loaded anew beside the newer one', async (t) => {
	const { browser, store, site } = await duplicate(t);
	browser.hide();
	new Browser(t);
	const chat = new Chat(url, { storageKey: 'chat', store, fetch: site.fetch });
	await settle();
	assert.equal(chat.chatId, 'chat_1');
});

test('a tab that is loaded anew has no twin', async (t) => {
	new Clock(t);
	const browser = new Browser(t);
	const store = newStore();
	const site = new Site(said('First.'));
	await all(new Chat(url, { storageKey: 'chat', store, fetch: site.fetch }).send('First'));
	browser.leave();
	const chat = new Chat(url, { storageKey: 'chat', store, fetch: site.fetch });
	await settle();
	assert.equal(chat.chatId, 'chat_1');
});

test('a chat that is opened again in the same page has no twin', async (t) => {
	new Clock(t);
	new Browser(t);
	const store = newStore();
	const site = new Site(said('First.'));
	// A component that is shown again makes another chat, and the one before listens still.
	await all(new Chat(url, { storageKey: 'chat', store, fetch: site.fetch }).send('First'));
	const chat = new Chat(url, { storageKey: 'chat', store, fetch: site.fetch });
	await settle();
	assert.equal(chat.chatId, 'chat_1');
});

test('a chat that was opened again in the same page separates from a twin, too', async (t) => {
	const { chat, store, site } = await duplicate(t);
	new Browser(t);
	const copy = newStore(new Map(store.items));
	const before = new Chat(url, { storageKey: 'chat', store: copy, fetch: site.fetch });
	const after = new Chat(url, { storageKey: 'chat', store: copy, fetch: site.fetch });
	await settle();
	assert.deepEqual([chat.chatId, before.chatId, after.chatId], ['chat_1', undefined, undefined]);
});

test('tabs of other conversations are no twins', async (t) => {
	const { site, chat } = await duplicate(t);
	new Browser(t);
	const other = new Chat(url, { storageKey: 'chat', store: newStore(), fetch: site.fetch });
	await settle();
	site.then(resumable().numbered(1, { ...delta('x'), chatId: 'chat_2' }, finish).end());
	await all(other.send('Other'));
	await settle();
	assert.deepEqual([chat.chatId, other.chatId], ['chat_1', 'chat_2']);
});

test('a page has one channel, and none while it is in the back/forward cache', async (t) => {
	new Clock(t);
	const browser = new Browser(t);
	const before = Channel.names.length;
	const count = () => Channel.names.length - before;
	new Chat(url, { fetch: new Site().fetch }).reset();
	assert.equal(count(), 0);
	const chat = new Chat(url, { storageKey: 'chat', store: newStore(), fetch: new Site().fetch });
	// Each page that is loaded is also shown.
	browser.comeBack();
	assert.equal(count(), 1);
	const [name] = Channel.names.slice(before);
	browser.hide();
	assert.equal(count(), 0);
	browser.comeBack();
	assert.deepEqual(Channel.names.slice(before), [name]);

	// A new conversation has another one.
	chat.reset();
	assert.equal(count(), 1);
	assert.ok(!Channel.names.includes(name));
	browser.hide();
	browser.comeBack();
	assert.equal(count(), 1);
	browser.leave();
	assert.equal(count(), 0);
});

test('a page that comes back from the back/forward cache finds its twin', async (t) => {
	new Clock(t);
	const browser = new Browser(t);
	const store = newStore();
	const site = new Site(said('First.'));
	const chat = new Chat(url, { storageKey: 'chat', store, fetch: site.fetch });
	await all(chat.send('First'));
	browser.hide();
	new Browser(t);
	const twin = new Chat(url, { storageKey: 'chat', store: newStore(new Map(store.items)), fetch: site.fetch });
	await settle();
	assert.equal(twin.chatId, 'chat_1');
	browser.comeBack();
	await settle();
	assert.deepEqual([chat.chatId, twin.chatId].filter(Boolean), ['chat_1']);
});
