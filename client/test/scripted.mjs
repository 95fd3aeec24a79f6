/** A site whose replies a test writes: a `fetch` that sends each byte when the test says so. */

export const url = 'http://chat.test/api/chat-proxy';

export const delta = (textDelta) => ({ type: 'text-delta', textDelta });
export const [one, two, three] = ['One, ', 'two, ', 'three.'].map(delta);
export const finish = { type: 'finish', finishReason: 'stop' };
export const finishOfStep = { type: 'finish', finishReason: 'tool-calls' };

/** Keeps the requests of a client, and replies to them. */
export class Site {
	/** The POSTs and GETs, in order. @type {Reply[]} */
	asked = [];

	/** The DELETEs, in order. @type {Request[]} */
	deleted = [];

	#next = [];

	/** @param {...Reply} next the replies to the next requests; after them, each request gets an empty event stream */
	constructor(...next) {
		this.#next = next;
	}

	/** Sets the replies to the next requests. */
	then(...next) {
		this.#next = next;
		return this;
	}

	fetch = async (request) => {
		if (request.method === 'DELETE') {
			this.deleted.push(request);
			return new Response(null, { status: 204 });
		}
		const reply = this.#next.shift() ?? new Reply();
		this.asked.push(reply);
		return reply.to(request);
	};

	/** The POSTs. */
	get posts() {
		return this.asked.filter(({ request }) => request.method === 'POST');
	}

	/** The GETs. */
	get gets() {
		return this.asked.filter(({ request }) => request.method === 'GET');
	}
}

/** A reply that the test writes. By default, it is an event stream that cannot be resumed. */
export class Reply {
	/** @type {Request} */
	request;

	/** What a POST asks. */
	question;

	/** The answer's id in the request. @type {string | null} */
	id;

	/** Whether the client has closed the connection. */
	cancelled = false;

	#headers;
	#resumable;
	#body;
	#writer;
	#written = [];

	/** @param {{ status?: number, headers?: Record<string, string>, resumable?: boolean }} [head] */
	constructor({ status = 200, headers = { 'Content-Type': 'text/event-stream' }, resumable = false } = {}) {
		this.status = status;
		this.#headers = headers;
		this.#resumable = resumable;
		this.#body = new ReadableStream({
			start: (writer) => { this.#writer = writer; },
			cancel: () => { this.cancelled = true; },
		});
	}

	/** Replies to a request. */
	async to(request) {
		this.request = request;
		if (request.method === 'POST') this.question = await request.json();
		request.signal.throwIfAborted();
		const { searchParams } = new URL(request.url);
		this.id = request.headers.get('Illumichat-Stream') ?? searchParams.get('stream');
		this.after = searchParams.get('after');
		request.signal.addEventListener('abort', () => {
			this.cancelled = true;
			this.break(request.signal.reason);
		});
		for (const write of this.#written) write();
		const headers = new Headers(this.#headers);
		if (this.#resumable) headers.set('Illumichat-Stream', this.id);
		const bodiless = [204, 205, 304].includes(this.status);
		return new Response(bodiless ? null : this.#body, { status: this.status, headers });
	}

	/** Does something as soon as there is a request: the answer's id comes with it. */
	#write(write) {
		if (this.request) write();
		else this.#written.push(write);
		return this;
	}

	bytes(...bytes) {
		return this.#write(() => this.#writer.enqueue(Uint8Array.from(bytes)));
	}

	text(text) {
		return this.#write(() => this.#writer.enqueue(new TextEncoder().encode(text)));
	}

	/** Writes events without ids. */
	event(...events) {
		for (const event of events) this.text(`data: ${JSON.stringify(event)}\n\n`);
		return this;
	}

	/** Writes events with ids, the first with the number `first`. */
	numbered(first, ...events) {
		for (const [i, event] of events.entries()) {
			this.#write(() => this.text(`id: ${this.id}:${first + i}\ndata: ${JSON.stringify(event)}\n\n`));
		}
		return this;
	}

	end() {
		return this.#write(() => this.#writer.close());
	}

	break(err = new TypeError('network error')) {
		return this.#write(() => {
			try {
				this.#writer.error(err);
			} catch {
				// It has already ended.
			}
		});
	}
}

/** Returns an event stream that can be resumed. */
export const resumable = () => new Reply({ resumable: true });

/** Returns a reply of the API's error format. */
export function failed(status, code, headers = {}) {
	return new Reply({ status, headers: { 'Content-Type': 'application/json', ...headers } })
		.text(JSON.stringify({ error: `that failed with ${status}`, code })).end();
}

/** Returns a reply without response headers. It ends when the client gives the request up. */
export function silence() {
	const reply = new Reply();
	const { to } = reply;
	reply.to = async (request) => {
		await to.call(reply, request);
		return new Promise((_, reject) => {
			request.signal.addEventListener('abort', () => reject(request.signal.reason));
		});
	};
	return reply;
}

/** Returns a reply that is a network without the site. */
export function unreachable() {
	const reply = new Reply();
	const { to } = reply;
	reply.to = async (request) => {
		await to.call(reply, request);
		throw new TypeError('no network');
	};
	return reply;
}

/** Returns a reply that `make` makes, such as one that only browsers get. */
export function custom(make) {
	const reply = new Reply();
	const { to } = reply;
	reply.to = async (request) => {
		await to.call(reply, request);
		return make();
	};
	return reply;
}

/** Reads all events. Returns them, with the error that has ended the loop if there was one. */
export async function all(events) {
	const seen = [];
	try {
		for await (const event of events) seen.push(event);
	} catch (err) {
		return { seen, err };
	}
	return { seen };
}

/** Opens an answer and reads all of its events. Returns them, the error, and the answer. */
export async function read(opening) {
	try {
		const answer = await opening;
		return { answer, ...await all(answer.events) };
	} catch (err) {
		return { seen: [], err };
	}
}

/** Lets everything go on that waits for nothing but promises. */
export async function settle() {
	for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve));
}
