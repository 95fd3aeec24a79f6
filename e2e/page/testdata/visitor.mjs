/**
 * Visits a chat as a page does, but without a browser. It takes the file of the page's client as its
 * argument and reads requests, each a line of JSON. For each it prints what a page sees of the answer, as
 * one more line.
 */
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';

// Node would take a .js file for CommonJS. A page says that it is a module; here its address does.
const client = await readFile(process.argv[2], 'base64');
const { Chat } = await import(`data:text/javascript;base64,${client}`);

const fetchAsItComes = globalThis.fetch;
const waitAsTold = globalThis.setTimeout;

for await (const line of createInterface({ input: process.stdin })) {
	console.log(JSON.stringify(await see(JSON.parse(line))));
}

/**
 * Says one thing after the other in one chat, and tells what it saw of the last answer. It stops that one if it
 * is told when: `before` it is asked for, in a `pause` before it is asked for again, or after its first text by an
 * `abort`, or by a `break` that leaves the loop. With `byBytes` the answer comes byte by byte, and with `again`
 * the last question is asked twice.
 */
async function see({ url, say, stop, byBytes, again, ...options }) {
	globalThis.fetch = byBytes ? fetchByBytes : fetchAsItComes;
	const chat = new Chat(url, options);
	let seen;
	for (const [i, content] of say.entries()) {
		const ending = i === say.length - 1 ? stop : undefined;
		seen = await follow((options) => chat.send(content, options), ending);
	}
	if (again) seen = await follow((options) => chat.retry(options));
	return { ...seen, chatId: chat.chatId, history: chat.messages };
}

async function follow(ask, stop) {
	const stopping = new AbortController();
	const reason = Object.assign(new Error('the visitor has seen enough'), { name: 'Stopped' });
	if (stop === 'before') stopping.abort(reason);

	const seen = { events: [], text: '', retries: [] };
	const onRetry = (err, wait) => {
		seen.retries.push({ error: told(err), wait });
		// Nobody waits here; in a pause that is to be stopped, nobody comes back from it.
		globalThis.setTimeout = (callback, milliseconds) => {
			globalThis.setTimeout = waitAsTold;
			seen.retries.at(-1).slept = milliseconds / 1000;
			if (stop !== 'pause') return waitAsTold(callback, 0);
			waitAsTold(() => stopping.abort(reason), 0);
		};
	};
	try {
		for await (const event of ask({ signal: stopping.signal, onRetry })) {
			seen.events.push(event);
			if (event.type !== 'text-delta') continue;
			seen.text += event.textDelta;
			if (stop === 'abort') stopping.abort(reason);
			if (stop === 'break') break;
		}
	} catch (err) {
		seen.error = told(err);
	}
	return seen;
}

/** JSON has no undefined and no NaN, and other errors than the client's have numbers for codes. Go compares strings. */
function told({ name, message, code, status, details, retryAfter }) {
	return { name, message, code: code?.toString(), status, details: JSON.stringify(details), retryAfter: retryAfter?.toString() };
}

/** Fetches an answer, each of whose reads gives one byte. Node would join small chunks that come together. */
async function fetchByBytes(...args) {
	const response = await fetchAsItComes(...args);
	const bytes = new TransformStream({
		transform(chunk, controller) {
			for (const byte of chunk) controller.enqueue(Uint8Array.of(byte));
		},
	});
	return new Response(response.body?.pipeThrough(bytes), response);
}
