/** A conversation that is too long for the site is no dead end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Chat } from '../illumichat.js';
import { Reply, Site, all, delta, failed, finish, url } from './scripted.mjs';

const yes = () => new Reply().event(delta('Yes.'), finish).end();
const user = (content) => ({ role: 'user', content });

/** A conversation of that many questions, each with an answer. */
const turns = (number, length = 10) => Array.from({ length: number }, (_, i) => [user(`Q${i} ${'x'.repeat(length)}`), { role: 'assistant', content: `A${i} ${'x'.repeat(length)}` }]).flat();

/** Asks one question, and returns what was sent, and how often the page was told that less was sent. */
async function ask(replies, options) {
	const site = new Site(...replies);
	const chat = new Chat(url, { fetch: site.fetch, ...options });
	const shortened = [];
	const { err } = await all(chat.send('Last', { onShorten: (sent) => shortened.push(sent), onRetry: () => assert.fail('nothing is to be waited for') }));
	return { err, shortened, sent: site.posts.map(({ question }) => question.messages), chat, site };
}

for (const [name, reply] of Object.entries({
	'too many messages': () => failed(413, 'too_many_messages:chat'),
	'too large': () => failed(413, 'too_large:chat'),
	'too large for the upstream': () => failed(413, 'too_large:upstream'),
	'too large for a proxy': () => new Reply({ status: 413, headers: { 'Content-Type': 'text/html' } }).text('<h1>413</h1>').end(),
})) {
	test(`of a conversation that is ${name}, the last part is sent, once, and the page is told`, async () => {
		const messages = turns(10);
		const { err, shortened, sent, chat, site } = await ask([reply(), yes()], { messages });
		assert.equal(err, undefined);
		assert.equal(sent.length, 2);
		assert.deepEqual(sent[0], [...messages, user('Last')]);
		assert.ok(sent[1].length > 1 && sent[1].length <= 11, String(sent[1].length));
		assert.deepEqual(sent[1], sent[0].slice(-sent[1].length));
		assert.equal(sent[1][0].role, 'user');
		assert.deepEqual(shortened, [sent[1].length]);
		// Nothing is forgotten.
		assert.equal(chat.messages.length, 22);
		assert.notEqual(site.posts[0].id, site.posts[1].id);

		// The next question is not refused again.
		site.then(yes());
		await all(chat.send('And?'));
		assert.ok(site.posts[2].question.messages.length <= sent[1].length + 2);
	});

	test(`a question that is still ${name} is an error`, async () => {
		const { err, sent } = await ask([reply(), reply(), yes()], { messages: turns(10) });
		assert.equal(err.status, 413);
		assert.equal(sent.length, 2);
	});

	test(`a question that is ${name} by itself is an error at once`, async () => {
		const { err, sent, shortened } = await ask([reply(), yes()], {});
		assert.equal(err.status, 413);
		assert.deepEqual([sent.length, shortened], [1, []]);
	});
}

test('a page can bound how many messages are sent, and need not be told', async () => {
	const messages = turns(5);
	for (const [history, want] of [[1, 1], [2, 1], [3, 3], [4, 3], [11, 11], [99, 11], [0, 1]]) {
		const { sent: [first], shortened } = await ask([yes()], { messages, history });
		assert.deepEqual(first, [...messages, user('Last')].slice(-want), String(history));
		assert.deepEqual(shortened, []);
	}
});

test('a body is measured before it is sent', async () => {
	const messages = turns(10, 1000);
	for (const [maxBody, body] of [[5000, {}], [4000, { note: '👋'.repeat(400) }], [3000, {}]]) {
		const { err, sent: [first], shortened, site } = await ask([yes()], { messages, maxBody, body, assistantId: 'asst_1', chatId: 'chat_1' });
		assert.equal(err, undefined);
		const size = (question) => new TextEncoder().encode(JSON.stringify(question)).length;
		const { question } = site.posts[0];
		assert.ok(size(question) <= maxBody, `${size(question)} > ${maxBody}`);
		// Two more messages would not have fitted.
		const more = [...messages, user('Last')].slice(-first.length - 2);
		assert.ok(size({ ...question, messages: more }) > maxBody);
		assert.deepEqual(first, [...messages, user('Last')].slice(-first.length));
		assert.deepEqual(shortened, [first.length]);
	}
});

test('a body is measured in bytes', async () => {
	const { sent: [first] } = await ask([yes()], { messages: [user('👋'.repeat(100)), { role: 'assistant', content: 'Hi' }], maxBody: 450 });
	assert.deepEqual(first, [user('Last')]);
});

test('a body of exactly the bound is sent whole', async () => {
	const messages = turns(3);
	const size = JSON.stringify({ messages: [...messages, user('Last')] }).length;
	assert.equal((await ask([yes()], { messages, maxBody: size })).sent[0].length, 7);
	assert.equal((await ask([yes()], { messages, maxBody: size - 1 })).sent[0].length, 5);
});

test('by default a body has up to a mebibyte', async () => {
	const { sent: [first], shortened } = await ask([yes()], { messages: turns(600, 1000) });
	assert.ok(first.length > 1000 && first.length < 1201, String(first.length));
	assert.deepEqual(shortened, [first.length]);
});

test('a question that is too large by itself is not sent', async () => {
	const { err, sent, chat } = await ask([yes()], { messages: turns(3), maxBody: 60, body: { note: 'x'.repeat(40) } });
	assert.deepEqual([err.name, err.status, err.code, sent.length], ['ChatError', 413, 'too_large:chat', 0]);
	assert.deepEqual([chat.turns[0].state, chat.turns[0].error.code, chat.openQuestion], ['failed', 'too_large:chat', undefined]);
});

test('a chat that is forgotten and too long gets over both', async () => {
	const { err, sent, site } = await ask([failed(404, 'not_found:chat'), failed(413, 'too_many_messages:chat'), yes()], { messages: turns(10), chatId: 'chat_1' });
	assert.equal(err, undefined);
	assert.equal(sent.length, 3);
	assert.deepEqual(site.posts.map(({ question }) => question.chatId), ['chat_1', undefined, undefined]);
});

test('a large question is sent with less before it, and does not bound the questions after it', async () => {
	const { err, sent, chat, site } = await ask([failed(413, 'too_large:chat'), yes(), yes()], { messages: [...turns(1), ...turns(1, 3000)] });
	assert.deepEqual([err, sent.length], [undefined, 2]);
	const long = 'x'.repeat(5000);
	assert.equal((await all(chat.send(long))).err, undefined);
	assert.deepEqual(site.posts[2].question.messages.at(-1), user(long));
});
