/**
 * Visits a chat as a page does, but without a browser. It takes the file of the page's client as its
 * argument and reads requests, each a line of JSON. For each it prints what a page sees of the answer, as
 * one more line.
 */
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';

// Node would take a .js file for CommonJS. A page says that it is a module; here its address does.
const client = await readFile(process.argv[2], 'base64');
const { chat } = await import(`data:text/javascript;base64,${client}`);

const fetchAsItComes = globalThis.fetch;

for await (const line of createInterface({ input: process.stdin })) {
	console.log(JSON.stringify(await see(JSON.parse(line))));
}

/**
 * Asks for an answer, and stops it if it is told when: `before` it is asked for, or after its first text
 * by an `abort`, or by a `break` that leaves the loop. With `byBytes` the answer comes byte by byte.
 */
async function see({ stop, byBytes, ...request }) {
	globalThis.fetch = byBytes ? fetchByBytes : fetchAsItComes;
	const stopping = new AbortController();
	const reason = Object.assign(new Error('the visitor has seen enough'), { name: 'Stopped' });
	if (stop === 'before') stopping.abort(reason);

	const seen = { events: [], text: '' };
	try {
		for await (const event of chat({ ...request, signal: stopping.signal })) {
			seen.events.push(event);
			if (event.type !== 'text-delta') continue;
			seen.text += event.textDelta;
			if (stop === 'abort') stopping.abort(reason);
			if (stop === 'break') break;
		}
	} catch (err) {
		const { name, message, code, status, retryAfter } = err;
		// JSON has no undefined and no NaN, and other errors than the client's have numbers for codes.
		seen.error = { name, message, code: code?.toString(), status, retryAfter: retryAfter?.toString() };
	}
	return seen;
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
