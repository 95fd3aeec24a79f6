import assert from 'node:assert/strict';
import test from 'node:test';
import { ChatError } from '../ai-sdk.js';
import { longerThan, refuse, startSite, until } from './site.mjs';
import { ask, majors, newPage, readAll, shown } from './sdk.mjs';

for (const [name, ai] of majors) {
	/** Starts a site and a page, and asks a question in a chat of the SDK. */
	const begin = async (t, { resume = true, ...options } = {}) => {
		const site = await startSite(t, { resume });
		const page = await newPage(ai, { url: site.url, ...options });
		const chat = page.chat();
		const sent = chat.sendMessage({ text: 'Hello' });
		return { site, page, chat, sent, answer: await site.question() };
	};

	/** Waits until a chat shows a text as its answer. */
	const shows = (chat, text) => until(() => shown(chat).at(-1) === `assistant: ${text}`, `the text ${text}`);

	test(`${name}: an answer is shown under the id of its stream`, async (t) => {
		const { chat, sent, answer } = await begin(t);
		assert.equal(chat.status, 'submitted');
		answer.send('Good ', 'day');
		await shows(chat, 'Good day');
		assert.equal(chat.status, 'streaming');
		answer.finish();
		await sent;
		assert.equal(chat.status, 'ready');
		assert.equal(chat.error, undefined);
		assert.equal(chat.messages[1].id, answer.id);
		assert.deepEqual(chat.messages[1].metadata, { finishReason: 'stop' });
		assert.deepEqual(answer.request.body, { messages: [{ role: 'user', content: 'Hello' }] });
	});

	test(`${name}: a reload in mid-answer shows the answer once, from its first word`, async (t) => {
		const { site, page, chat, answer } = await begin(t);
		answer.send('Good ', { type: 'tool-call', toolName: 'search', args: {} });
		await until(() => chat.messages[1]?.parts.length === 3, 'the tool');

		const after = (await page.reload()).chat({ messages: chat.messages });
		const resumed = after.resumeStream();
		answer.send({ type: 'tool-result', toolName: 'search', result: 1 }, 'day').finish();
		await resumed;
		assert.deepEqual(shown(after), ['user: Hello', 'assistant: Good day']);
		assert.deepEqual(after.messages[1].parts.map(({ type }) => type), ['step-start', 'text', 'dynamic-tool', 'text']);
		assert.equal(after.messages[1].id, answer.id);
		assert.equal(after.status, 'ready');
		assert.equal(site.paid.length, 1);
		assert.equal(site.count('DELETE'), 0);
	});

	test(`${name}: a component that is mounted twice, as in StrictMode, reads one answer`, async (t) => {
		const { site, page, chat: before, answer } = await begin(t, { stopAfter: 0.05 });
		answer.send('Good ');
		await shows(before, 'Good '); // so that the answer is known to have begun
		const chat = (await page.reload()).chat();
		// useChat of each mount: resume, stop on unmount, resume.
		const first = chat.resumeStream();
		const stopped = chat.stop();
		const second = chat.resumeStream();
		await Promise.all([first, stopped]);
		await shows(chat, 'Good ');
		await longerThan(0.05);
		answer.send('day').finish();
		await second;
		assert.deepEqual(shown(chat), ['assistant: Good day']);
		assert.equal(chat.status, 'ready');
		assert.equal(site.count('GET'), 1);
		assert.equal(site.count('DELETE'), 0);
		assert.equal(site.paid.length, 1);
	});

	test(`${name}: a route change and back reads on in the same answer, whichever instance the component makes`, async (t) => {
		const { site, page, chat, sent, answer } = await begin(t);
		answer.send('Good ');
		await shows(chat, 'Good ');
		await chat.stop(); // as an unmount does
		await sent;
		const back = page.chat({ messages: chat.messages });
		const resumed = back.resumeStream();
		await shows(back, 'Good ');
		await longerThan(1);
		answer.send('day').finish();
		await resumed;
		assert.deepEqual(shown(back), ['user: Hello', 'assistant: Good day']);
		assert.deepEqual(site.requests.map(({ method }) => method), ['POST']);
	});

	test(`${name}: useChat's stop() with resume: true stops the answer, and nothing brings it back`, async (t) => {
		const { site, page, chat, sent, answer } = await begin(t);
		answer.send('Good ');
		await shows(chat, 'Good ');
		await chat.stop();
		await sent;
		assert.equal(chat.status, 'ready');
		await until(() => answer.stopped, 'the DELETE');
		await chat.resumeStream();
		assert.equal(chat.status, 'ready');
		const after = (await page.reload()).chat({ messages: chat.messages });
		await after.resumeStream();
		assert.deepEqual(shown(after), ['user: Hello', 'assistant: Good ']);
		assert.equal(site.count('GET'), 0);
	});

	test(`${name}: useChat's stop() stops an answer that has not begun`, async (t) => {
		const { chat, sent, answer } = await begin(t);
		await chat.stop();
		await sent;
		assert.equal(chat.status, 'ready');
		assert.equal(chat.error, undefined);
		await until(() => answer.stopped, 'the DELETE');
	});

	test(`${name}: the transport's stop() ends useChat's answer as its own stop() does`, async (t) => {
		const { page, chat, sent, answer } = await begin(t);
		answer.send('Good ');
		await shows(chat, 'Good ');
		await page.transport().stop('one');
		assert.ok(answer.stopped);
		await sent;
		assert.equal(chat.status, 'ready');
		assert.equal(chat.error, undefined);
		assert.deepEqual(shown(chat), ['user: Hello', 'assistant: Good ']);
	});

	test(`${name}: an error in mid-answer is the error of the chat, after the text before it`, async (t) => {
		const { chat, sent, answer } = await begin(t);
		answer.send('Good ', { type: 'tool-call', toolName: 'search', args: {} }).finish('error', { error: 'The model broke.', code: 'bad_gateway:upstream' });
		await sent;
		assert.equal(chat.status, 'error');
		assert.ok(chat.error instanceof ChatError);
		assert.equal(chat.error.message, 'The model broke.');
		assert.equal(chat.error.code, 'bad_gateway:upstream');
		assert.equal(chat.error.status, 200);
		const [, text, tool] = chat.messages[1].parts;
		assert.deepEqual([text.text, text.state, tool.state], ['Good ', 'done', 'output-error']);
	});

	test(`${name}: a refusal is the error of the chat, with its code, status and Retry-After`, async (t) => {
		const site = await startSite(t);
		site.before = (_, res) => refuse(res, 429, 'rate_limit:chat', { 'Retry-After': '77' });
		const chat = (await newPage(ai, { url: site.url })).chat();
		await chat.sendMessage({ text: 'Hello' });
		const { error } = chat;
		assert.ok(error instanceof ChatError);
		assert.deepEqual([error.code, error.status, error.retryAfter], ['rate_limit:chat', 429, 77]);
		assert.equal(chat.status, 'error');
		assert.deepEqual(shown(chat), ['user: Hello']);
	});

	test(`${name}: an answer without any text or tool is an error`, async (t) => {
		const { chat, sent, answer } = await begin(t);
		answer.send('').finish();
		await sent;
		assert.equal(chat.error.code, 'empty:answer');
		assert.deepEqual(shown(chat), ['user: Hello']);
	});

	test(`${name}: an answer of tools alone is one`, async (t) => {
		const { chat, sent, answer } = await begin(t);
		answer.send({ type: 'tool-call', toolName: 'search', toolCallId: 'call', args: {} }, { type: 'tool-result', toolName: 'search', toolCallId: 'call', result: 1 }).finish();
		await sent;
		assert.equal(chat.error, undefined);
		assert.equal(chat.messages[1].parts[1].state, 'output-available');
		assert.equal(chat.messages.length, 2);
	});

	test(`${name}: the end of an answer is read again by nobody who has seen it`, async (t) => {
		const { site, page, chat, sent, answer } = await begin(t);
		answer.send('Good day').finish();
		await sent;
		await chat.resumeStream();
		await (await page.reload()).chat().resumeStream();
		assert.deepEqual(shown(chat), ['user: Hello', 'assistant: Good day']);
		assert.deepEqual(site.requests.map(({ method }) => method), ['POST']);
	});

	test(`${name}: regenerate asks anew, without the API's chat`, async (t) => {
		const { site, chat, sent, answer } = await begin(t);
		answer.send('Good day').finish('stop', { chatId: 'chat_1' });
		await sent;
		const again = chat.regenerate();
		const second = (await site.question(1)).send('Good evening').finish();
		await again;
		assert.deepEqual(second.request.body, { messages: [{ role: 'user', content: 'Hello' }] });
		assert.notEqual(second.id, answer.id);
		assert.deepEqual(shown(chat), ['user: Hello', 'assistant: Good evening']);
	});

	test(`${name}: readUIMessageStream reads the chunks`, async (t) => {
		const site = await startSite(t);
		const { transport } = await newPage(ai, { url: site.url });
		const asked = ask(transport());
		(await site.question()).send('Good ', 'day').finish();
		let last;
		for await (const message of ai.readUIMessageStream({ stream: await asked })) last = message;
		assert.deepEqual(last.parts, [{ type: 'step-start' }, { type: 'text', text: 'Good day', providerMetadata: undefined, state: 'done' }]);
	});
}
