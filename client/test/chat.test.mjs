/** A conversation: its turns, its messages, and its id. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Chat, ChatError } from '../illumichat.js';
import { Clock, replace } from './browser.mjs';
import { Reply, Site, all, delta, failed, finish, finishOfStep, one, resumable, settle, silence, three, two, unreachable, url } from './scripted.mjs';

const yes = delta('Yes.');
const user = (content) => ({ role: 'user', content });
const assistant = (content) => ({ role: 'assistant', content });

/** Returns how a turn stands. */
const told = ({ content, text, state, error }) => [content, text, state, error?.code];

test('a question is asked with the conversation before it', async () => {
	const site = new Site(new Reply().event(one, two, finish).end(), new Reply().event(yes, finish).end());
	const chat = new Chat(url, { fetch: site.fetch, assistantId: 'asst_1' });
	assert.deepEqual(await all(chat.send('First')), { seen: [one, two, finish] });
	assert.deepEqual(await all(chat.send('Second')), { seen: [yes, finish] });
	assert.deepEqual(site.asked.map(({ question }) => question), [
		{ assistantId: 'asst_1', messages: [user('First')] },
		{ assistantId: 'asst_1', messages: [user('First'), assistant('One, two, '), user('Second')] },
	]);
	assert.deepEqual(chat.messages, [user('First'), assistant('One, two, '), user('Second'), assistant('Yes.')]);
	assert.deepEqual(chat.turns.map(told), [['First', 'One, two, ', 'done', undefined], ['Second', 'Yes.', 'done', undefined]]);
});

test('a conversation can be continued', async () => {
	const site = new Site(new Reply().event(yes, finish).end());
	const before = [user('First'), assistant('One.')];
	const chat = new Chat(url, { fetch: site.fetch, messages: before, chatId: 'chat_1' });
	await all(chat.send('Second'));
	assert.deepEqual(site.asked[0].question, { messages: [...before, user('Second')], chatId: 'chat_1' });
	assert.deepEqual(chat.messages, [...before, user('Second'), assistant('Yes.')]);
	assert.equal(before.length, 2);
});

test('nothing is sent before the first event is asked for', async () => {
	const site = new Site();
	const chat = new Chat(url, { fetch: site.fetch });
	chat.send('Hello');
	await settle();
	assert.deepEqual([site.asked.length, chat.turns.length], [0, 0]);
});

test('a turn keeps all events up to the finish, and joins pieces of text', async () => {
	const call = { type: 'tool-call', toolName: 'search', toolCallId: 'call_1', args: {} };
	const result = { type: 'tool-result', toolName: 'search', toolCallId: 'call_1', result: [] };
	const events = [one, two, call, result, finishOfStep, three, finish];
	const chat = new Chat(url, { fetch: new Site(new Reply().event(...events, delta('after')).end()).fetch });
	assert.deepEqual((await all(chat.send('Hello'))).seen, [...events, delta('after')]);
	assert.deepEqual(chat.turns[0].events, [delta('One, two, '), call, result, finishOfStep, three, finish]);
	assert.equal(chat.turns[0].text, 'One, two, three.');
});

test('an event that the page got stays as it was', async () => {
	const chat = new Chat(url, { fetch: new Site(new Reply().event(one, two, finish).end()).fetch });
	assert.deepEqual((await all(chat.send('Hello'))).seen, [one, two, finish]);
});

test('a turn is open while its answer arrives, and there at once', async () => {
	const site = new Site(new Reply().event(one));
	const chat = new Chat(url, { fetch: site.fetch });
	const events = chat.send('Hello');
	await events.next();
	assert.deepEqual(chat.turns.map(told), [['Hello', 'One, ', 'open', undefined]]);
	// What is not answered yet is no part of the conversation.
	assert.deepEqual([chat.messages, chat.openQuestion], [[], undefined]);
	site.asked[0].event(finish).end();
	await all(events);
	assert.equal(chat.turns[0].state, 'done');
});

test('the array of turns is another one when a turn is added', async () => {
	const chat = new Chat(url, { fetch: new Site(new Reply().event(yes, finish).end()).fetch });
	const before = chat.turns;
	await all(chat.send('Hello'));
	assert.deepEqual([before.length, chat.turns.length], [0, 1]);
});

test('one answer arrives at a time, and the next question can be asked at the finish', async () => {
	const site = new Site(new Reply().event(yes, finish), new Reply().event(one, finish).end());
	const chat = new Chat(url, { fetch: site.fetch });
	const first = chat.send('First');
	assert.deepEqual((await first.next()).value, yes);
	for (const events of [chat.send('Second'), chat.resume(), chat.retry()]) await assert.rejects(events.next(), /still on its way/);
	assert.deepEqual((await first.next()).value, finish);

	assert.equal((await all(chat.send('Second'))).err, undefined);
	site.asked[0].event({ type: 'usage', chatId: 'chat_old' }).end();
	assert.deepEqual(await all(first), { seen: [{ type: 'usage', chatId: 'chat_old' }] });
	assert.equal(chat.chatId, undefined);
	assert.deepEqual(site.asked[1].question.messages, [user('First'), assistant('Yes.'), user('Second')]);
	assert.equal(chat.turns.length, 2);
});

test('an answer that broke off is part of the conversation, and a question that was refused is not', async () => {
	const refused = { type: 'finish', finishReason: 'error', error: 'it ended', code: 'stalled:upstream' };
	for (const [reply, state, code, messages] of [
		[new Reply().event(one).end(), 'failed', 'closed:connection', [user('Hello'), assistant('One, ')]],
		[new Reply().event(one, refused).end(), 'failed', 'stalled:upstream', [user('Hello'), assistant('One, ')]],
		[new Reply().event(refused).end(), 'failed', 'stalled:upstream', []],
		[failed(400, 'bad_request:chat'), 'failed', 'bad_request:chat', []],
	]) {
		const chat = new Chat(url, { fetch: new Site(reply).fetch });
		const { err } = await all(chat.send('Hello'));
		assert.ok(err instanceof ChatError);
		assert.equal(err.code, code);
		assert.equal(chat.turns[0].state, state);
		assert.deepEqual(chat.turns[0].error, { message: err.message, code, status: err.status });
		assert.deepEqual(chat.messages, messages);
	}
});

test('an answer that somebody else stopped says so', async () => {
	for (const finishReason of ['stop', 'error']) {
		const stopped = { type: 'finish', finishReason, error: 'the answer was stopped', code: 'stopped:visitor' };
		const chat = new Chat(url, { fetch: new Site(resumable().numbered(1, one, stopped).end()).fetch });
		const { seen, err } = await all(chat.send('Hello'));
		assert.deepEqual([seen, err.code], [[one], 'stopped:visitor']);
		assert.deepEqual(chat.turns.map(told), [['Hello', 'One, ', 'stopped', 'stopped:visitor']]);
	}
});

test('an answer without any text is told from others, and its question stays', async () => {
	const call = { type: 'tool-call', toolName: 'search', args: {} };
	for (const events of [[finish], [call, finish], [delta(''), finish]]) {
		const site = new Site(new Reply().event(...events).end(), new Reply().event(yes, finish).end());
		const chat = new Chat(url, { fetch: site.fetch });
		assert.deepEqual(await all(chat.send('First')), { seen: events });
		assert.deepEqual(told(chat.turns[0]), ['First', '', 'done', undefined]);
		await all(chat.send('Second'));
		// The API refuses a message without content.
		assert.deepEqual(site.asked[1].question.messages, [user('First'), user('Second')]);
	}
});

test('texts that are none are not part of the text', async () => {
	const chat = new Chat(url, { fetch: new Site(new Reply().event({ type: 'text-delta' }, delta(7), yes, delta(7), finish).end()).fetch });
	await all(chat.send('Hello'));
	assert.equal(chat.turns[0].text, 'Yes.');
});

test('a text that was cut inside a character is sent and kept as text', async () => {
	const [high, low] = '👋';
	const [half, other] = ['👋'.slice(0, 1), '👋'.slice(1)];
	assert.equal(low, undefined);
	const site = new Site(
		new Reply().text(`data: {"type":"text-delta","textDelta":"a\\ud83d"}\n\n`).event({ type: 'ping' }).text(`data: {"type":"text-delta","textDelta":"b\\udc4b"}\n\n`).event(finish).end(),
		new Reply().text(`data: {"type":"text-delta","textDelta":"\\ud83d"}\n\ndata: {"type":"text-delta","textDelta":"\\udc4b"}\n\n`).event(finish).end(),
		new Reply().event(yes, finish).end(),
	);
	const chat = new Chat(url, { fetch: site.fetch, messages: [user(`x${half}`)] });
	await all(chat.send([{ type: 'text', text: `${half}!` }]));
	await all(chat.send(`${other}?`));
	await all(chat.send('and?'));
	assert.deepEqual(site.asked[2].question.messages, [
		user('x\ufffd'), user([{ type: 'text', text: '\ufffd!' }]), assistant('a\ufffdb\ufffd'), user('\ufffd?'), assistant(high), user('and?'),
	]);
});

test('the question may be parts, which stay as they are', async () => {
	const parts = [{ type: 'text', text: 'Hello' }, { type: 'image', url: 'x' }];
	const site = new Site(new Reply().event(yes, finish).end());
	const chat = new Chat(url, { fetch: site.fetch });
	await all(chat.send(parts));
	assert.deepEqual(site.asked[0].question.messages, [user(parts)]);
	assert.deepEqual(chat.turns[0].content, parts);
});

for (const [name, { replies, again = false, want }] of Object.entries({
	'in a header': { replies: [new Reply({ headers: { 'Content-Type': 'text/event-stream', 'X-Chat-Id': 'chat_1' } }).event(yes, finish).end()], want: 'chat_1' },
	'in an event': { replies: [new Reply().event({ type: 'start', chatId: 'chat_1' }, yes, finish).end()], want: 'chat_1' },
	'after the finish': { replies: [new Reply().event(yes, finish, { type: 'usage', chatId: 'chat_1' }).end()], want: 'chat_1' },
	'in an attempt that failed': {
		replies: [
			new Reply({ headers: { 'Content-Type': 'text/event-stream', 'X-Chat-Id': 'chat_0' } }).end(),
			new Reply().event(yes, finish).end(),
		],
	},
	'in an answer that is asked for anew': {
		replies: [
			new Reply({ headers: { 'Content-Type': 'text/event-stream', 'X-Chat-Id': 'chat_0' } }).event(yes).end(),
			new Reply().event(yes, finish).end(),
		],
		again: true,
	},
})) {
	test(`the chat's id ${name} ${want ? 'is sent with the next question' : 'is not used'}`, async (t) => {
		const clock = new Clock(t);
		const site = new Site(...replies);
		const chat = new Chat(url, { fetch: site.fetch });
		const first = all(chat.send('First'));
		await clock.pass(2);
		await first;
		if (again) await all(chat.retry());
		assert.equal(chat.chatId, want);
		assert.ok(site.asked.every(({ question }) => question.chatId === undefined));
		site.then(new Reply().event(yes, finish).end());
		await all(chat.send('Second'));
		assert.equal(site.asked.at(-1).question.chatId, want);
	});
}

test('a chat that the API has forgotten is continued by its messages', async () => {
	const site = new Site(
		new Reply().event({ type: 'start', chatId: 'chat_1' }, one, finish).end(),
		failed(404, 'not_found:chat'),
		new Reply().event({ type: 'start', chatId: 'chat_2' }, yes, finish).end(),
	);
	const chat = new Chat(url, { fetch: site.fetch });
	await all(chat.send('First'));
	const { err } = await all(chat.send('Second', { onRetry: () => assert.fail('nothing is to be waited for') }));
	assert.equal(err, undefined);
	assert.deepEqual(site.asked.map(({ question }) => question.chatId), [undefined, 'chat_1', undefined]);
	assert.deepEqual(site.asked[2].question.messages, [user('First'), assistant('One, '), user('Second')]);
	assert.notEqual(site.asked[1].id, site.asked[2].id);
	assert.deepEqual([chat.chatId, chat.turns.length], ['chat_2', 2]);
});

test('a chat that is not found after the answer has begun is an error', async () => {
	const gone = { type: 'finish', finishReason: 'error', error: 'no such chat', code: 'not_found:chat' };
	const site = new Site(new Reply().event(one, gone).end());
	assert.equal((await all(new Chat(url, { fetch: site.fetch, chatId: 'chat_1' }).send('First'))).err.code, 'not_found:chat');
	assert.equal(site.asked.length, 1);
});

test('an answer that ends with a step is complete', async () => {
	const chat = new Chat(url, { fetch: new Site(new Reply().event(one, finishOfStep).end()).fetch });
	assert.deepEqual(await all(chat.send('Hello')), { seen: [one, finishOfStep] });
	assert.deepEqual(told(chat.turns[0]), ['Hello', 'One, ', 'done', undefined]);
});

test('the chat\'s id is known as soon as the response headers are there', async () => {
	const site = new Site(new Reply({ headers: { 'Content-Type': 'text/event-stream', 'X-Chat-Id': 'chat_1' } }));
	const chat = new Chat(url, { fetch: site.fetch });
	const answer = all(chat.send('Hello'));
	await settle();
	assert.equal(chat.chatId, 'chat_1');
	site.asked[0].event(finish).end();
	await answer;
});

test('a chat that is not found without an id is an error', async () => {
	const site = new Site(failed(404, 'not_found:chat'));
	assert.equal((await all(new Chat(url, { fetch: site.fetch }).send('First'))).err.code, 'not_found:chat');
	assert.equal(site.asked.length, 1);
});

test('the last question can be asked again, and what came of it is forgotten', async () => {
	const site = new Site(new Reply().event({ ...one, chatId: 'chat_1' }, finish).end(), new Reply().event({ ...two, chatId: 'chat_2' }).end(), new Reply().event(yes, finish).end());
	const chat = new Chat(url, { fetch: site.fetch });
	await assert.rejects(chat.retry().next(), /nothing was asked/);
	await all(chat.send('First'));
	await all(chat.send('Second'));
	const again = chat.retry();
	// Nothing is forgotten before it is asked for again.
	assert.deepEqual([chat.turns.length, chat.chatId], [2, 'chat_2']);
	assert.deepEqual(await all(again), { seen: [yes, finish] });
	// The API has the second question in its chat already.
	assert.deepEqual(site.asked[2].question, { messages: [user('First'), assistant('One, '), user('Second')] });
	assert.deepEqual(chat.turns.map(told), [['First', 'One, ', 'done', undefined], ['Second', 'Yes.', 'done', undefined]]);
});

test('a question that is asked again leaves what the visitor is writing', async () => {
	const site = new Site(new Reply().event(one).end(), new Reply().event(yes, finish).end());
	const chat = new Chat(url, { fetch: site.fetch });
	await all(chat.send('Hello'));
	chat.draft = 'By the way';
	await all(chat.retry());
	assert.equal(chat.draft, 'By the way');
});

test('a new conversation has nothing of the one before', async () => {
	const site = new Site(new Reply().event({ ...one, chatId: 'chat_1' }, finish).end(), new Reply().event(yes, finish).end());
	const chat = new Chat(url, { fetch: site.fetch, messages: [user('Before')] });
	await all(chat.send('First'));
	chat.draft = 'and then';
	chat.reset();
	assert.deepEqual([chat.turns, chat.messages, chat.chatId, chat.draft, chat.openQuestion], [[], [], undefined, '', undefined]);
	await all(chat.send('Second'));
	assert.deepEqual(site.asked[1].question, { messages: [user('Second')] });
});

test('further fields and headers are asked for with each question', async () => {
	const site = new Site(new Reply().event(yes, finish).end(), new Reply().event(yes, finish).end());
	let n = 0;
	const chat = new Chat(url, {
		fetch: site.fetch,
		assistantId: 'asst_1',
		body: () => ({ language: `l${++n}`, messages: 'no', assistantId: 'no', chatId: 'no' }),
		headers: async () => ({ Authorization: `Bearer ${n}` }),
		credentials: 'include',
	});
	await all(chat.send('First'));
	await all(chat.send('Second'));
	assert.deepEqual(site.asked.map(({ question }) => question.language), ['l1', 'l2']);
	assert.deepEqual(site.asked.map(({ request }) => request.headers.get('Authorization')), ['Bearer 1', 'Bearer 2']);
	assert.deepEqual(site.asked[0].question, { language: 'l1', assistantId: 'asst_1', messages: [user('First')] });
	assert.equal(site.asked[0].request.credentials, 'include');

	site.then(new Reply().event(yes, finish).end());
	await all(new Chat(url, { fetch: site.fetch, body: { language: 'en' }, headers: { Authorization: 'x' } }).send('First'));
	assert.deepEqual([site.asked[2].question.language, site.asked[2].request.headers.get('Authorization')], ['en', 'x']);
});

test('what cannot be sent is the page\'s mistake, and no turn stays open', async () => {
	const loop = {};
	loop.loop = loop;
	const mistake = () => { throw new TypeError('a mistake'); };
	for (const [endpoint, content, options] of [
		[url, [loop], {}], ['http://[', 'Hello', {}], [url, 'Hello', { body: { loop } }], [url, 'Hello', { headers: mistake }], [url, 'Hello', { body: mistake }],
	]) {
		const site = new Site();
		const chat = new Chat(endpoint, { fetch: site.fetch, ...options });
		const { err } = await all(chat.send(content));
		assert.ok(err instanceof TypeError, String(err));
		assert.equal(site.asked.length, 0);
		assert.ok(chat.turns.every(({ state }) => state === 'failed'));
		assert.equal(chat.openQuestion, undefined);
		// The next question can be asked.
		assert.ok((await all(chat.send(content))).err instanceof TypeError);
	}
});

test('a question is sent as often as the page says, with its id', async (t) => {
	for (const [tries, want] of [[undefined, 3], [1, 1], [NaN, 1]]) {
		const clock = new Clock(t);
		const site = new Site(...Array.from({ length: 9 }, unreachable));
		const answer = all(new Chat(url, { fetch: site.fetch, tries }).send('Hello'));
		await clock.pass(100);
		assert.equal((await answer).err.code, 'unreachable:connection');
		assert.equal(site.asked.length, want);
		assert.equal(new Set(site.asked.map(({ id }) => id)).size, 1);
	}
});

test('a site that was seen to have resume is not waited for as long as another one', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().numbered(1, yes, finish).end(), silence(), resumable().numbered(1, yes, finish).end());
	const chat = new Chat(url, { fetch: site.fetch });
	await all(chat.send('First'));
	const second = all(chat.send('Second'));
	await clock.pass(50);
	assert.deepEqual((await second).seen, [yes, finish]);
	assert.equal(site.asked[1].id, site.asked[2].id);
});

test('the client needs no browser, and no randomness but that of the system', async (t) => {
	replace(t, 'sessionStorage', undefined);
	replace(t, 'BroadcastChannel', undefined);
	const site = new Site(resumable().numbered(1, yes, finish).end());
	assert.deepEqual(await all(new Chat(url, { fetch: site.fetch, storageKey: 'chat' }).send('Hello')), { seen: [yes, finish] });
});

test('a question whose connection was lost is asked again under its id, so that it is paid once', async (t) => {
	const clock = new Clock(t);
	const site = new Site(unreachable(), unreachable(), unreachable());
	const chat = new Chat(url, { fetch: site.fetch });
	const lost = all(chat.send('Hello'));
	await clock.pass(10);
	assert.equal((await lost).err.code, 'unreachable:connection');
	site.then(resumable().numbered(1, yes, finish).end());
	assert.deepEqual(await all(chat.retry()), { seen: [yes, finish] });
	assert.equal(new Set(site.posts.map(({ id }) => id)).size, 1);
});
