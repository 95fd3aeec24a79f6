/**
 * Chats as a page does, but without a browser. Its argument is the file of the page's client. It reads
 * requests, each a line of JSON. For each request it prints what a page sees of the answer, as a line of JSON.
 */
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';

// Node would load a .js file as CommonJS. A page says that the script is a module; here the data URL does.
const client = await readFile(process.argv[2], 'base64');
const { Chat } = await import(`data:text/javascript;base64,${client}`);

const fetchAsItComes = globalThis.fetch;
const waitAsTold = globalThis.setTimeout;

for await (const line of createInterface({ input: process.stdin })) {
	console.log(JSON.stringify(await see(JSON.parse(line))));
}

/**
 * Sends one message of `say` after the other in one chat, and returns what it saw of the last answer. `stop` says
 * when to stop that answer: `before` the request, in the `pause` before a retry, or after its first text, by an
 * `abort` of the signal or by a `break` out of the loop. With `byBytes`, the answer arrives byte by byte. With
 * `again`, the last question is asked twice.
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
		// The pause takes no time. If it is to be stopped, it does not end by itself.
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

/**
 * Returns the fields of an error for JSON, which has no undefined and no NaN. Codes are strings for Go to compare, because
 * errors that are not the client's have numbers as codes.
 */
function told({ name, message, code, status, details, retryAfter }) {
	return { name, message, code: code?.toString(), status, details: JSON.stringify(details), retryAfter: retryAfter?.toString() };
}

/** Fetches an answer whose reads return one byte each. Small chunks would not do: Node joins those that arrive together. */
async function fetchByBytes(...args) {
	const response = await fetchAsItComes(...args);
	const bytes = new TransformStream({
		transform(chunk, controller) {
			for (const byte of chunk) controller.enqueue(Uint8Array.of(byte));
		},
	});
	return new Response(response.body?.pipeThrough(bytes), response);
}
