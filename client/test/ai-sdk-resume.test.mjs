import assert from 'node:assert/strict';
import test from 'node:test';
import { longerThan, refuse, startSite, until } from './site.mjs';
import { ask, newPage, newStore, readAll, user } from './sdk.mjs';

/** Starts a site and a page. */
async function begin(t, { resume = true, ...options } = {}) {
	const site = await startSite(t, { resume });
	const page = await newPage(undefined, { url: site.url, ...options });
	return { site, page };
}

const methods = (site) => site.requests.map(({ method }) => method);
const reconnect = (page, options) => page.transport(options).reconnectToStream({ chatId: 'one' });
const text = (chunks) => chunks.map(({ delta = '' }) => delta).join('');

/** Reads a stream until it has a text. */
async function readUntil(stream, wanted) {
	const reader = stream.getReader();
	for (let read = ''; read !== wanted;) read += (await reader.read()).value.delta ?? '';
	return reader;
}

test('there is nothing to reconnect to before a question', async (t) => {
	const { site, page } = await begin(t);
	assert.equal(await reconnect(page), null);
	assert.equal(site.requests.length, 0);
});

test('an answer that the site keeps no longer is nothing to reconnect to', async (t) => {
	const { site, page } = await begin(t);
	const asked = ask(page.transport());
	const answer = (await site.question()).send('Good ');
	await readUntil(await asked, 'Good ');
	answer.forgotten = true;
	assert.equal(await reconnect(await page.reload()), null);
	assert.equal(await reconnect(await page.reload()), null);
	assert.equal(site.count('GET'), 1, 'nobody asks for it again');
});

test('a question whose POST was lost is sent again after a reload, under its id', async (t) => {
	const { site, page } = await begin(t);
	let lost = 0;
	site.before = ({ method }, res) => method === 'POST' && !lost++ && res.destroy();
	ask(page.transport(), undefined, { body: { locale: 'de' } });
	await until(() => lost === 1);
	const stream = await reconnect(await page.reload());
	assert.notEqual(stream, null, 'the page can wait for the answer');
	const answer = (await site.question()).send('Good day').finish();
	const chunks = await readAll(stream);
	assert.equal(text(chunks), 'Good day');
	assert.equal(chunks[0].messageId, answer.id);
	assert.equal(answer.id, site.requests[0].headers['illumichat-stream']);
	assert.deepEqual(answer.request.body, site.requests[0].body);
	assert.equal(site.count('GET'), 0);
});

test('a question whose response was not seen before a reload is paid for once', async (t) => {
	const { site, page } = await begin(t);
	ask(page.transport());
	const answer = await site.question();
	const stream = await reconnect(await page.reload());
	await until(() => site.count('POST') === 2);
	answer.send('Good day').finish();
	assert.equal(text(await readAll(stream)), 'Good day');
	assert.equal(site.paid.length, 1);
	assert.deepEqual(methods(site), ['POST', 'POST']);
});

test('a question that got no response is not asked again after a minute', async (t) => {
	const { site, page } = await begin(t);
	site.before = ({ method }, res) => method === 'POST' && res.destroy();
	ask(page.transport());
	await until(() => site.count('POST') === 1);
	t.mock.timers.enable({ apis: ['Date'], now: Date.now() + 61_000 });
	assert.equal(await reconnect(await page.reload()), null);
	assert.equal(site.count('GET'), 1);
	assert.equal(site.paid.length, 0);
});

test('a reload after the response headers continues by the id, and keeps no question', async (t) => {
	const store = newStore();
	const { site, page } = await begin(t, { store });
	const asked = ask(page.transport(), [user('a secret')]);
	const kept = () => JSON.stringify([...store.values]);
	await until(() => kept().includes('a secret'));
	const answer = (await site.question()).open();
	await asked;
	assert.doesNotMatch(kept(), /a secret/);
	const resumed = reconnect(await page.reload());
	await until(() => site.count('GET') === 1);
	answer.send('Good day').finish();
	assert.equal(text(await readAll(await resumed)), 'Good day');
	assert.deepEqual(site.requests[1].query, { stream: answer.id, after: '0' });
});

test('an answer that is complete but was not seen is read again after a reload', async (t) => {
	const { site, page } = await begin(t);
	const asked = ask(page.transport());
	const answer = (await site.question()).send('Good ');
	await readUntil(await asked, 'Good ');
	const reloaded = await page.reload();
	answer.send('day').finish();
	assert.equal(text(await readAll(await reconnect(reloaded))), 'Good day');
	assert.equal(await reconnect(reloaded), null);
});

test('an answer that the site cannot give at the moment is asked for again', async (t) => {
	const { site, page } = await begin(t);
	const asked = ask(page.transport());
	const answer = (await site.question()).send('Good ');
	await readUntil(await asked, 'Good ');
	let refused = 0;
	site.before = ({ method }, res) => method === 'GET' && !refused++ && refuse(res, 503, 'unavailable:store');
	const stream = await reconnect(await page.reload());
	answer.send('day').finish();
	assert.equal(text(await readAll(stream)), 'Good day');
});

test('what forbids to read an answer is an error, and the answer can be read when it is gone', async (t) => {
	const { site, page } = await begin(t);
	const asked = ask(page.transport());
	const answer = (await site.question()).send('Good ');
	await readUntil(await asked, 'Good ');
	const reloaded = await page.reload();
	site.before = ({ method }, res) => method === 'GET' && refuse(res, 401, 'unauthorized:site');
	await assert.rejects(reconnect(reloaded), { code: 'unauthorized:site', status: 401 });
	site.before = () => false;
	answer.send('day').finish();
	assert.equal(text(await readAll(await reconnect(reloaded))), 'Good day');
});

test('a lost connection is replaced, after the last event', async (t) => {
	const waits = [];
	const { site, page } = await begin(t, { onReconnect: (err) => waits.push(err.code) });
	const asked = ask(page.transport());
	const answer = (await site.question()).send('Good ');
	const reader = await readUntil(await asked, 'Good ');
	answer.cut();
	await until(() => site.count('GET') === 1 && answer.isRead);
	answer.send('day').finish();
	reader.releaseLock();
	assert.equal(text(await readAll(await asked)), 'day');
	assert.equal(site.requests[1].query.after, '1');
	assert.deepEqual(waits, ['broken:connection']);
});

test('a question whose connections were all lost is asked again under its id', async (t) => {
	const { site, page } = await begin(t, { tries: 1 });
	site.before = ({ method }, res) => method === 'POST' && site.count('POST') === 1 && res.destroy();
	await assert.rejects(ask(page.transport()), { code: 'unreachable:connection' });
	ask(page.transport());
	await until(() => site.paid.length === 1);
	assert.equal(new Set(site.requests.map(({ headers }) => headers['illumichat-stream'])).size, 1);
});

test('a question is asked again before its answer begins, and onRetry says so', async (t) => {
	const retries = [];
	const { site, page } = await begin(t, { onRetry: (err) => retries.push(err.status) });
	site.before = ({ method }, res) => method === 'POST' && site.count('POST') === 1 && refuse(res, 503, 'overloaded:chat');
	const asked = ask(page.transport());
	(await site.question()).send('Good day').finish();
	assert.equal(text(await readAll(await asked)), 'Good day');
	assert.deepEqual(retries, [503]);
});

for (const [what, other] of [
	['URL', (site) => ({ url: `${site.url}?other` })],
	['assistant', () => ({ assistantId: 'asst_2' })],
	['owner', () => ({ owner: 'user 2' })],
]) {
	test(`the answer of another ${what} is not shown, in the same page and after a reload`, async (t) => {
		const { site, page } = await begin(t, { assistantId: 'asst_1', owner: 'user 1' });
		const asked = ask(page.transport());
		const answer = (await site.question()).send('Good ');
		await readUntil(await asked, 'Good ');
		assert.equal(await reconnect(page, other(site)), null);
		assert.equal(await reconnect(await page.reload(), other(site)), null);
		assert.equal(site.count('GET'), 0);
		answer.finish();
	});
}

test('the next owner of the tab finds nothing of the one before', async (t) => {
	const store = newStore();
	const { site, page } = await begin(t, { owner: 'user 1', store });
	ask(page.transport(), [user('a secret')]);
	await site.question();
	await reconnect(await page.reload(), { owner: 'user 2' });
	assert.doesNotMatch(JSON.stringify([...store.values]), /a secret/);
});

test('chats do not see each other\'s answers', async (t) => {
	const { site, page } = await begin(t);
	ask(page.transport());
	const answer = await site.question();
	assert.equal(await page.transport().reconnectToStream({ chatId: 'two' }), null);
	await page.transport().stop('two');
	assert.equal(answer.stopped, false);
});

test('an abort stops the answer only after a moment', async (t) => {
	const { site, page } = await begin(t);
	const controller = new AbortController();
	const asked = ask(page.transport(), undefined, { abortSignal: controller.signal });
	const answer = (await site.question()).send('Good ');
	const reader = await readUntil(await asked, 'Good ');
	const begun = performance.now();
	controller.abort();
	await assert.rejects(reader.read(), { name: 'AbortError' });
	await until(() => answer.stopped, 'the DELETE');
	assert.ok(performance.now() - begun >= 990, 'it waits a second');
	assert.equal(await reconnect(page), null);
	assert.equal(await reconnect(await page.reload()), null);
});

test('an abort before the response headers ends the call at once', async (t) => {
	const { site, page } = await begin(t);
	const controller = new AbortController();
	const asked = ask(page.transport(), undefined, { abortSignal: controller.signal });
	const answer = await site.question();
	controller.abort();
	await assert.rejects(asked, { name: 'AbortError' });
	await until(() => answer.stopped, 'the DELETE');
});

test('a call that is aborted before it begins stops what it has begun', async (t) => {
	const { site, page } = await begin(t, { stopAfter: 0.01 });
	await assert.rejects(ask(page.transport(), undefined, { abortSignal: AbortSignal.abort() }), { name: 'AbortError' });
	await until(() => site.paid.every(({ stopped }) => stopped) && site.count('DELETE') > 0, 'the DELETE');
});

test('an answer whose stream is canceled is stopped, too', async (t) => {
	const { site, page } = await begin(t, { stopAfter: 0.01 });
	const asked = ask(page.transport());
	const answer = (await site.question()).send('Good ');
	await (await asked).cancel();
	await until(() => answer.stopped, 'the DELETE');
});

test('while one reader is left, the answer goes on', async (t) => {
	const { site, page } = await begin(t, { stopAfter: 0.01 });
	const asked = ask(page.transport());
	const answer = (await site.question()).send('Good ');
	const other = await reconnect(page);
	await (await asked).cancel();
	await longerThan(0.01);
	answer.send('day').finish();
	assert.equal(text(await readAll(other)), 'Good day');
	assert.equal(site.count('DELETE'), 0);
});

test('with stopAfter: Infinity an abort stops nothing, and the answer is there when the page comes back', async (t) => {
	const { site, page } = await begin(t, { stopAfter: Infinity });
	const controller = new AbortController();
	const asked = ask(page.transport(), undefined, { abortSignal: controller.signal });
	const answer = (await site.question()).send('Good ');
	await readUntil(await asked, 'Good ');
	controller.abort();
	await longerThan(0.1);
	answer.send('day').finish();
	await until(() => !answer.isRead);
	assert.equal(text(await readAll(await reconnect(page))), 'Good day');
	assert.deepEqual(methods(site), ['POST']);
});

test('a page that is left within the moment stops the answer, and one that reads does not', async (t) => {
	const window = new EventTarget();
	for (const name of ['addEventListener', 'removeEventListener']) {
		globalThis[name] = window[name].bind(window);
		t.after(() => delete globalThis[name]);
	}
	const sent = [];
	const { site, page } = await begin(t, {
		stopAfter: 600,
		fetch: (request) => {
			sent.push(request.method);
			return fetch(request);
		},
	});
	const asked = ask(page.transport());
	const answer = (await site.question()).send('Good ');
	const stream = await asked;
	window.dispatchEvent(new Event('pagehide'));
	const other = await reconnect(page);
	await stream.cancel();
	window.dispatchEvent(new Event('pagehide'));
	await longerThan(0.05);
	assert.equal(site.count('DELETE'), 0);
	await other.cancel();
	window.dispatchEvent(new Event('pagehide'));
	for (let i = 0; i < 50; i++) await undefined;
	assert.equal(sent.at(-1), 'DELETE', 'it is sent before any timer, which a page that is left does not run');
	await until(() => answer.stopped, 'the DELETE');
});

test('stop() stops an answer at once, before its response headers', async (t) => {
	const { site, page } = await begin(t);
	const asked = ask(page.transport());
	const answer = await site.question();
	await page.transport().stop('one');
	assert.ok(answer.stopped);
	await assert.rejects(asked, { name: 'AbortError' });
	assert.equal(await reconnect(page), null);
});

test('stop() stops a question between two attempts', async (t) => {
	const { site, page } = await begin(t);
	site.before = ({ method }, res) => method === 'POST' && refuse(res, 503, 'overloaded:chat');
	const asked = ask(page.transport());
	await until(() => site.count('POST') === 1);
	const stopped = page.transport().stop('one');
	await assert.rejects(asked, { name: 'AbortError' });
	await stopped;
	assert.equal(site.count('POST'), 1);
});

test('stop() stops an answer whose connection was lost', async (t) => {
	const { site, page } = await begin(t);
	const asked = ask(page.transport());
	const answer = (await site.question()).send('Good ');
	const reader = await readUntil(await asked, 'Good ');
	site.before = ({ method }, res) => method === 'GET' && res.destroy();
	answer.cut();
	await page.transport().stop('one');
	assert.ok(answer.stopped);
	reader.releaseLock();
	await assert.rejects(async () => readAll(await asked), { name: 'AbortError' });
});

test('stop() stops the answer that was going on before a reload', async (t) => {
	const { site, page } = await begin(t);
	ask(page.transport());
	const answer = await site.question();
	const reloaded = await page.reload();
	await reloaded.transport().stop('one');
	assert.ok(answer.stopped);
	assert.equal(await reconnect(reloaded), null);
});

test('stop() without an answer does nothing', async (t) => {
	const { site, page } = await begin(t);
	await page.transport().stop('one');
	assert.equal(site.requests.length, 0);
});

test('stop() has the headers of the question', async (t) => {
	const { site, page } = await begin(t);
	ask(page.transport(), undefined, { headers: { Authorization: 'Bearer 1' } });
	await site.question();
	await page.transport().stop('one');
	assert.equal(site.requests.at(-1).headers.authorization, 'Bearer 1');
});

test('the next question stops an answer that nobody reads', async (t) => {
	const { site, page } = await begin(t, { stopAfter: Infinity });
	const asked = ask(page.transport());
	const first = (await site.question()).send('Good ');
	await (await asked).cancel();
	ask(page.transport(), [user('Another')]);
	await until(() => first.stopped, 'the DELETE');
	assert.equal((await site.question(1)).stopped, false);
});

test('a regenerated answer is a new one, although the stopped one was still going on', async (t) => {
	const { site, page } = await begin(t, { stopAfter: 600 });
	const asked = ask(page.transport());
	const first = (await site.question()).send('Good ');
	await (await asked).cancel();
	ask(page.transport());
	assert.notEqual((await site.question(1)).id, first.id);
	await until(() => first.stopped, 'the DELETE');
});

test('at a site without resume, an abort closes the connection, and sends no DELETE', async (t) => {
	const { site, page } = await begin(t, { resume: false, stopAfter: 0.01 });
	const controller = new AbortController();
	const asked = ask(page.transport(), undefined, { abortSignal: controller.signal });
	const answer = (await site.question()).send('Good ');
	await readUntil(await asked, 'Good ');
	controller.abort();
	await until(() => answer.request.closed, 'the end of the connection');
	await longerThan(0.05);
	assert.deepEqual(methods(site), ['POST']);
});

test('at a site without resume, StrictMode\'s second mount reads on', async (t) => {
	const { site, page } = await begin(t, { resume: false });
	const controller = new AbortController();
	const asked = ask(page.transport(), undefined, { abortSignal: controller.signal });
	const answer = (await site.question()).send('Good ');
	await readUntil(await asked, 'Good ');
	controller.abort();
	const stream = await reconnect(page);
	answer.send('day').finish();
	const chunks = await readAll(stream);
	assert.equal(text(chunks), 'Good day');
	assert.ok(chunks[0].messageId);
	assert.equal(await reconnect(await page.reload()), null);
});

for (const [what, store] of [
	['is missing', undefined],
	['throws', { get() { throw new Error('no'); }, set() { throw new Error('no'); }, remove() { throw new Error('no'); } }],
]) {
	test(`where the storage ${what}, everything but a reload works`, async (t) => {
		const site = await startSite(t);
		const { IllumichatTransport } = await import('../ai-sdk.js');
		assert.equal(globalThis.sessionStorage, undefined, 'this Node has no storage');
		const page = { transport: () => new IllumichatTransport({ url: site.url, store }) };
		const asked = ask(page.transport());
		const answer = (await site.question()).send('Good ');
		const stream = await asked;
		const again = await reconnect(page);
		answer.send('day').finish('stop', { chatId: 'chat_1' });
		assert.equal(text(await readAll(stream)), 'Good day');
		assert.equal(text(await readAll(again)), 'Good day');
		ask(page.transport(), [user('Hello'), { id: '2', role: 'assistant', parts: [{ type: 'text', text: 'Good day' }] }, user('Two')]);
		assert.equal((await site.question(1)).request.body.chatId, 'chat_1');
	});
}

test('an answer that was stopped elsewhere is not taken for a complete one', async (t) => {
	const { site, page } = await begin(t);
	const stream = ask(page.transport());
	(await site.question()).send('Good ').finish('stop', { code: 'stopped:visitor' });
	await assert.rejects(readAll(await stream), { code: 'stopped:visitor' });
});

test('a regenerated answer is a new one, although nobody has read the end of the one before', async (t) => {
	const { site, page } = await begin(t, { stopAfter: Infinity });
	const asked = ask(page.transport());
	const first = (await site.question()).send('Good ');
	await (await asked).cancel();
	first.finish();
	await until(() => !first.isRead, 'the end of the answer');
	await longerThan(0.05); // until the transport has read it
	ask(page.transport());
	assert.notEqual((await site.question(1)).id, first.id);
});

test('a question in a duplicated tab leaves the answer of the first tab alone', async (t) => {
	const { site, page } = await begin(t);
	const asked = ask(page.transport());
	const first = (await site.question()).send('Good ');
	await readUntil(await asked, 'Good ');
	const twin = await page.reload();
	ask(twin.transport(), [user('Another')]);
	await site.question(1);
	await longerThan(0.05);
	assert.deepEqual([first.stopped, methods(site)], [false, ['POST', 'POST']]);
});

test('an answer that is too large for a page is not asked for again', async (t) => {
	const { site, page } = await begin(t);
	const asked = ask(page.transport());
	const first = (await site.question()).send('x'.repeat(17 * 1024 * 1024));
	await assert.rejects(readAll(await asked), { code: 'too_large:answer' });
	ask(page.transport());
	assert.notEqual((await site.question(1)).id, first.id);
});
