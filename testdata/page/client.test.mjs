/** What the client does at its edges, with a server whose every byte comes when the test says. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { beforeEach, test } from 'node:test';

// Node would take a .js file for CommonJS. A page says that it is a module; here its address does.
const source = await readFile(process.env.CLIENT, 'base64');
const { Chat, ChatError } = await import(`data:text/javascript;base64,${source}`);

const url = 'http://chat.test/api/chat-proxy';
const stream = { status: 200, headers: { 'Content-Type': 'text/event-stream' } };
const delta = (textDelta) => ({ type: 'text-delta', textDelta });
const finish = { type: 'finish', finishReason: 'stop' };

/** The answers that were asked for, each with its request. */
let asked;

/** What the next answers are, in turn: an answer that the test writes, or an error that there is instead. */
let next;

/** The timers that run, by when they are due. */
let timers;
let now;

beforeEach(() => {
	asked = [];
	next = [];
	timers = new Map();
	now = 0;
});

globalThis.fetch = async (request) => {
	const answer = next.shift() ?? new Answer();
	asked.push(answer);
	answer.question = await request.json();
	request.signal.throwIfAborted();
	return answer.respond(request.signal);
};

globalThis.setTimeout = (callback, milliseconds) => {
	const timer = { callback };
	timers.set(timer, now + milliseconds);
	return timer;
};

globalThis.clearTimeout = (timer) => { timers.delete(timer); };

/** Lets time pass. */
function pass(milliseconds) {
	now += milliseconds;
	for (const [timer, due] of timers) {
		if (due > now) continue;
		timers.delete(timer);
		timer.callback();
	}
}

/** An answer that the test writes. */
class Answer {
	cancelled = false;

	constructor(head = stream) {
		this.head = head;
		this.body = new ReadableStream({
			start: (writer) => { this.writer = writer; },
			cancel: () => { this.cancelled = true; },
		});
	}

	respond(signal) {
		signal.addEventListener('abort', () => this.break(signal.reason));
		return new Response(this.body, this.head);
	}

	bytes(bytes) {
		this.writer.enqueue(bytes);
		return this;
	}

	text(text) {
		return this.bytes(new TextEncoder().encode(text));
	}

	event(...events) {
		for (const event of events) this.text(`data: ${JSON.stringify(event)}\n\n`);
		return this;
	}

	end() {
		this.writer.close();
		return this;
	}

	break(err = new TypeError('network error')) {
		try {
			this.writer.error(err);
		} catch {
			// It has ended already.
		}
		return this;
	}
}

/** Reads all events, and the error that there is in the end. */
async function all(events) {
	const seen = [];
	try {
		for await (const event of events) seen.push(event);
	} catch (err) {
		return { seen, err };
	}
	return { seen };
}

/** Has what waits for nothing but promises go on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));

test('only objects are events', async () => {
	next = [new Answer().text('data: []\n\ndata: 1\n\ndata: null\n\ndata: "finish"\n\ndata: x\n\n').event(finish).end()];
	const { seen, err } = await all(new Chat(url).send('Hello'));
	assert.deepEqual(seen, [finish]);
	assert.equal(err, undefined);
});

test('what is no event is no answer, and so is asked for again', async () => {
	next = [new Answer().text('data: []\n\n').end(), new Answer().event(delta('Yes.'), finish).end()];
	const answer = all(new Chat(url).send('Hello'));
	await settle();
	pass(2000);
	assert.deepEqual(await answer, { seen: [delta('Yes.'), finish] });
});

test('fields are read as the standard has it', async () => {
	next = [new Answer().text(
		'\ufeffdata:{"a":1}\n\n' +
		'data\ndata: {"b":\ndata:  2}\n\n' +
		'DATA: {"no":0}\n data: {"no":0}\nfoo: bar\n\n' +
		'event: x\nid: 1\nretry: 5\n: data: {"no":0}\ndata: {"c":"a\u2028b"}\n\n' +
		'data: {"no":0}',
	).event().end()];
	const { seen } = await all(new Chat(url).send('Hello'));
	assert.deepEqual(seen, [{ a: 1 }, { b: 2 }, { c: 'a\u2028b' }]);
});

test('a line end may be cut where nothing can be decoded', async () => {
	const [first, second] = [0xf0, 0x9f]; // of a character of four bytes
	next = [new Answer().text('data: {"a":"').bytes(Uint8Array.of(first)).bytes(Uint8Array.of(second))
		.bytes(Uint8Array.of(0x91, 0x8b)).text('"}\r').bytes(new Uint8Array()).text('\n').bytes(new Uint8Array()).text('\r').text('\n')
		.event(finish).end()];
	const { seen } = await all(new Chat(url).send('Hello'));
	assert.deepEqual(seen, [{ a: '👋' }, finish]);
});

test('an error that calls itself an event stream is an error', async () => {
	next = [new Answer({ status: 418, headers: stream.headers }).text('{"error":"no","code":"teapot:chat"}').end()];
	const { err } = await all(new Chat(url).send('Hello'));
	assert.ok(err instanceof ChatError);
	assert.deepEqual([err.status, err.code, err.type, err.message], [418, 'teapot:chat', 'teapot', 'no']);
});

test('an error without end is not waited for', async () => {
	const answer = new Answer({ status: 400 }).text('{"error":');
	next = [answer];
	const ended = all(new Chat(url).send('Hello'));
	await settle();
	pass(5000);
	assert.equal((await ended).err.status, 400);
	assert.ok(answer.cancelled);

	next = [new Answer({ status: 400 }).text('x'.repeat(100_000))];
	assert.equal((await all(new Chat(url).send('Hello'))).err.status, 400);
});

test('a line without end is not kept', async () => {
	next = [new Answer()];
	const ended = all(new Chat(url, { tries: 1 }).send('Hello'));
	await settle();
	for (let i = 0; i < 17; i++) asked[0].text('x'.repeat(1024 * 1024));
	assert.equal((await ended).err.code, 'broken:connection');
	assert.ok(asked[0].cancelled);
});

test('the next question can be asked at the finish', async () => {
	const chat = new Chat(url);
	next = [new Answer().event(delta('Yes.'), finish), new Answer().event(delta('No.'), finish).end()];
	const first = chat.send('First');
	assert.deepEqual((await first.next()).value, delta('Yes.'));
	await assert.rejects(chat.send('Second').next(), /still on its way/);
	await assert.rejects(chat.retry().next(), /no question/);
	assert.deepEqual((await first.next()).value, finish);

	assert.equal((await all(chat.send('Second'))).err, undefined);
	asked[0].event({ type: 'usage', chatId: 'chat_old' }).end();
	assert.deepEqual(await all(first), { seen: [{ type: 'usage', chatId: 'chat_old' }] });
	assert.equal(chat.chatId, undefined);
	assert.deepEqual(chat.messages.map((m) => m.content), ['First', 'Yes.', 'Second', 'No.']);
	assert.deepEqual(asked[1].question.messages.map((m) => m.role), ['user', 'assistant', 'user']);
});

test('text after the finish is no part of the answer', async () => {
	const chat = new Chat(url);
	next = [new Answer().event(delta('Yes.'), finish, finish, delta('after')).end()];
	assert.deepEqual(await all(chat.send('Hello')), { seen: [delta('Yes.'), finish, delta('after')] });
	assert.deepEqual(chat.messages.at(-1), { role: 'assistant', content: 'Yes.' });
});

test('an answer that is finished may break', async () => {
	next = [new Answer()];
	const events = new Chat(url).send('Hello');
	const first = events.next();
	await settle();
	asked[0].event(finish);
	assert.deepEqual((await first).value, finish);
	asked[0].break();
	assert.deepEqual(await all(events), { seen: [] });
});

test('texts that are none are passed over in the history', async () => {
	const chat = new Chat(url);
	next = [new Answer().event({ type: 'text-delta' }, { type: 'text-delta', textDelta: 7 }, delta('Yes.'), finish).end()];
	await all(chat.send('Hello'));
	assert.equal(chat.messages.at(-1).content, 'Yes.');
});

test('nothing is forgotten before it is asked for again', async () => {
	const chat = new Chat(url);
	await assert.rejects(chat.retry().next(), /no question/);
	next = [new Answer().event({ ...delta('Yes.'), chatId: 'chat_1' }, finish).end()];
	await all(chat.send('Hello'));
	chat.retry();
	assert.equal(chat.messages.length, 2);
	assert.equal(chat.chatId, 'chat_1');
});

test('what cannot be sent is not tried again', async () => {
	const loop = {};
	loop.loop = loop;
	for (const events of [new Chat(url).send([loop]), new Chat('http://[').send('Hello')]) {
		const { err } = await all(events);
		assert.ok(err instanceof TypeError, String(err));
	}
	assert.equal(asked.length, 0);
});

test('tries that are no number are one', async () => {
	next = [new Answer({ status: 503 }).end(), new Answer({ status: 503 }).end()];
	assert.equal((await all(new Chat(url, { tries: NaN }).send('Hello'))).err.status, 503);
	assert.equal(asked.length, 1);
});

test('Retry-After is a number or a date', async () => {
	const year = 365 * 86_400;
	for (const [value, least, most] of [
		['7', 7, 7], ['0', 0, 0], [' 7 ', 7, 7], ['Wed, 21 Oct 2015 07:28:00 GMT', 0, 0],
		[new Date(Date.now() + year * 1000).toUTCString(), year - 10, year + 10],
		['-5'], ['1.5'], ['+5'], ['5, 5'], ['9'.repeat(400)], ['soon'], [''],
	]) {
		next = [new Answer({ status: 429, headers: { 'Retry-After': value } }).end()];
		const { retryAfter } = (await all(new Chat(url, { tries: 1 }).send('Hello'))).err;
		assert.ok(least === undefined ? retryAfter === undefined : retryAfter >= least && retryAfter <= most, `${value}: ${retryAfter}`);
	}
});

test('the pauses grow, up to a bound', async (t) => {
	t.mock.method(Math, 'random', () => 0.999);
	next = Array.from({ length: 8 }, () => new Answer({ status: 500 }).end());
	const waits = [];
	const ended = all(new Chat(url, { tries: 8 }).send('Hello', { onRetry: (err, wait) => waits.push(Math.round(wait)) }));
	for (let i = 0; i < 7; i++) {
		await settle();
		pass(15_000);
	}
	assert.equal((await ended).err.status, 500);
	assert.deepEqual(waits, [1, 2, 4, 8, 15, 15, 15]);
});

test('an abort gives its reason, whenever it is', async () => {
	const reason = new Error('enough');
	const abortIn = {
		'before all': (stop) => stop(),
		'while it is sent': async (stop) => {
			next = [Object.assign(new Answer(), { respond: (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))) })];
			await settle();
			await settle();
			stop();
		},
		'in an error': async (stop) => {
			next = [new Answer({ status: 500 }).text('{')];
			await settle();
			stop();
		},
		'in a pause': async (stop) => {
			next = [new Answer({ status: 500 }).end()];
			await settle();
			stop();
		},
		'in the stream': async (stop) => {
			next = [new Answer().event(delta('Yes.'))];
			await settle();
			stop();
		},
		'when the connection has broken': async (stop) => {
			const answer = new Answer().event(delta('Yes.'));
			next = [answer];
			await settle();
			answer.break();
			stop();
		},
	};
	for (const [when, abort] of Object.entries(abortIn)) {
		next = [];
		const controller = new AbortController();
		const aborted = abort(() => controller.abort(reason));
		const ended = all(new Chat(url).send('Hello', { signal: controller.signal }));
		await aborted;
		await settle();
		assert.equal((await ended).err, reason, when);
		assert.equal(timers.size, 0, when);
		assert.ok(asked.length <= 1, when);
		asked = [];
	}

	// Where it is told of the pause.
	next = [new Answer({ status: 500 }).end()];
	const controller = new AbortController();
	const { err } = await all(new Chat(url).send('Hello', { signal: controller.signal, onRetry: () => controller.abort(reason) }));
	assert.equal(err, reason);
	assert.equal(timers.size, 0);
});

test('leaving the loop gives the answer up', async () => {
	next = [new Answer().event(delta('Yes.'))];
	for await (const event of new Chat(url).send('Hello')) {
		assert.deepEqual(event, delta('Yes.'));
		break;
	}
	await settle();
	assert.ok(asked[0].cancelled);
});
