/** An answer is read to its end, without a gap or a repeat, over as many connections as it takes. */
import assert from 'node:assert/strict';
import { test } from 'node:test';

import { followAnswer, openAnswer } from '../lib/answer.js';
import { Browser, Clock, replace } from './browser.mjs';
import { Reply, Site, all, delta, failed, finish, finishOfStep, one, read, resumable, settle, silence, three, two, unreachable, url } from './scripted.mjs';

const question = { messages: [{ role: 'user', content: 'Hello' }] };
const id = 'AAAAAAAAAAAAAAAAAAAAAA';

/** Asks, and reads the answer. */
const ask = (site, options) => read(openAnswer(url, question, { ...options, fetch: site.fetch, id }));

/** Continues an answer after an event, and reads it. */
const follow = (site, options) => read(followAnswer(url, id, { ...options, fetch: site.fetch }));

test('text after the finish is handed out, and a second finish is not', async () => {
	const { seen, err } = await ask(new Site(new Reply().event(one, finish, finish, delta('after')).end()));
	assert.deepEqual([seen, err], [[one, finish, delta('after')], undefined]);
});

test('an answer that is finished may break', async () => {
	for (const reply of [new Reply(), resumable()]) {
		const site = new Site(reply.event(one, finish));
		const answer = ask(site);
		await settle();
		site.asked[0].break();
		const { seen, err } = await answer;
		assert.deepEqual([seen, err, site.asked.length], [[one, finish], undefined, 1]);
	}
});

test('an answer goes on after the finish of a step that calls tools', async () => {
	for (const finishReason of ['tool-calls', 'tool_calls']) {
		const step = { type: 'finish', finishReason };
		assert.deepEqual((await ask(new Site(new Reply().event(step, one, step, two, finish).end()))).seen, [step, one, step, two, finish]);
		// Such a finish is the last one if nothing follows.
		assert.deepEqual(await ask(new Site(new Reply().event(one, step).end())).then(({ seen, err }) => [seen, err]), [[one, step], undefined]);
		assert.equal((await ask(new Site(new Reply().event(step, one).end()))).err.code, 'closed:connection');
		assert.equal((await ask(new Site(new Reply().event(step).break()))).err.code, 'broken:connection');
	}
});

test('a connection that breaks between two steps is replaced', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().numbered(1, one, finishOfStep), resumable().numbered(3, two, finish).end());
	const answer = ask(site);
	await settle();
	site.asked[0].break();
	await clock.pass(1);
	assert.deepEqual((await answer).seen, [one, finishOfStep, two, finish]);
	assert.equal(site.asked[1].after, '2');
});

test('a step that was the last one ends the answer, though its connection broke', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().numbered(1, one, finishOfStep), new Reply({ status: 204 }));
	const answer = ask(site);
	await settle();
	site.asked[0].break();
	await clock.pass(1);
	const { seen, err } = await answer;
	assert.deepEqual([seen, err], [[one, finishOfStep], undefined]);
});

test('the end of a failed answer is an error in its own words, not a lost connection', async () => {
	const failure = { type: 'finish', finishReason: 'error' };
	for (const [events, message, code] of [
		[[{ ...failure, error: 'gone', code: 'closed:connection' }], 'gone', 'closed:connection'],
		[[{ type: 'error', error: 'The model is busy.', code: 'overloaded:model' }, failure], 'The model is busy.', 'overloaded:model'],
		[[{ type: 'error', errorText: 'The model is busy.' }, failure], 'The model is busy.', ''],
		[[{ type: 'error', error: { message: 'The model is busy.' } }, failure], 'The model is busy.', ''],
		[[{ type: 'error', error: 'first' }, { ...failure, error: 'last', code: 'x:y' }], 'last', 'x:y'],
		[[failure], 'the answer ended with an error', ''],
	]) {
		const site = new Site(resumable().numbered(1, one, ...events).end());
		const { seen, err } = await ask(site);
		assert.deepEqual([err.name, err.status, err.message, err.code], ['ChatError', 200, message, code]);
		assert.deepEqual(seen, [one, ...events.slice(0, -1)]);
		assert.equal(site.asked.length, 1);
	}
});

test('an error event keeps its details', async () => {
	const said = { type: 'error', error: 'no', details: { field: 'x' } };
	const { err } = await ask(new Site(new Reply().event(said, { type: 'finish', finishReason: 'error' }).end()));
	assert.deepEqual(err.details, { field: 'x' });
});

test('the chat\'s id comes in a header or in an event', async () => {
	for (const [reply, chatId] of [
		[new Reply({ headers: { 'Content-Type': 'text/event-stream', 'X-Chat-Id': 'chat_1' } }).event(finish).end(), 'chat_1'],
		[new Reply({ headers: { 'Content-Type': 'text/event-stream', 'Illumichat-ChatId': 'chat_1' } }).event(finish).end(), 'chat_1'],
		[new Reply().event({ ...one, chatId: 'chat_1' }, finish).end(), 'chat_1'],
		[new Reply().event({ ...finish, chatId: 'chat_1' }).end(), 'chat_1'],
		[new Reply().event(finish, { type: 'usage', chatId: 'chat_1' }).end(), 'chat_1'],
		[new Reply().event({ type: 'start', chatId: {} }, { type: 'start', chatId: '' }, finish).end(), undefined],
	]) {
		assert.equal((await ask(new Site(reply))).answer.chatId, chatId);
	}
});

for (const [how, lose] of Object.entries({ broken: (reply) => reply.break(), closed: (reply) => reply.end() })) {
	test(`an answer whose connection was ${how} goes on without a gap or a repeat`, async (t) => {
		const clock = new Clock(t);
		const site = new Site(
			resumable().numbered(1, one).text('data: {"type":"text-delta","textDelta":"tw'),
			resumable().numbered(1, one).numbered(2, two),
			resumable().numbered(3, three, finish).end(),
		);
		const waits = [];
		const answer = ask(site, { onReconnect: (err, wait) => waits.push([err.code, wait]) });
		for (let i = 0; i < 2; i++) {
			await settle();
			lose(site.asked[i]);
			await clock.pass(1);
		}
		const { seen, err } = await answer;
		assert.deepEqual([seen, err], [[one, two, three, finish], undefined]);
		assert.deepEqual(site.asked.map(({ request, after }) => [request.method, after]), [['POST', null], ['GET', '1'], ['GET', '2']]);
		assert.deepEqual(waits.map(([code]) => code), Array(2).fill(how === 'broken' ? 'broken:connection' : 'closed:connection'));
		// Each connection has brought an event, so the pauses have not grown.
		for (const [, wait] of waits) assert.ok(wait >= 0.5 && wait <= 1, String(wait));
		assert.deepEqual([site.deleted.length, clock.timers.size], [0, 0]);
	});
}

test('an answer of which nothing has arrived is continued, too, and not asked for again', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().end(), resumable().numbered(1, { ...one, chatId: 'chat_1' }, finish).end());
	const opened = ask(site);
	await clock.pass(1);
	const { seen, answer } = await opened;
	assert.equal(seen.length, 2);
	assert.deepEqual(site.asked.map(({ after }) => after), [null, '0']);
	assert.equal(answer.chatId, 'chat_1');
});

test('an answer that cannot be resumed ends where its connection was lost', async (t) => {
	const clock = new Clock(t);
	for (const [lose, code] of [[(reply) => reply.break(), 'broken:connection'], [(reply) => reply.end(), 'closed:connection']]) {
		const site = new Site(new Reply().event(one));
		const answer = ask(site, { onReconnect: () => assert.fail('there is nothing to reconnect to') });
		await settle();
		lose(site.asked[0]);
		const { seen, err } = await answer;
		assert.deepEqual([seen, err.code, err.status, site.asked.length, clock.timers.size], [[one], code, 200, 1, 0]);
	}
});

test('a 404 says that an answer is lost', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().numbered(1, one), failed(404, 'not_found:stream'));
	const answer = ask(site);
	await settle();
	site.asked[0].break();
	await clock.pass(1);
	const { seen, err } = await answer;
	assert.deepEqual([seen, err.name, err.status, err.code], [[one], 'ChatError', 200, 'broken:connection']);
	assert.deepEqual([site.asked.length, site.deleted.length], [2, 0]);
});

test('a 204 before the finish is no end', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().numbered(1, one), new Reply({ status: 204 }));
	const answer = ask(site);
	await settle();
	site.asked[0].break();
	await clock.pass(1);
	const { seen, err } = await answer;
	assert.deepEqual([seen, err?.code, site.asked.length], [[one], 'broken:connection', 2]);
});

for (const [name, reply, code] of [
	['a redirect', () => new Reply({ status: 302 }).end(), 'redirected:connection'],
	['a login page', () => new Reply({ headers: { 'Content-Type': 'text/html' } }).end(), 'not_chat:connection'],
]) {
	test(`${name} in place of the rest of an answer is said, and requested once`, async (t) => {
		const clock = new Clock(t);
		const site = new Site(resumable().numbered(1, one), reply());
		const answer = ask(site);
		await settle();
		site.asked[0].break();
		await clock.pass(1);
		const { seen, err } = await answer;
		assert.deepEqual([seen, err.code, site.asked.length, clock.timers.size], [[one], code, 2, 0]);
	});
}

for (const status of [500, 502, 504, 524]) {
	test(`a ${status} of a gateway does not end an answer`, async (t) => {
		const clock = new Clock(t);
		const gateway = new Reply({ status, headers: { 'Content-Type': 'text/html' } }).end();
		const site = new Site(resumable().end(), gateway, resumable().numbered(1, one, finish).end());
		const answer = ask(site);
		await clock.pass(5);
		assert.deepEqual((await answer).seen, [one, finish]);
	});
}

test('a server that is busy is asked when it says', async (t) => {
	const clock = new Clock(t);
	const site = new Site(
		resumable().numbered(1, one),
		failed(429, 'rate_limit:chat', { 'Retry-After': '7' }),
		failed(503, 'overloaded:chat', { 'Retry-After': '9' }),
		resumable().numbered(2, finish).end(),
	);
	const told = [];
	const answer = ask(site, { onReconnect: (err, wait) => told.push([err.status, wait]) });
	await settle();
	site.asked[0].break();
	for (const wait of [1, 8, 11]) await clock.pass(wait);
	assert.deepEqual((await answer).seen, [one, finish]);
	assert.deepEqual(told.map(([status]) => status), [200, 429, 503]);
	assert.ok(told[1][1] >= 7 && told[2][1] >= 9, String(told));
});

test('a connection that cannot be replaced is given up, but not before the server gives up', async (t) => {
	for (const random of [0, 0.999]) {
		const clock = new Clock(t);
		replace(t, 'random', () => random, Math);
		const site = new Site(resumable().numbered(1, one), ...Array.from({ length: 100 }, unreachable));
		const waits = [];
		const answer = ask(site, { onReconnect: (_, wait) => waits.push(wait) });
		await settle();
		site.asked[0].break();
		await clock.pass(200);
		const { seen, err } = await answer;
		assert.deepEqual([seen, err.code], [[one], 'broken:connection']);
		const waited = waits.reduce((sum, wait) => sum + wait);
		// A site goes on for 30 seconds without a listener.
		assert.ok(waited > 30 && waited < 90 && Math.max(...waits) <= 5, `${waits}`);
		assert.deepEqual([site.asked.length, clock.timers.size], [waits.length + 1, 0]);
	}
});

test('a request for the rest that gets no response is repeated', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().numbered(1, one), silence(), resumable().numbered(2, finish).end());
	const answer = ask(site);
	await settle();
	site.asked[0].break();
	await clock.pass(15);
	assert.deepEqual((await answer).seen, [one, finish]);
});

test('events of another answer are a lost connection', async (t) => {
	const clock = new Clock(t);
	const stranger = new Reply({ resumable: true }).text(`id: BBBBBBBBBBBBBBBBBBBBBB:2\ndata: ${JSON.stringify(delta('a secret'))}\n\n`);
	const site = new Site(resumable().numbered(1, one), stranger, resumable().numbered(2, two, finish).end());
	const told = [];
	const answer = ask(site, { onReconnect: (err) => told.push(err.message) });
	await settle();
	site.asked[0].break();
	await clock.pass(5);
	assert.deepEqual((await answer).seen, [one, two, finish]);
	assert.ok(stranger.cancelled);
	assert.equal(told[1], 'the connection has events of another answer');
	assert.deepEqual(site.gets.map(({ after }) => after), ['1', '1']);
});

test('an event that is known already is not handed out again', async () => {
	const { seen } = await follow(new Site(resumable().numbered(1, one, two, three, finish).end()), { after: 2 });
	assert.deepEqual(seen, [three, finish]);
});

test('an event without an id is handed out, and has none of another event', async () => {
	const site = new Site(resumable().numbered(1, one).event(two).numbered(2, finish).end());
	const { seen, answer } = await ask(site);
	assert.deepEqual([seen, answer.after], [[one, two, finish], 2]);
});

test('an answer can be followed from its beginning, or from an event on', async () => {
	for (const [options, events, after] of [[{}, [one, two, finish], '0'], [{ after: 1 }, [two, finish], '1']]) {
		const site = new Site(resumable().numbered(Number(after) + 1, ...events).end());
		const { seen, answer } = await follow(site, options);
		assert.deepEqual([seen, site.asked[0].after, answer.id, answer.after], [events, after, id, 3]);
	}
});

test('an answer of which nothing is left has no events', async () => {
	const { seen, err, answer } = await follow(new Site(new Reply({ status: 204 })), { after: 4 });
	assert.deepEqual([seen, err, answer.id, answer.after], [[], undefined, id, 4]);
});

test('an answer that is not kept any more is an error', async () => {
	const { err } = await follow(new Site(failed(404, 'not_found:stream')));
	assert.deepEqual([err.name, err.status, err.code], ['ChatError', 404, 'not_found:stream']);
});

test('an answer that is followed goes on over another connection, too', async (t) => {
	const clock = new Clock(t);
	const site = new Site(resumable().numbered(1, one).break(), resumable().numbered(1, one, two, finish).end());
	const answer = follow(site);
	await clock.pass(1);
	assert.deepEqual((await answer).seen, [one, two, finish]);
});

test('an abort or leaving the loop closes the connection, and does not stop the answer', async (t) => {
	const clock = new Clock(t);
	const browser = new Browser(t);
	const reason = new Error('enough');
	for (const [when, then] of Object.entries({
		'in the stream': async () => {},
		'in a pause': async (site) => { site.asked[0].break(); },
		'while the rest is requested': async (site) => {
			site.then(silence());
			site.asked[0].break();
			await clock.pass(1);
		},
		'in the rest': async (site) => {
			site.then(resumable().numbered(2, two));
			site.asked[0].break();
			await clock.pass(1);
		},
	})) {
		const site = new Site(resumable().numbered(1, one));
		const controller = new AbortController();
		const answer = ask(site, { signal: controller.signal });
		await settle();
		await then(site);
		await settle();
		// What arrives together with the abort is not handed out.
		if (when.endsWith('stream') || when.endsWith('rest')) site.asked.at(-1).numbered(5, three);
		controller.abort(reason);
		const { seen, err } = await answer;
		assert.equal(err, reason, when);
		assert.deepEqual(seen, when === 'in the rest' ? [one, two] : [one], when);
		const asked = site.asked.length;
		await clock.pass(1000);
		assert.deepEqual([site.asked.length, site.deleted.length, clock.timers.size, browser.listeners], [asked, 0, 0, 0], when);
		if (when !== 'in a pause') assert.ok(site.asked.at(-1).cancelled, when);
	}

	const site = new Site(resumable().numbered(1, one));
	const { events } = await openAnswer(url, question, { fetch: site.fetch });
	for await (const event of events) {
		assert.deepEqual(event, one);
		break;
	}
	await settle();
	assert.ok(site.asked[0].cancelled);
	assert.deepEqual([site.deleted.length, clock.timers.size, browser.listeners], [0, 0, 0]);
});

test('a connection that is lost by an abort is not reported as lost', async (t) => {
	const clock = new Clock(t);
	const controller = new AbortController();
	const site = new Site(resumable().numbered(1, one));
	const answer = ask(site, { signal: controller.signal, onReconnect: () => assert.fail('nothing is to be reconnected') });
	await settle();
	site.asked[0].break();
	controller.abort();
	assert.equal((await answer).err.name, 'AbortError');
	assert.equal(clock.timers.size, 0);
});

test('an answer can be aborted where its pause is announced', async (t) => {
	const clock = new Clock(t);
	const controller = new AbortController();
	const site = new Site(resumable().numbered(1, one).break());
	const { err } = await ask(site, { signal: controller.signal, onReconnect: () => controller.abort() });
	assert.deepEqual([err.name, site.asked.length, clock.timers.size], ['AbortError', 1, 0]);
});
