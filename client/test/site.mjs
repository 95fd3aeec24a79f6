import { once } from 'node:events';
import { createServer } from 'node:http';

/** How long a test waits for something that must happen, in milliseconds. */
const patience = 10_000;

/**
 * Starts a site that speaks as the module does: an answer has the id that the page chose, a POST with a known id attaches, a
 * GET continues, a DELETE stops. The test plays the upstream: it takes each question that is paid for, and writes its answer.
 *
 * @param {import('node:test').TestContext} t
 * @param {{ resume?: boolean }} [options]
 */
export async function startSite(t, { resume = true } = {}) {
	const site = new Site(resume);
	await once(site.server.listen(0, '127.0.0.1'), 'listening');
	t.after(() => {
		// Answers that the test has left end at once, instead of looking for the site.
		site.before = (_, res) => refuse(res, 404, 'not_found:stream');
		site.server.closeAllConnections();
		site.server.unref();
	});
	site.url = `http://127.0.0.1:${site.server.address().port}/chat`;
	return site;
}

/** Waits until a condition holds. */
export async function until(condition, what = condition) {
	for (const end = Date.now() + patience; ;) {
		const value = await condition();
		if (value) return value;
		if (Date.now() > end) throw new Error(`this has not come true: ${what}`);
		await new Promise((resolve) => setTimeout(resolve, 2));
	}
}

/** Waits longer than some seconds, for what must not happen after them. */
export function longerThan(seconds) {
	return new Promise((resolve) => setTimeout(resolve, seconds * 1000 + 100));
}

class Site {
	/** Every request: `{ method, body, headers, query, closed }`. */
	requests = [];

	/** The answers that were paid for, in order. */
	paid = [];

	/** Called with each request; true: it is dealt with. @type {(request: any, res: import('node:http').ServerResponse) => unknown} */
	before = () => false;

	/** What an answer's response headers are, by default. */
	headers = {};

	server = createServer((req, res) => this.#serve(req, res));
	#resume;

	constructor(resume) {
		this.#resume = resume;
	}

	count(method) {
		return this.requests.filter((request) => request.method === method).length;
	}

	/** Waits for the nth question that is paid for, and returns its answer. */
	question(n = 0) {
		return until(() => this.paid[n], `question ${n}`);
	}

	async #serve(req, res) {
		const chunks = [];
		for await (const chunk of req.on('error', () => {})) chunks.push(chunk);
		const text = Buffer.concat(chunks).toString();
		const query = Object.fromEntries(new URL(req.url, 'http://site').searchParams);
		const request = { method: req.method, headers: req.headers, query, body: text ? JSON.parse(text) : undefined, closed: false };
		res.on('close', () => request.closed = true);
		this.requests.push(request);
		if (await this.before(request, res)) return;
		const id = query.stream ?? req.headers['illumichat-stream'];
		const known = this.#resume ? this.paid.find((answer) => answer.id === id && !answer.forgotten) : undefined;
		if (req.method === 'POST') return (known ?? this.#pay(id, request)).attach(res, 0);
		if (!known) return refuse(res, 404, 'not_found:stream');
		if (req.method === 'GET') return known.attach(res, Number(query.after));
		known.stop();
		res.writeHead(204).end();
	}

	#pay(id, request) {
		const answer = new Answer(this.#resume ? id : undefined, request, this.headers);
		this.paid.push(answer);
		return answer;
	}
}

/** Sends an error as the module does. */
export function refuse(res, status, code, headers = {}) {
	res.writeHead(status, { 'Content-Type': 'application/json', ...headers }).end(JSON.stringify({ error: `refused: ${code}`, code }));
	return true;
}

class Answer {
	/** Whether the server knows nothing of it any more. */
	forgotten = false;

	/** Whether a DELETE has stopped it. */
	stopped = false;

	#frames = [];
	#over = false;
	#readers = new Set();

	constructor(id, request, headers) {
		this.id = id;
		this.request = request;
		this.headers = headers;
	}

	/** Whether anybody reads it. */
	get isRead() {
		return this.#readers.size > 0;
	}

	attach(res, after) {
		const reader = { res, after };
		this.#readers.add(reader);
		res.on('close', () => this.#readers.delete(reader));
		this.#flush();
	}

	/** Sends the response headers. */
	open() {
		for (const { res } of this.#readers) this.#head(res);
		return this;
	}

	#head(res) {
		if (res.headersSent) return;
		res.writeHead(200, { 'Content-Type': 'text/event-stream', ...this.id && { 'Illumichat-Stream': this.id }, ...this.headers });
		res.flushHeaders();
	}

	/** Sends events. A text is a `text-delta`. */
	send(...events) {
		for (const event of events) this.#frames.push(typeof event === 'string' ? { type: 'text-delta', textDelta: event } : event);
		this.#flush();
		return this;
	}

	/** Ends the answer. */
	finish(finishReason = 'stop', more = {}) {
		this.send({ type: 'finish', finishReason, ...more });
		return this.close();
	}

	/** Ends the response. */
	close() {
		this.#over = true;
		this.#flush();
		return this;
	}

	/** Breaks all connections. */
	cut() {
		for (const { res } of this.#readers) res.destroy();
		return this;
	}

	stop() {
		this.stopped = true;
		if (!this.#over) this.send({ type: 'error', error: 'stopped', code: 'stopped:visitor' }).finish('error', { error: 'stopped', code: 'stopped:visitor' });
	}

	#flush() {
		for (const reader of this.#readers) {
			const { res } = reader;
			for (; reader.after < this.#frames.length; reader.after++) {
				this.#head(res);
				res.write(`${this.id ? `id: ${this.id}:${reader.after + 1}\n` : ''}data: ${JSON.stringify(this.#frames[reader.after])}\n\n`);
			}
			if (this.#over) {
				this.#head(res);
				res.end();
			}
		}
	}
}
