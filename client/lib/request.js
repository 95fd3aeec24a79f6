import { ChatError, refusal } from './error.js';
import { linkedTo, listen } from './wait.js';

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
 * The response of an event stream. The controller ends all that belongs to the connection.
 * @typedef {{ status: number, headers: Headers, reader: ReadableStreamDefaultReader<Uint8Array>, controller: AbortController }} Connection
 */

/** The header that holds the id of an answer, in requests and responses. */
export const streamHeader = 'Illumichat-Stream';

/** For how many milliseconds the body of an error is read. */
const errorPatience = 5000;

/**
 * Sends a request.
 *
 * @param {string} url
 * @param {Omit<RequestInit, 'headers'> & { headers?: Record<string, string> }} init
 * @param {ConnectOptions} options
 * @throws {ChatError} if there is no response
 */
async function send(url, init, { signal, headers: more, credentials, fetch = globalThis.fetch }) {
	const headers = new Headers(more);
	for (const name in init.headers) headers.set(name, init.headers[name]);
	signal?.throwIfAborted();
	// A redirect leads to a login page, which would answer in place of the chat.
	const request = new Request(withoutLogin(url), { ...init, headers, credentials, redirect: 'manual', signal });
	try {
		return await fetch(request);
	} catch (err) {
		signal?.throwIfAborted();
		throw unreachable(err);
	}
}

/**
 * Sends a request, and returns its event stream.
 *
 * @param {string} url
 * @param {Omit<RequestInit, 'headers'> & { headers?: Record<string, string> }} init
 * @param {ConnectOptions} options
 * @param {number} patience how many seconds to wait for the response headers
 * @param {boolean} repeatable whether the request can be repeated, so that it is given up when the browser comes back
 *	online: its connection cannot have survived
 * @returns {Promise<Connection | null>} null for a 204: the stream has no more events, or is stopped
 * @throws {ChatError} if the response is anything else
 */
export async function connect(url, init, options, patience, repeatable) {
	const { signal } = options;
	const controller = linkedTo(signal);
	const abort = () => controller.abort();
	let late = setTimeout(abort, patience * 1000);
	if (repeatable) listen(globalThis, 'online', abort, controller.signal);
	let connection = null;
	try {
		const response = await send(url, init, { ...options, signal: controller.signal });
		clearTimeout(late);
		const { ok, status, headers, body } = response;
		if (ok && body && /^\s*text\/event-stream\s*(;|$)/i.test(headers.get('Content-Type') ?? '')) {
			connection = { status, headers, reader: body.getReader(), controller };
		} else if (status !== 204 || init.method === 'POST') {
			late = setTimeout(abort, errorPatience);
			throw await errorOf(response);
		}
		return connection;
	} catch (err) {
		signal?.throwIfAborted();
		if (err instanceof ChatError || !controller.signal.aborted) throw err;
		throw unreachable(err);
	} finally {
		clearTimeout(late);
		if (!connection) abort();
	}
}

/** @param {unknown} cause */
function unreachable(cause) {
	return new ChatError('the site cannot be reached', { code: 'unreachable:connection', cause });
}

/**
 * Returns the URL without a user name and password. A page whose own URL has them passes them on to each relative URL, and
 * `fetch` refuses such a URL. The browser sends them by itself.
 *
 * @param {string} url
 */
function withoutLogin(url) {
	// A worker has no document.
	const absolute = new URL(url, globalThis.document?.baseURI ?? globalThis.location?.href);
	absolute.username = '';
	absolute.password = '';
	return absolute.href;
}

/**
 * Returns the error that a response stands for.
 *
 * @param {Response} response
 */
async function errorOf(response) {
	const { type, status, headers } = response;
	if (type === 'opaqueredirect' || (status >= 300 && status < 400)) {
		return new ChatError('the login may have expired', { status, code: 'redirected:connection' });
	}
	const otherwise = `the server answered ${status}, and no event stream`;
	const retryAfter = secondsUntil(headers.get('Retry-After'));
	// A login page, a captive portal or a bot check stays the same when it is asked again.
	const foreign = status < 400 || (status === 403 && /^text\/html/i.test(headers.get('Content-Type') ?? ''));
	// Something other than the chat may have answered, with anything, and without an end.
	return refusal(await response.json().catch(() => null), otherwise, { status, retryAfter, code: foreign ? 'not_chat:connection' : '' });
}

/**
 * Reads a `Retry-After`, which is a number of seconds or a date (RFC 9110, section 10.2.3).
 *
 * @param {string | null} retryAfter
 */
function secondsUntil(retryAfter) {
	const value = retryAfter?.trim() ?? '';
	// Dates have names of months. Without one, Date.parse finds dates in what is none.
	const date = /[a-z]/i.test(value) ? Date.parse(value) : NaN;
	const seconds = /^\d+$/.test(value) ? Number(value) : Math.ceil((date - Date.now()) / 1000);
	return Number.isFinite(seconds) ? Math.max(0, seconds) : undefined;
}
