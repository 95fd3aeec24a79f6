import assert from 'node:assert/strict';
import test from 'node:test';
import { ChatError } from '../ai-sdk.js';
import { refuse, startSite } from './site.mjs';
import { ask, newPage, readAll, user } from './sdk.mjs';

const assistant = (text, id = text) => ({ id, role: 'assistant', parts: [{ type: 'step-start' }, { type: 'text', text }] });

/** Starts a site and a page. `say` asks, lets the site answer, and returns the body that the site got. */
async function begin(t, options = {}) {
	const site = await startSite(t);
	const page = await newPage(undefined, { url: site.url, ...options });
	let said = 0;
	const say = async (messages, text = 'Answer', chatId = 'chat_1', reason = 'stop') => {
		const asked = ask(page.transport(), messages);
		const answer = await site.question(said++);
		if (text) answer.send(text);
		answer.finish(reason, { chatId, error: 'broke' });
		await readAll(await asked).catch(() => {});
		return answer.request.body;
	};
	return { site, page, say };
}

const q1 = user('One');
const a1 = assistant('Answer');
const q2 = user('Two');
const a2 = assistant('Answer', 'second');

test('the next question continues the API\'s chat, whose id is not useChat\'s', async (t) => {
	const { say } = await begin(t);
	assert.equal((await say([q1])).chatId, undefined);
	const body = await say([q1, a1, q2], 'Answer', 'chat_2');
	assert.equal(body.chatId, 'chat_1');
	assert.deepEqual(body.messages.map(({ content }) => content), ['One', 'Answer', 'Two']);
	assert.equal((await say([q1, a1, q2, a2, user('Three')])).chatId, 'chat_2');
});

test('the API\'s chat is known after a reload of the page', async (t) => {
	const { site, page, say } = await begin(t);
	await say([q1]);
	ask((await page.reload()).transport(), [q1, a1, q2]);
	assert.equal((await site.question(1)).request.body.chatId, 'chat_1');
});

test('the chat\'s id in the response headers counts, too', async (t) => {
	const { site, say } = await begin(t);
	site.headers = { 'X-Chat-Id': 'chat_7' };
	await say([q1], 'Answer', null);
	assert.equal((await say([q1, a1, q2])).chatId, 'chat_7');
});

for (const [what, messages] of [
	['regenerate', [q1]],
	['an edited question', [user('Another')]],
	['an edited question before the last one', [user('Another', 'One'), a1, q2]],
	['an edited answer', [q1, assistant('Something else', 'Answer'), q2]],
	['a message that was left out', [q2]],
	['a question that the API has not seen', [q1, a1, user('Refused'), q2]],
	['an answer that the page has added', [q1, a1, assistant('More'), q2]],
]) {
	test(`${what} omits the API's chat and sends the history`, async (t) => {
		const { say } = await begin(t);
		await say([q1]);
		const body = await say(messages, 'Answer', 'chat_9');
		assert.equal('chatId' in body, false);
		assert.equal(body.messages.length, messages.length);
		assert.equal((await say([...messages, a2, user('Next')])).chatId, 'chat_9', 'the new chat is continued');
	});
}

test('after a chat that has told no id, the one before it is not continued', async (t) => {
	const { say } = await begin(t);
	await say([q1]);
	await say([user('Another')], 'Answer', null);
	assert.equal('chatId' in await say([user('Another'), a1, q2]), false);
});

test('a regenerated last answer omits the API\'s chat', async (t) => {
	const { say } = await begin(t);
	await say([q1]);
	await say([q1, a1, q2]);
	assert.equal('chatId' in await say([q1, a1, q2]), false);
});

test('a question that was refused is asked again in the API\'s chat, which has not seen it', async (t) => {
	const { site, page, say } = await begin(t);
	await say([q1]);
	site.before = (_, res) => refuse(res, 429, 'rate_limit:chat', { 'Retry-After': '77' });
	await assert.rejects(ask(page.transport(), [q1, a1, q2]), { code: 'rate_limit:chat' });
	site.before = () => false;
	assert.equal((await say([q1, a1, q2])).chatId, 'chat_1');
});

test('after an answer that broke off the API\'s chat goes on, whatever part of it the page shows', async (t) => {
	const { site, say } = await begin(t);
	site.headers = { 'X-Chat-Id': 'chat_1' };
	await say([q1], 'Answer', 'chat_1', 'error');
	assert.equal((await say([q1, assistant('Ans'), q2])).chatId, 'chat_1');
});

test('a chat that the API has forgotten is dropped, and the history is sent, once', async (t) => {
	const { site, page, say } = await begin(t);
	await say([q1]);
	site.before = ({ body }, res) => body.chatId && refuse(res, 404, 'not_found:chat');
	const body = await say([q1, a1, q2], 'Answer', 'chat_2');
	assert.equal('chatId' in body, false);
	assert.deepEqual(body.messages.map(({ content }) => content), ['One', 'Answer', 'Two']);
	assert.equal(site.requests.length, 3);
	const ids = site.requests.map(({ headers }) => headers['illumichat-stream']);
	assert.equal(new Set(ids).size, 3, 'each question has an id of its own');

	site.before = (_, res) => refuse(res, 404, 'not_found:chat');
	await assert.rejects(ask(page.transport(), [q1, a1, q2, a2, user('Three')]), { code: 'not_found:chat', status: 404 });
	assert.equal(site.requests.length, 5);
});

test('only text is sent, and messages without any are left out', async (t) => {
	const { say } = await begin(t);
	const file = { type: 'file', mediaType: 'image/png', url: 'data:,' };
	const tool = { type: 'dynamic-tool', toolName: 'search', toolCallId: 'x', state: 'output-available', input: {}, output: 1 };
	const body = await say([
		{ id: '1', role: 'user', parts: [file, { type: 'text', text: 'Look' }, { type: 'text', text: 'here' }] },
		{ id: '2', role: 'assistant', parts: [{ type: 'step-start' }, { type: 'text', text: 'It is ' }, tool, { type: 'reasoning', text: 'hm' }, { type: 'text', text: 'so.' }] },
		{ id: '3', role: 'user', parts: [file] },
		{ id: '4', role: 'assistant', parts: [] },
		{ id: '5', role: 'assistant', parts: [{ type: 'text', text: '' }, tool] },
		{ id: '6', role: 'user', parts: [{ type: 'text', text: 'Why?' }], metadata: { a: 1 } },
	]);
	assert.deepEqual(body.messages, [
		{ role: 'user', content: 'Look\nhere' },
		{ role: 'assistant', content: 'It is so.' },
		{ role: 'user', content: 'Why?' },
	]);
});

test('a half of a surrogate pair is replaced, and the chat goes on after it', async (t) => {
	const { say } = await begin(t);
	const cut = user('cut \ud83d', 'cut');
	assert.equal((await say([cut, user('ok 😀')], 'half \ude00')).messages[0].content, 'cut \ufffd');
	assert.equal((await say([cut, user('ok 😀'), assistant('half \ude00'), q2])).chatId, 'chat_1');
});

test('a message without any text is refused before it is sent', async (t) => {
	const { site, page } = await begin(t);
	const file = { id: '1', role: 'user', parts: [{ type: 'file', mediaType: 'image/png', url: 'data:,' }] };
	for (const messages of [[q1, a1, file], [user('')], []]) {
		await assert.rejects(ask(page.transport(), messages), (err) => err instanceof ChatError && err.code === 'bad_request:page');
	}
	assert.equal(site.requests.length, 0);
});

test('the options and the call both add fields and headers, and neither changes the messages', async (t) => {
	let token = 0;
	const { site, page } = await begin(t, {
		assistantId: 'asst_1',
		headers: async () => ({ Authorization: `Bearer ${++token}`, 'X-Both': 'page' }),
		body: () => ({ locale: 'de', both: 'page', messages: 'mine' }),
	});
	ask(page.transport(), [q1], { headers: { 'X-Call': 'yes', 'X-Both': 'call' }, body: { both: 'call', chatId: 'mine' } });
	const { headers, body } = (await site.question()).request;
	assert.deepEqual(body, { assistantId: 'asst_1', locale: 'de', both: 'call', messages: [{ role: 'user', content: 'One' }] });
	assert.deepEqual([headers.authorization, headers['x-call'], headers['x-both']], ['Bearer 1', 'yes', 'call']);
	ask(page.transport(), [q1, q2], { chatId: 'two' });
	assert.equal((await site.question(1)).request.headers.authorization, 'Bearer 2');
});

test('an error of the page\'s own functions is the error of the chat', async (t) => {
	const { page } = await begin(t, { headers: () => Promise.reject(new Error('no login')) });
	await assert.rejects(ask(page.transport(), [q1]), { message: 'no login' });
});

test('the fetch and the credentials of the options are used', async (t) => {
	const requests = [];
	const { site, page } = await begin(t, {
		credentials: 'include',
		fetch: (request) => {
			requests.push(request);
			return fetch(request);
		},
	});
	ask(page.transport(), [q1]);
	await site.question();
	assert.deepEqual(requests.map(({ method, credentials }) => [method, credentials]), [['POST', 'include']]);
});

test('history bounds how many messages are sent', async (t) => {
	const { say } = await begin(t, { history: 3 });
	const body = await say([q1, a1, q2, a2, user('Three')]);
	assert.deepEqual(body.messages.map(({ content }) => content), ['Two', 'Answer', 'Three']);
});

for (const [most, messages, sent] of [
	[2, [q1, a1, q2, a2, user('Three')], ['Three']],
	[3, [q1, a1, q2, a2, user('Three'), assistant('Answer', 'third'), user('Four')], ['Three', 'Answer', 'Four']],
	[1, [q1, q2], ['Two']],
]) {
	test(`of a conversation of ${messages.length} messages, of which the site takes ${most}, less is sent`, async (t) => {
		const { site, say } = await begin(t);
		site.before = ({ body }, res) => body.messages.length > most && refuse(res, 413, 'too_many_messages:chat');
		assert.deepEqual((await say(messages)).messages.map(({ content }) => content), sent);
		assert.equal(site.requests.length, 2);
		assert.equal(site.paid.length, 1);
	});
}

test('a question that is too large by itself is refused', async (t) => {
	const { site, page } = await begin(t);
	site.before = (_, res) => refuse(res, 413, 'too_large:chat');
	await assert.rejects(ask(page.transport(), [q1]), { code: 'too_large:chat', status: 413 });
	assert.equal(site.requests.length, 1);
});
