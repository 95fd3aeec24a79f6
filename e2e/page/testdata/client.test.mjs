/** Tests edge cases of the client, with a server that sends each byte when the test says so. */
import assert from 'node:assert/strict';
import { readFile } from 'node:fs/promises';
import { beforeEach, test } from 'node:test';

// Node would load a .js file as CommonJS. A page says that the script is a module; here the data URL does.
const source = await readFile(process.env.CLIENT, 'base64');
const { Chat, ChatError } = await import(`data:text/javascript;base64,${source}`);

const url = 'http://chat.test/api/chat-proxy';
const stream = { status: 200, headers: { 'Content-Type': 'text/event-stream' } };
const delta = (textDelta) => ({ type: 'text-delta', textDelta });
const finish = { type: 'finish', finishReason: 'stop' };

/** The answers that the client has asked for, each with its request. */
let asked;

/** The answers to the next requests, in order. When there are no more, each request gets a new `Answer`. */
let next;

/** The requests by which the client has stopped answers. */
let stopped;

/** The timers that run, each with the time when it is due. Like `now`, in milliseconds. */
let timers;
let now;

beforeEach(() => {
	asked = [];
	next = [];
	stopped = [];
	timers = new Map();
	now = 0;
	delete globalThis.sessionStorage;
});

globalThis.fetch = async (request) => {
	if (request.method === 'DELETE') {
		stopped.push(request);
		throw new TypeError('nobody waits for this');
	}
	const answer = next.shift() ?? new Answer();
	asked.push(answer);
	if (request.method === 'POST') answer.question = await request.json();
	answer.lastEvent = request.headers.get('Last-Event-ID');
	request.signal.throwIfAborted();
	return answer.respond(request.signal);
};

globalThis.setTimeout = (callback, milliseconds) => {
	const timer = { callback };
	timers.set(timer, now + milliseconds);
	return timer;
};

globalThis.clearTimeout = (timer) => { timers.delete(timer); };

/** Lets time pass, and fires the timers that are due. */
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

	/** Writes events with ids, as a site does if its answers can be resumed. */
	numbered(first, ...events) {
		for (const [i, event] of events.entries()) this.text(`data: ${JSON.stringify(event)}\nid: str_1:${first + i}\n\n`);
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
			// The answer has already ended.
		}
		return this;
	}
}

/** Reads all events. Returns them, with the error that has ended the loop if there was one. */
async function all(events) {
	const seen = [];
	try {
		for await (const event of events) seen.push(event);
	} catch (err) {
		return { seen, err };
	}
	return { seen };
}

/** The status and headers of an answer that can be resumed. */
const resumable = { status: 200, headers: { ...stream.headers, 'Illumichat-Stream': 'str_1' } };

const [one, two, three] = ['One, ', 'two, ', 'three.'].map(delta);

/** Lets time pass, and lets everything happen that follows from it. */
async function passAndSettle(milliseconds) {
	await settle();
	pass(milliseconds);
	await settle();
}

/** Makes a storage like that of a tab, which outlives the page, and returns its items. */
function openStorage() {
	const items = new Map();
	globalThis.sessionStorage = {
		getItem: (key) => items.get(key) ?? null,
		setItem: (key, value) => items.set(key, value),
		removeItem: (key) => items.delete(key),
	};
	return items;
}

/** Lets everything go on that waits for nothing but promises. */
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

	// Abort in the callback that announces the pause.
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

for (const [how, lose] of Object.entries({ broken: (answer) => answer.break(), closed: (answer) => answer.end() })) {
	test(`an answer whose connection was ${how} goes on without a gap or a repeat`, async () => {
		next = [
			new Answer(resumable).numbered(1, one).text('data: {"type":"text-delta","textDelta":"tw'),
			new Answer(resumable).numbered(1, one).numbered(2, two),
			new Answer(resumable).numbered(3, three, finish).end(),
		];
		const waits = [];
		const chat = new Chat(url);
		const answer = all(chat.send('Hello', { onReconnect: (err, wait) => waits.push([err.code, wait]) }));
		for (let i = 0; i < 2; i++) {
			await settle();
			lose(asked[i]);
			await passAndSettle(1000);
		}
		assert.deepEqual(await answer, { seen: [one, two, three, finish] });
		assert.deepEqual(asked.map((a) => a.lastEvent), [null, 'str_1:1', 'str_1:2']);
		assert.equal(chat.messages.at(-1).content, 'One, two, three.');
		assert.deepEqual(waits.map(([code]) => code), Array(2).fill(how === 'broken' ? 'broken:connection' : 'closed:connection'));
		// Each connection has brought an event, so the pauses have not grown.
		for (const [, wait] of waits) assert.ok(wait >= 0.5 && wait <= 1, String(wait));
		assert.equal(stopped.length, 0);
		assert.equal(timers.size, 0);
	});
}

test('an answer of which nothing has come is gone on with, too, and not asked for again', async () => {
	next = [new Answer(resumable).end(), new Answer(resumable).numbered(1, { ...one, chatId: 'chat_1' }, finish).end()];
	const chat = new Chat(url);
	const answer = all(chat.send('Hello'));
	await passAndSettle(1000);
	assert.equal((await answer).seen.length, 2);
	assert.deepEqual(asked.map((a) => a.lastEvent), [null, 'str_1:0']);
	assert.equal(chat.chatId, 'chat_1');
});

test('how an answer has ended is no lost connection', async () => {
	const error = { type: 'finish', finishReason: 'error', error: 'gone', code: 'closed:connection' };
	next = [new Answer(resumable).numbered(1, one, error).end()];
	const { seen, err } = await all(new Chat(url).send('Hello'));
	assert.deepEqual([seen, err.message], [[one], 'gone']);

	next = [new Answer(resumable).numbered(1, one, finish)];
	const answer = all(new Chat(url).send('Hello'));
	await settle();
	asked[1].break();
	assert.deepEqual(await answer, { seen: [one, finish] });
	assert.deepEqual([asked.length, timers.size, stopped.length], [2, 0, 0]);
});

for (const status of [204, 404]) {
	test(`a ${status} tells that an answer is lost`, async () => {
		next = [new Answer(resumable).numbered(1, one), Object.assign(new Answer(), { respond: () => new Response(null, { status }) })];
		const chat = new Chat(url);
		const answer = all(chat.send('Hello'));
		await settle();
		asked[0].break();
		await passAndSettle(1000);
		const { seen, err } = await answer;
		assert.deepEqual([seen, err.name, err.status, err.code], [[one], 'ChatError', 200, 'broken:connection']);
		assert.equal(asked.length, 2);
		assert.equal(stopped.length, 0);
		assert.equal(chat.messages.at(-1).content, 'One, ');
	});
}

test('a server that is busy is asked when it says', async () => {
	next = [
		new Answer(resumable).numbered(1, one),
		new Answer({ status: 429, headers: { 'Retry-After': '7' } }).end(),
		new Answer({ status: 503, headers: { 'Retry-After': '9' } }).end(),
		new Answer(resumable).numbered(2, finish).end(),
	];
	const told = [];
	const answer = all(new Chat(url).send('Hello', { onReconnect: (err, wait) => told.push([err.status, Math.floor(wait)]) }));
	await settle();
	asked[0].break();
	for (const wait of [1000, 8000, 11_000]) await passAndSettle(wait);
	assert.deepEqual(await answer, { seen: [one, finish] });
	assert.deepEqual(told.map(([status]) => status), [200, 429, 503]);
	assert.ok(told[1][1] >= 7 && told[2][1] >= 9, String(told));
});

test('a connection that cannot be had again is given up, but not before the server does', async (t) => {
	for (const random of [0, 0.999]) {
		t.mock.method(Math, 'random', () => random);
		asked = [];
		const unreachable = () => Object.assign(new Answer(), { respond: () => { throw new TypeError('no network'); } });
		next = [new Answer(resumable).numbered(1, one), ...Array.from({ length: 100 }, unreachable)];
		const waits = [];
		let result;
		all(new Chat(url).send('Hello', { onReconnect: (_, wait) => waits.push(wait) })).then((r) => { result = r; });
		await settle();
		asked[0].break();
		for (let i = 0; i < 100 && !result; i++) await passAndSettle(5000);
		assert.deepEqual([result.seen, result.err.code], [[one], 'broken:connection']);
		const waited = waits.reduce((sum, wait) => sum + wait);
		assert.ok(waited > 30 && waited < 90 && Math.max(...waits) <= 5, `${waits}`);
		assert.equal(asked.length, waits.length + 1);
		assert.equal(timers.size, 0);
	}
});

test('a connection that says nothing is not waited for', async () => {
	next = [
		new Answer(resumable).numbered(1, one),
		Object.assign(new Answer(), { respond: (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))) }),
		new Answer(resumable).numbered(2, finish).end(),
	];
	const answer = all(new Chat(url).send('Hello'));
	await settle();
	asked[0].break();
	for (const wait of [1000, 10_000, 2000]) await passAndSettle(wait);
	assert.deepEqual(await answer, { seen: [one, finish] });
});

test('a browser that is back in the network goes on at once', async (t) => {
	const page = new EventTarget();
	let listeners = 0;
	globalThis.addEventListener = (...args) => { listeners++; page.addEventListener(...args); };
	globalThis.removeEventListener = (...args) => { listeners--; page.removeEventListener(...args); };
	t.after(() => {
		delete globalThis.addEventListener;
		delete globalThis.removeEventListener;
	});
	next = [new Answer(resumable).numbered(1, one), new Answer(resumable), new Answer(resumable).numbered(3, three, finish).end()];
	const answer = all(new Chat(url).send('Hello'));
	await settle();
	asked[0].break();
	await settle();
	assert.equal(asked.length, 1);
	page.dispatchEvent(new Event('online'));
	await settle();
	assert.equal(asked.length, 2);
	assert.equal(timers.size, 0);

	// A connection from before may be dead without a sign, so the client replaces it.
	asked[1].numbered(2, two);
	await settle();
	page.dispatchEvent(new Event('online'));
	await passAndSettle(1000);
	assert.deepEqual(await answer, { seen: [one, two, three, finish] });
	assert.ok(asked[1].cancelled);
	assert.equal(listeners, 0);
	assert.equal(asked.length, 3);
});

test('Stop has the server stop, and no event comes after', async () => {
	const reason = new Error('enough');
	for (const [when, lose] of Object.entries({
		'in the stream': () => {},
		'in a pause': (answer) => answer.break(),
		'while it is asked for again': async (answer) => {
			next = [Object.assign(new Answer(), { respond: (signal) => new Promise((_, reject) => signal.addEventListener('abort', () => reject(signal.reason))) })];
			answer.break();
			await passAndSettle(1000);
		},
		'in the rest': async (answer) => {
			next = [new Answer(resumable).numbered(2, two)];
			answer.break();
			await passAndSettle(1000);
		},
	})) {
		asked = [];
		stopped = [];
		next = [new Answer(resumable).numbered(1, one)];
		const controller = new AbortController();
		const answer = all(new Chat(url).send('Hello', { signal: controller.signal }));
		await settle();
		await lose(asked[0]);
		await settle();
		if (when === 'in the stream') asked[0].numbered(2, two);
		if (when === 'in the rest') asked[1].numbered(3, three);
		controller.abort(reason);
		assert.equal(stopped.length, 1, when);
		const { seen, err } = await answer;
		assert.equal(err, reason, when);
		assert.deepEqual(seen, when === 'in the rest' ? [one, two] : [one], when);
		await passAndSettle(100_000);
		assert.equal(stopped.length, 1, when);
		assert.deepEqual([stopped[0].url, stopped[0].headers.get('Illumichat-Stream'), stopped[0].keepalive], [url, 'str_1', true]);
		assert.equal(timers.size, 0, when);
	}
});

test('whoever leaves the loop has the server stop', async () => {
	next = [new Answer(resumable).numbered(1, one)];
	for await (const event of new Chat(url).send('Hello')) {
		assert.deepEqual(event, one);
		break;
	}
	assert.equal(stopped.length, 1);
});

test('an answer that is over is not stopped', async () => {
	const controller = new AbortController();
	next = [new Answer(resumable).numbered(1, one, finish).end()];
	await all(new Chat(url).send('Hello', { signal: controller.signal }));
	controller.abort();
	await settle();
	assert.equal(stopped.length, 0);
});

test('without a stream nothing is resumed, stopped or kept', async () => {
	const items = openStorage();
	const chat = new Chat(url, { storageKey: 'chat' });
	const told = [];
	next = [new Answer().numbered(1, one)];
	const answer = all(chat.send('Hello', { onReconnect: (err) => told.push(err) }));
	await settle();
	asked[0].break();
	assert.equal((await answer).err.code, 'broken:connection');

	const controller = new AbortController();
	next = [new Answer().numbered(1, one)];
	const stopping = all(chat.send('Hello', { signal: controller.signal }));
	await settle();
	controller.abort();
	await stopping;
	await settle();
	assert.deepEqual([asked.length, stopped.length, told.length, items.size, timers.size], [2, 0, 0, 0, 0]);
});

test('a page that is loaded anew goes on with its answer', async () => {
	const items = openStorage();
	const before = new Chat(url, { storageKey: 'chat' });
	next = [new Answer({ ...resumable, headers: { ...resumable.headers, 'X-Chat-Id': 'chat_1' } }).numbered(1, one, finish).end()];
	await all(before.send('First'));
	next = [new Answer(resumable).numbered(1, one)];
	all(before.send('Second'));
	await settle();

	// From here on the old page is frozen, and sends nothing more.
	let chat = new Chat(url, { storageKey: 'chat' });
	assert.equal(chat.openQuestion, 'Second');
	assert.deepEqual(chat.messages.map((m) => m.content), ['First', 'One, ']);
	assert.equal(chat.chatId, 'chat_1');
	next = [new Answer(resumable).numbered(1, one, two).break(), new Answer(resumable).numbered(1, one, two, finish).end()];
	const answer = all(chat.resume());
	await settle();
	assert.equal(chat.openQuestion, undefined);
	await assert.rejects(chat.send('Third').next(), /still on its way/);
	await assert.rejects(chat.resume().next(), /still on its way/);
	await passAndSettle(1000);
	assert.deepEqual(await answer, { seen: [one, two, finish] });
	assert.equal(asked[2].lastEvent, 'str_1:0');
	assert.equal(chat.openQuestion, undefined);
	assert.deepEqual(await all(chat.resume()), { seen: [] });

	// The next page has no answer to resume. The client also keeps a chat's id that arrives after the finish.
	next = [new Answer(resumable).numbered(1, one, finish, { type: 'usage', chatId: 'chat_2' }).end()];
	await all(chat.send('Third'));
	assert.equal(new Chat(url, { storageKey: 'chat' }).chatId, 'chat_2');
	chat = new Chat(url, { storageKey: 'chat', messages: [{ role: 'user', content: 'something else' }] });
	assert.equal(chat.openQuestion, undefined);
	assert.deepEqual(chat.messages.map((m) => m.content), ['First', 'One, ', 'Second', 'One, two, ', 'Third', 'One, ']);
	assert.deepEqual([...items.keys()], ['chat']);
});

test('an answer that is gone after a reload can be asked for again', async () => {
	openStorage().set('chat', JSON.stringify({ messages: [], open: { content: 'Hello', stream: 'str_1' } }));
	const chat = new Chat(url, { storageKey: 'chat' });
	next = [new Answer({ status: 404 }).text('{"error":"no","code":"not_found:stream"}').end(), new Answer(resumable).numbered(1, one, finish).end()];
	const { seen, err } = await all(chat.resume());
	assert.deepEqual([seen, err.name, err.code], [[], 'ChatError', 'closed:connection']);
	assert.equal(new Chat(url, { storageKey: 'chat' }).openQuestion, undefined);
	assert.deepEqual(await all(chat.retry()), { seen: [one, finish] });
	assert.deepEqual(asked[1].question.messages, [{ role: 'user', content: 'Hello' }]);
});

test('a storage that does not work is none', async () => {
	const fail = () => { throw new Error('no storage'); };
	for (const storage of [undefined, { getItem: fail, setItem: fail, removeItem: fail }, { getItem: () => '[1', setItem: fail, removeItem: () => {} }]) {
		globalThis.sessionStorage = storage;
		const chat = new Chat(url, { storageKey: 'chat' });
		next = [new Answer(resumable).numbered(1, one, finish).end()];
		assert.deepEqual(await all(chat.send('Hello')), { seen: [one, finish] });
		assert.equal(chat.openQuestion, undefined);
	}
});
