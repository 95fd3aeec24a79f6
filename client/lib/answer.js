import { ChatError, LostConnection, isObject, mayPass, refusal } from './error.js';
import { connect, streamHeader } from './request.js';
import { hangUp, readEvents } from './sse.js';
import { isOffline, pause, pauseAfter } from './wait.js';
import { watch } from './watchdog.js';

/** @typedef {import('./request.js').ConnectOptions} ConnectOptions */
/** @typedef {import('./request.js').Connection} Connection */

/**
 * One message of the chat.
 * @typedef {object} Message
 * @property {string} role who wrote it: `user`, `assistant`, or another role that the site allows
 * @property {string | object[]} content its text, or the parts that the API knows; not empty
 */

/**
 * A question.
 * @typedef {object} QuestionFields
 * @property {Message[]} messages the conversation, with the question as its last message
 * @property {string} [assistantId] whom to ask, if the site has more than one assistant
 * @property {string} [chatId] the chat that goes on
 */

/** A question with any fields of the site's `pass_fields`. @typedef {QuestionFields & Record<string, unknown>} Question */

/**
 * An event of the answer. Events of other types, and fields that are not listed here, may come as well, and are handed out
 * as they are.
 *
 * - `text-delta`: the next piece of the text.
 * - `tool-call`: the assistant calls a tool.
 * - `tool-result`: what the tool returned. `toolCallId` names the call, if the upstream sends it.
 * - `error`: what went wrong. A `finish` with the same text follows.
 * - `finish`: the answer is complete (`stop`), or ends at its length limit (`length`). After `tool-calls` it may go on. The code
 *	is `stopped:visitor` if a page of the visitor stopped the answer.
 *
 * @typedef {{ type: 'text-delta', textDelta: string }
 *	| { type: 'tool-call', toolName: string, toolCallId?: string, args: unknown }
 *	| { type: 'tool-result', toolName: string, toolCallId?: string, result: unknown }
 *	| { type: 'error', error?: string }
 *	| { type: 'finish', finishReason: string, code?: string }} ChatEvent
 */

/**
 * @typedef {object} ReadOptions
 * @property {(err: ChatError, wait: number) => void} [onReconnect] is called when the connection of an answer is lost and
 *	the client will continue the answer over another one in `wait` seconds
 */

/**
 * @typedef {object} OpenOptions
 * @property {string} [id] the id of the answer, from `newId`; by default a new one. A request that is repeated with its id
 *	gets the same answer, if the site has `resume`, and the question is paid for once.
 * @property {boolean} [resumable] whether the site is known to have `resume`. Then a request that gets no response headers
 *	for 45 seconds is repeated.
 */

/** How often the client tries to continue an answer while nothing more of it arrives, and the longest pause in seconds. */
const mostReconnects = 15;
const longestReconnectPause = 5;

/** How many seconds a GET may take until its response headers, for an answer that has begun. */
const reconnectPatience = 10;

/** How many seconds a POST may take until its response headers. The server's `max_duration` is 2 minutes by default. */
const headPatience = 180;

/** How many seconds one may take that can be repeated. No heartbeats come before the response headers. */
const repeatPatience = 45;

const defaultHeartbeat = 15;

/** The code of a finish if another page of the visitor stopped the answer. */
export const stoppedElsewhere = 'stopped:visitor';

/** Returns a new id for an answer: 128 random bits in base64url. */
export function newId() {
	const bytes = crypto.getRandomValues(new Uint8Array(16));
	return btoa(String.fromCharCode(...bytes)).replaceAll('+', '-').replaceAll('/', '_').slice(0, 22);
}

/** An answer that is on its way, or can be read again. `openAnswer` and `followAnswer` make it. */
export class Answer {
	/**
	 * @param {string} url
	 * @param {string | undefined} id
	 * @param {number} after
	 * @param {Connection | null | undefined} connection where the answer goes on; null: it has no more events; undefined:
	 *	there is no connection yet
	 * @param {ConnectOptions & ReadOptions} options
	 */
	constructor(url, id, after, connection, options) {
		/** The id of the answer, if it can be continued over another connection. */
		this.id = id;
		/** The number of the last event that was read. */
		this.after = after;
		/** The chat's id, once the server has told it. */
		this.chatId = connection ? chatIdOf(connection.headers) : undefined;
		/**
		 * The events. They can be read once. A loop that ends without an exception has seen the answer to its end. A loop that
		 * is left closes the connection, and does not stop the answer.
		 *
		 * @type {AsyncGenerator<ChatEvent, void, void>}
		 */
		this.events = readOn(url, this, connection, options);
	}
}

/**
 * Asks a question. Resolves when the response headers are there.
 *
 * @param {string} url the chat endpoint
 * @param {Question} question
 * @param {ConnectOptions & ReadOptions & OpenOptions} [options]
 * @returns {Promise<Answer>}
 * @throws {ChatError}
 */
export async function openAnswer(url, question, options = {}) {
	const { id = newId(), resumable = false } = options;
	const init = {
		method: 'POST',
		headers: { 'Content-Type': 'application/json', [streamHeader]: id },
		body: JSON.stringify(question),
	};
	const connection = await connect(url, init, options, resumable ? repeatPatience : headPatience, resumable);
	return new Answer(url, connection?.headers.get(streamHeader) || undefined, 0, connection, options);
}

/**
 * Continues an answer, after the page was loaded anew for example. Resolves when the response headers are there; while
 * nothing of the answer has arrived, the server waits with them.
 *
 * @param {string} url the chat endpoint
 * @param {string} id
 * @param {ConnectOptions & ReadOptions & { after?: number }} [options] `after` is the number of the last event that is known;
 *	by default 0, for the whole answer
 * @returns {Promise<Answer>}
 * @throws {ChatError} with the code `not_found:stream` if the answer is not kept any more, or is another visitor's
 */
export async function followAnswer(url, id, options = {}) {
	const { after = 0 } = options;
	const connection = await reconnect(url, { id, after }, options);
	return new Answer(url, id, after, connection, options);
}

/**
 * Stops an answer, in whatever phase it is: the server cancels its request upstream. Works where the site has `resume`;
 * elsewhere an answer ends when its connection is closed.
 *
 * @param {string} url the chat endpoint
 * @param {string} id
 * @param {ConnectOptions} [options]
 * @returns {Promise<boolean>} whether the server knew the answer
 * @throws {ChatError}
 */
export async function stopAnswer(url, id, options = {}) {
	// keepalive: the request is sent even if the page is left meanwhile.
	const init = { method: 'DELETE', headers: { [streamHeader]: id }, keepalive: true };
	try {
		await connect(url, init, options, reconnectPatience, false);
		return true;
	} catch (/** @type {any} */ err) {
		if (err.code === 'not_found:stream') return false;
		throw err;
	}
}

/**
 * Reads an answer to its end, over as many connections as it takes.
 *
 * @param {string} url
 * @param {Answer} answer
 * @param {Connection | null | undefined} connection
 * @param {ConnectOptions & ReadOptions} options
 * @returns {Answer['events']}
 */
async function* readOn(url, answer, connection, options) {
	const { signal, onReconnect } = options;
	let lost = new ChatError('the answer is not there any more', { code: 'closed:connection' });
	let failed = 0;
	// Whether the last event may be the end of the answer: one that was read before, or the finish of a step.
	let mayEnd = answer.after > 0;
	for (;;) {
		try {
			if (connection === undefined) connection = await reconnect(url, answer, options);
			if (!connection) {
				if (mayEnd) return;
				throw lost;
			}
			for await (const event of read(connection, answer, options)) {
				failed = 0;
				mayEnd = event.type === 'finish' && isStep(event);
				yield event;
			}
			return;
		} catch (/** @type {any} */ err) {
			signal?.throwIfAborted();
			if (connection) {
				// Any other error is how the answer has ended.
				if (!(err instanceof LostConnection)) throw err;
				lost = err;
			}
			if (!isOffline()) failed++;
			if (!answer.id || failed > mostReconnects || connection === null || err.code === 'not_found:stream') throw lost;
			// A gateway's error says nothing about the answer.
			if (!(err.status >= 500) && !mayPass(err)) throw err;
			connection = undefined;
			const wait = pauseAfter(err, failed, longestReconnectPause);
			onReconnect?.(err, wait);
			if (await pause(wait, signal)) failed = 0;
		}
	}
}

/**
 * Continues an answer over a new connection.
 *
 * @param {string} url
 * @param {Pick<Answer, 'id' | 'after'>} answer
 * @param {ConnectOptions} options
 */
function reconnect(url, { id = '', after }, options) {
	const place = new URLSearchParams({ stream: id, after: String(after) });
	// The position is in the URL, because a service worker that caches responses does not look at request headers. In a
	// browser's own cache, requests for the same URL would wait for each other.
	const separator = url.includes('?') ? '&' : '?';
	return connect(url + separator + place, { cache: 'no-store' }, options, after > 0 ? reconnectPatience : repeatPatience, true);
}

/**
 * Reads an answer over one connection.
 *
 * @param {Connection} connection
 * @param {Answer} answer is moved on with each event
 * @param {ConnectOptions} options
 * @returns {Answer['events']}
 */
async function* read({ status, reader, controller }, answer, { signal, heartbeat = defaultHeartbeat }) {
	let silent = false;
	/**
	 * @param {string} message
	 * @param {string} code
	 * @param {unknown} [cause]
	 */
	const lost = (message, code, cause) => new LostConnection(message, { status, code, cause });
	const heard = watch(heartbeat, answer.id !== undefined, controller.signal, () => {
		silent = true;
		hangUp(reader);
	});
	/** @type {any} what the last error event said */
	let said;
	let finished = false;
	// After a step that calls tools the answer may go on, or end.
	let mayEnd = false;
	try {
		for await (const { data, id } of readEvents(reader, heard)) {
			signal?.throwIfAborted();
			const [stream, number] = id.split(':');
			if (answer.id && id) {
				if (stream !== answer.id) throw lost('the connection has events of another answer', 'broken:connection');
				if (!(Number(number) > answer.after)) continue;
				answer.after = Number(number);
			}
			const event = parseEvent(data);
			if (!event) continue;
			if (event.type === 'error') said = event;
			if (event.type === 'finish') {
				if (finished) continue;
				if (event.code === stoppedElsewhere) throw new ChatError('the answer was stopped elsewhere', { status, code: event.code });
				if (event.finishReason === 'error') throw refusal({ ...said, ...event }, 'the answer ended with an error', { status });
				mayEnd = isStep(event);
				finished = !mayEnd;
			} else {
				mayEnd = false;
			}
			if (event.chatId && typeof event.chatId === 'string') answer.chatId = event.chatId;
			heard(-Infinity);
			yield event;
			heard();
		}
	} catch (err) {
		// Once it is finished an answer is whole, whatever happens to its connection.
		if (finished) return;
		signal?.throwIfAborted();
		if (err instanceof ChatError) throw err;
		throw lost('the connection broke', 'broken:connection', err);
	} finally {
		controller.abort();
	}
	if (finished || mayEnd && !silent) return;
	if (silent) throw lost('the connection has gone silent', 'stalled:connection');
	throw lost('the answer ended without a finish', 'closed:connection');
}

/**
 * Reports whether a finish ends a step of the answer, after which tools are called.
 *
 * @param {ChatEvent & { type: 'finish' }} event
 */
export function isStep({ finishReason }) {
	return finishReason === 'tool-calls' || finishReason === 'tool_calls';
}

/**
 * Finds the chat's id in the response headers. The API does not document its header.
 *
 * @param {Headers} headers
 */
function chatIdOf(headers) {
	for (const [name, value] of headers) {
		if (/(^|-)chat-?id$/.test(name) && value) return value;
	}
	return undefined;
}

/**
 * Reads the JSON object in an event's data. Other data is no event of a chat, and is skipped.
 *
 * @param {string} data
 * @returns {any}
 */
function parseEvent(data) {
	try {
		const event = JSON.parse(data);
		if (!isObject(event)) return null;
		if (event.type === 'text-delta') {
			// `delta` is the AI SDK's name for it.
			const text = event.textDelta ?? event.delta;
			event.textDelta = typeof text === 'string' ? text : '';
		}
		return event;
	} catch {
		return null;
	}
}
