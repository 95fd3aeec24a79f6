import { ChatError, refusal } from './error.js';
import { hangUp } from './sse.js';
import { linkedTo } from './wait.js';

/**
 * How to reach the chat.
 * @typedef {object} ConnectOptions
 * @property {AbortSignal} [signal] closes the connection. An answer that can be resumed goes on for a while.
 * @property {HeadersInit} [headers] further request headers, for example for a login
 * @property {RequestCredentials} [credentials] whether cookies are sent to another origin; default `same-origin`
 * @property {typeof fetch} [fetch] sends the requests instead of the browser's `fetch`
 * @property {number} [heartbeat] the site's `heartbeat` in seconds; default 15. A connection that receives nothing for
 *	three heartbeats is taken for dead. 0: the site's heartbeat is `off`, and the client waits as long as the browser does.
 */

/**
 * The response of an event stream. `release` ends the link with the signal, once the stream is read.
 * @typedef {{ status: number, headers: Headers, reader: ReadableStreamDefaultReader<Uint8Array>, release: () => void }} Connection
 */

/** The header that holds the id of an answer, in requests and responses. */
export const streamHeader = 'Illumichat-Stream';

/** How many characters of an error are read, and for how many milliseconds. */
const longestError = 65_536;
const errorPatience = 5000;

/**
 * Sends a request.
 *
 * @param {string} url
 * @param {RequestInit} init
 * @param {ConnectOptions} options
 * @throws {ChatError} if there is no response
 */
export async function send(url, init, { signal, headers: more, credentials, fetch = globalThis.fetch }) {
	const headers = new Headers(more);
	new Headers(init.headers).forEach((value, name) => headers.set(name, value));
	signal?.throwIfAborted();
	try {
		// A redirect leads to a login page, which would answer in place of the chat.
		return await fetch(new Request(withoutLogin(url), { ...init, headers, credentials, redirect: 'manual', signal }));
	} catch (err) {
		signal?.throwIfAborted();
		throw new ChatError('the site cannot be reached', { code: 'unreachable:connection', cause: err });
	}
}

/**
 * Sends a request, and returns its event stream.
 *
 * @param {string} url
 * @param {RequestInit} init
 * @param {ConnectOptions} options
 * @param {number} patience how many seconds to wait for the response headers
 * @returns {Promise<Connection | null>} null for a 204, which says that the stream has no more events
 * @throws {ChatError} if the response is anything else
 */
export async function connect(url, init, options, patience) {
	const { signal } = options;
	const { controller, unlink } = linkedTo(signal);
	const late = setTimeout(() => controller.abort(), patience * 1000);
	try {
		const response = await send(url, init, { ...options, signal: controller.signal });
		const { ok, status, headers, body } = response;
		if (ok && body && mediaType(headers) === 'text/event-stream') {
			return { status, headers, reader: body.getReader(), release: unlink };
		}
		if (status !== 204) throw await errorOf(response);
	} catch (err) {
		unlink();
		signal?.throwIfAborted();
		if (err instanceof ChatError) throw err;
		throw new ChatError('the site does not answer', { code: 'unreachable:connection', cause: err });
	} finally {
		clearTimeout(late);
	}
	unlink();
	return null;
}

/**
 * Returns the URL without a user name and password. A page whose own URL has them passes them on to each relative URL, and
 * `fetch` refuses such a URL. The browser sends them by itself.
 *
 * @param {string} url
 */
function withoutLogin(url) {
	const absolute = new URL(url, globalThis.document?.baseURI);
	absolute.username = '';
	absolute.password = '';
	return absolute.href;
}

/**
 * Returns the error that a response stands for.
 *
 * @param {Response} response
 */
export async function errorOf({ type, status, headers, body }) {
	if (type === 'opaqueredirect' || (status >= 300 && status < 400)) {
		return new ChatError('the site redirects the chat: the login may have expired', { status, code: 'redirected:connection' });
	}
	const otherwise = `the server answered ${status}, and no event stream`;
	const retryAfter = secondsUntil(headers.get('Retry-After'));
	// A login page, a captive portal or a bot check stays the same when it is asked again.
	const foreign = status < 400 || (status === 403 && mediaType(headers) === 'text/html');
	return refusal(await readError(body), otherwise, { status, retryAfter, code: foreign ? 'not_chat:connection' : '' });
}

/** @param {Headers} headers */
function mediaType(headers) {
	return (headers.get('Content-Type') ?? '').split(';', 1)[0].trim().toLowerCase();
}

/**
 * Reads the JSON of an error. Something other than the chat may have answered, so the body may be anything, and may never
 * end.
 *
 * @param {ReadableStream<Uint8Array> | null} body
 */
async function readError(body) {
	if (!body) return null;
	const reader = body.getReader();
	const late = setTimeout(hangUp, errorPatience, reader);
	const decoder = new TextDecoder();
	let text = '';
	try {
		while (text.length < longestError) {
			const { done, value } = await reader.read();
			if (done) break;
			text += decoder.decode(value, { stream: true });
		}
		return JSON.parse(text);
	} catch {
		return null;
	} finally {
		clearTimeout(late);
		hangUp(reader);
	}
}

/**
 * Reads a `Retry-After`, which is a number of seconds or a date (RFC 9110, section 10.2.3).
 *
 * @param {string | null} retryAfter
 */
function secondsUntil(retryAfter) {
	const value = retryAfter?.trim() ?? '';
	if (/^\d{1,9}$/.test(value)) return Number(value);
	// Dates have names of months. Without one, Date.parse finds dates in what is none.
	const date = /[a-z]/i.test(value) ? Date.parse(value) : NaN;
	return Number.isNaN(date) ? undefined : Math.max(0, Math.ceil((date - Date.now()) / 1000));
}
