/**
 * Chats as pages do, but without a browser. Its argument is the file of the client. It reads requests, each a line of JSON.
 * For each request it prints what a page sees of the answer, as a line of JSON.
 */
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { pathToFileURL } from 'node:url';

const { Chat } = await import(pathToFileURL(resolve(process.argv[2])));

const waitAsTold = globalThis.setTimeout;

/** What the tab keeps. Each request with `say` begins with an empty tab. */
const items = new Map();

/** The page that is open. */
let page;

/** A page of the tab. When it is left, its connections end, and it does nothing more. */
class Page {
	#left = new AbortController();
	#byBytes;
	#twice;
	#asking;
	#opening;

	/** Resolves when the page sends a request. */
	asked = new Promise((resolve) => { this.#asking = resolve; });

	/** Resolves when the page has got a response. */
	opened = new Promise((resolve) => { this.#opening = resolve; });

	constructor({ byBytes, twice }) {
		this.#byBytes = byBytes;
		this.#twice = twice;
	}

	/** The page's part of the tab's storage. */
	store = {
		get: (key) => items.get(key),
		set: (key, value) => { if (!this.#left.signal.aborted) items.set(key, value); },
		remove: (key) => { if (!this.#left.signal.aborted) items.delete(key); },
	};

	leave() {
		this.#left.abort();
	}

	fetch = async (request) => {
		const signal = AbortSignal.any([request.signal, this.#left.signal]);
		try {
			if (this.#twice) fetch(request.clone(), { signal }).then(({ body }) => body?.pipeTo(new WritableStream())).catch(() => {});
			this.#asking();
			const response = await fetch(request, { signal });
			this.#opening();
			return this.#byBytes ? inBytes(response) : response;
		} catch (err) {
			if (this.#left.signal.aborted) return new Promise(() => {});
			throw err;
		}
	};
}

for await (const line of createInterface({ input: process.stdin })) {
	console.log(JSON.stringify(await see(JSON.parse(line))));
}

/**
 * Opens a page that sends one message of `say` after the other in one chat, and returns what it saw of the last answer. Without
 * `say`, the page before is left, and the new one continues its answer.
 *
 * - `stop` says when the page leaves or stops the last answer: `before` the request or after the first text by an `abort` of
 *	the signal, in the `pause` before a retry or after the first text by a `stop`, or after the first text by a `detach` or by a
 *	`break` out of the loop.
 * - `again`: the last question is asked twice.
 * - `stay`: the page does not wait for the last answer, but for its request to be `asked`, or for a response (`opened`). A pause
 *	before a retry does not end.
 * - `leave`: the page is left, and no other one opened.
 * - `byBytes`: each read of the answer gives one byte.
 * - `twice`: each request is sent twice at the same time; the page reads the later response.
 */
async function see({ say, stop, again, stay, leave, byBytes, twice, ...options }) {
	page?.leave();
	if (leave) return {};
	page = new Page({ byBytes, twice });
	if (say) items.clear();
	const chat = new Chat(options.url, { storageKey: 'chat', ...options, store: page.store, fetch: page.fetch });
	if (!say) return { openQuestion: chat.openQuestion, ...await follow(chat, (options) => chat.resume(options), stop), ...told(chat) };

	let seen;
	for (const [i, content] of say.entries()) {
		const last = i === say.length - 1;
		const answer = follow(chat, (options) => chat.send(content, options), last ? stay ? 'stay' : stop : undefined);
		if (last && stay) {
			await page[stay];
			return {};
		}
		seen = await answer;
	}
	if (again) seen = await follow(chat, (options) => chat.retry(options));
	return { ...seen, ...told(chat) };
}

/** Returns what a page knows of its chat. */
function told(chat) {
	return { chatId: chat.chatId, history: chat.messages, states: chat.turns.map(({ state }) => state) };
}

async function follow(chat, ask, stop) {
	const stopping = new AbortController();
	const reason = Object.assign(new Error('the visitor has seen enough'), { name: 'Stopped' });
	if (stop === 'before') stopping.abort(reason);

	const seen = { events: [], text: '', retries: [], reconnects: 0 };
	const onRetry = (err, wait) => {
		seen.retries.push({ error: read(err), wait });
		// The pause takes no time. If the answer is stopped in it, or the page left, the pause does not end by itself.
		globalThis.setTimeout = (callback, milliseconds) => {
			globalThis.setTimeout = waitAsTold;
			seen.retries.at(-1).slept = milliseconds / 1000;
			if (stop === 'pause') return waitAsTold(() => chat.stop(), 0);
			if (stop !== 'stay') return waitAsTold(callback, 0);
		};
	};
	const onReconnect = () => { seen.reconnects++; };
	try {
		for await (const event of ask({ signal: stopping.signal, onRetry, onReconnect })) {
			seen.events.push(event);
			if (event.type !== 'text-delta') continue;
			seen.text += event.textDelta;
			if (stop === 'stop') chat.stop();
			if (stop === 'detach') chat.detach();
			if (stop === 'abort') stopping.abort(reason);
			if (stop === 'break') break;
		}
	} catch (err) {
		seen.error = read(err);
	}
	return seen;
}

/**
 * Returns the fields of an error for JSON, which has no undefined and no NaN. Codes are strings for Go to compare, because
 * errors that are not the client's have numbers as codes.
 */
function read({ name, message, code, status, details, retryAfter }) {
	return { name, message, code: code?.toString(), status, details: JSON.stringify(details), retryAfter: retryAfter?.toString() };
}

/** Makes each read of a response give one byte. Small chunks would not do: Node joins those that arrive together. */
function inBytes(response) {
	const bytes = new TransformStream({
		transform(chunk, controller) {
			for (const byte of chunk) controller.enqueue(Uint8Array.of(byte));
		},
	});
	return new Response(response.body?.pipeThrough(bytes), response);
}
