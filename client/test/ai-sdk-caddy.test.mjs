import assert from 'node:assert/strict';
import test from 'node:test';
import { binary, startCaddy } from './caddy.mjs';
import { longerThan, until } from './site.mjs';
import { majors, newPage, newStore, shown } from './sdk.mjs';

const skip = binary ? false : 'ILLUMICHAT_CADDY names no binary (go build ./cmd/caddy)';

for (const [name, ai] of majors) {
	test(`${name} with a real Caddy`, { skip }, async (t) => {
		const { url, requests } = await startCaddy(t);
		const begin = async () => ({ page: await newPage(ai, { url }), paid: requests.length });
		const last = (chat) => shown(chat).at(-1);

		await t.test('an answer with tools, and the next one in the same chat', async () => {
			const { page } = await begin();
			const chat = page.chat();
			await chat.sendMessage({ text: 'What time is it?' });
			assert.equal(chat.error, undefined);
			const { parts } = chat.messages[1];
			assert.ok(parts.some(({ type, state }) => type === 'text' && state === 'done'));
			for (const part of parts) if (part.type === 'dynamic-tool') assert.equal(part.state, 'output-available');
			await chat.sendMessage({ text: '/turns' });
			assert.match(last(chat), /What time is it\?/);
			assert.match(chat.messages[1].id, /^[\w-]{22}$/);
		});

		await t.test('a reload in mid-answer', async () => {
			const { page, paid } = await begin();
			const chat = page.chat();
			chat.sendMessage({ text: '/events 100' });
			await until(() => last(chat)?.startsWith('assistant: ') && last(chat).length > 20);
			const after = (await page.reload()).chat({ messages: chat.messages });
			await after.resumeStream();
			assert.equal(after.error, undefined);
			assert.equal(after.messages.length, 2);
			await until(() => chat.status === 'ready');
			assert.equal(last(after), last(chat));
			assert.equal(requests.length, paid + 1);
		});

		await t.test('a reload before the first word', async () => {
			const { page, paid } = await begin();
			page.chat().sendMessage({ text: '/slow 300ms' });
			await until(() => requests.length === paid + 1);
			const after = (await page.reload()).chat();
			await after.resumeStream();
			assert.equal(after.error, undefined);
			assert.equal(after.messages.length, 1);
			assert.equal(requests.length, paid + 1);
		});

		for (const [what, command, isThere] of [
			['in mid-answer', '/endless', (chat) => chat.messages.length === 2],
			['before the first word', '/hang', () => true],
			['before the response', '/silent', () => true],
		]) {
			await t.test(`useChat's stop() cancels the request upstream, ${what}`, async () => {
				const { page, paid } = await begin();
				const chat = page.chat();
				const sent = chat.sendMessage({ text: command });
				await until(() => requests.length === paid + 1 && isThere(chat));
				await chat.stop();
				await sent;
				assert.equal(chat.error, undefined);
				await until(() => requests[paid].canceled, 'the upstream request is canceled');
			});
		}

		await t.test('the transport\'s stop() cancels the request upstream', async () => {
			const { page, paid } = await begin();
			const chat = page.chat();
			const sent = chat.sendMessage({ text: '/endless' });
			await until(() => chat.messages.length === 2);
			await page.transport().stop('one');
			await sent;
			await until(() => requests[paid].canceled, 'the upstream request is canceled');
		});

		await t.test('a route change and back', async () => {
			const { page, paid } = await begin();
			const chat = page.chat();
			chat.sendMessage({ text: '/events 150' });
			await until(() => chat.messages.length === 2);
			await chat.stop();
			const back = page.chat({ messages: chat.messages });
			await back.resumeStream();
			assert.equal(back.error, undefined);
			assert.equal(back.messages.length, 2);
			assert.ok(last(back).length > last(chat).length);
			await longerThan(1);
			assert.equal(requests[paid].canceled, false);
			assert.equal(requests.length, paid + 1);
		});

		await t.test('a chat that the API has forgotten', async () => {
			const store = newStore();
			const page = await newPage(ai, { url, store });
			const before = page.chat();
			await before.sendMessage({ text: 'Remember the tulips' });
			const [[key, kept]] = store.values;
			assert.match(kept, /"chatId":"chat_/);
			store.set(key, kept.replace(/"chat_\w+"/, '"chat_gone"'));
			const chat = (await page.reload()).chat({ messages: before.messages });
			await chat.sendMessage({ text: '/turns' });
			assert.equal(chat.error, undefined);
			assert.match(last(chat), /tulips/);
		});

		await t.test('an error in mid-answer, and a refusal', async () => {
			const { page } = await begin();
			const chat = page.chat();
			await chat.sendMessage({ text: '/error' });
			assert.equal(chat.error.status, 200);
			await chat.sendMessage({ text: '/status 400' });
			assert.equal(chat.error.status, 400);
			assert.ok(chat.error.code);
		});
	});
}

test('at a site without resume, useChat\'s stop() cancels the request upstream', { skip }, async (t) => {
	const { url, requests } = await startCaddy(t, '');
	const chat = (await newPage(majors[0][1], { url })).chat();
	const sent = chat.sendMessage({ text: '/endless' });
	await until(() => chat.messages.length === 2);
	await chat.stop();
	await sent;
	await until(() => requests[0].canceled, 'the upstream request is canceled');
});
