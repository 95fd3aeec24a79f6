/**
 * A client for the chat endpoint of a site that runs caddy-illumichat. It posts a question with the
 * conversation before it, and hands out the events of the answer as they arrive:
 *
 *	const chat = new Chat('/api/chat-proxy');
 *	for await (const event of chat.send('Hello')) {
 *		if (event.type === 'text-delta') show(event.textDelta);
 *	}
 *
 * A loop that ends without an exception has seen the answer to its end. The answer is whole with its
 * `finish`; the loop goes on until the server is done, for what may come after it, such as a chat's id.
 *
 * Where the site has `resume`, an answer whose connection is lost goes on over another one by itself, and with a
 * `storageKey` also after a reload of the page, by `chat.resume()`.
 */

/**
 * One message of the chat.
 * @typedef {object} Message
 * @property {string} role who wrote it: `user`, `assistant`, or another one that the site allows
 * @property {string | object[]} content its text, or the parts that the API knows; not empty
 */

/**
 * An event of the answer. Events of other types, and fields that are not listed here, may come as well, and
 * are handed out as they are.
 *
 * - `text-delta`: the next piece of the text.
 * - `tool-call`: the assistant calls a tool.
 * - `tool-result`: what the tool gave back.
 * - `finish`: the answer is complete (`stop`), or ends at its length limit (`length`).
 *
 * @typedef {{ type: 'text-delta', textDelta: string }
 *	| { type: 'tool-call', toolName: string, args: unknown }
 *	| { type: 'tool-result', toolName: string, result: unknown }
 *	| { type: 'finish', finishReason: string }} ChatEvent
 */

/**
 * How to ask one question.
 * @typedef {object} SendOptions
 * @property {AbortSignal} [signal] stops the answer; before its `finish`, the loop then throws the signal's reason
 * @property {(err: ChatError, wait: number) => void} [onRetry] is told what went wrong before the question
 *	is sent again in `wait` seconds
 * @property {(err: ChatError, wait: number) => void} [onReconnect] is told what went wrong before the answer,
 *	whose connection was lost, goes on over another one in `wait` seconds
 */

/** @typedef {{ assistantId?: string, messages: Message[], chatId?: string }} Question */

/** @typedef {SendOptions & { onStream?: (stream: string) => void }} AskOptions */

/**
 * How far an answer that can be resumed was read: the stream's id, and the number of its last event.
 * @typedef {{ stream: string, after: number }} Place
 */

/** @typedef {{ status: number, headers: Headers, body: ReadableStream<Uint8Array> }} Connection */

/**
 * An answer that can be read again: its question, and the stream's id.
 * @typedef {{ content: Message['content'], stream: string }} OpenAnswer
 */

/**
 * What is kept over a reload of the page: a conversation, and the answer that is to follow.
 * @typedef {{ messages: Message[], chatId?: string, open?: OpenAnswer }} Kept
 */

/** The first pause before a question is sent again, in seconds; it doubles with each further one. */
const firstPause = 1;

/** The longest pause, in seconds; a server that asks for more is not waited for. */
const longestPause = 15;

/**
 * How often it is tried to go on with an answer while nothing more of it comes, and the longest pause before, in
 * seconds. All pauses together are longer than the 30 seconds for which a server goes on with nobody listening.
 */
const mostReconnects = 15;
const longestReconnectPause = 5;

/** How many milliseconds the head of such a try is waited for: a network that is gone may say nothing. */
const reconnectPatience = 10_000;

/** How many characters of an error are read, and for how many milliseconds. */
const longestError = 65_536;
const errorPatience = 5000;

/** The longest line of a stream, in characters. */
const longestLine = 16 * 1024 * 1024;

/** The statuses that another try may get over. A 504 is none: it has taken long enough already. */
const passingStatuses = [429, 500, 502, 503];

/** What ends an answer before its first event, and may not end the next one. */
const passingCodes = ['unreachable:connection', 'broken:connection', 'closed:connection', 'closed:upstream', 'shutting_down:proxy'];

/** The answer did not come, or did not come to its end. */
export class ChatError extends Error {
	/**
	 * @param {string} message what went wrong, in the server's words where it gave any
	 * @param {{ status?: number, code?: string, details?: Record<string, unknown>, retryAfter?: number, cause?: unknown }} [about]
	 */
	constructor(message, { status = 0, code = '', details, retryAfter, cause } = {}) {
		super(message, { cause });
		this.name = 'ChatError';
		/** The HTTP status: 200 for an answer that broke off, 0 where no answer came at all. */
		this.status = status;
		/** What went wrong as `<type>:<context>`, such as `rate_limit:chat`; empty where the server did not say. */
		this.code = code;
		/** What is wrong with which field of the request, where the server said so. */
		this.details = details;
		/** The seconds to wait before the next try, where the server said so. */
		this.retryAfter = retryAfter;
	}

	/** The first part of the code, such as `rate_limit`. */
	get type() {
		return this.code.split(':', 1)[0];
	}
}

/** The connection of an answer was lost. The answer itself may go on. */
class LostConnection extends ChatError {}

/** A conversation. It keeps what was said, and the name that the server has given it. */
export class Chat {
	/**
	 * What was said so far, which is sent with each question. An answer that broke off or was stopped is in
	 * it as far as it came; a question without any text for an answer is not, because it may be the very
	 * thing that was refused. It is replaced as it grows, so a copy is not needed to keep how it was.
	 *
	 * @type {Message[]}
	 */
	messages;

	/** The chat's id, once the server has told one. @type {string | undefined} */
	chatId;

	#url;
	#assistantId;
	#tries;
	#storageKey;

	/** Whether the site's answers can be resumed. Nothing is kept over a reload before that is known. */
	#resumable;

	/** The answer that is on its way, or was when the page was left. @type {OpenAnswer | undefined} */
	#open;

	/**
	 * The question that was asked last, and how things stood before it.
	 * @type {{ content: Message['content'], messages: Message[], chatId?: string } | undefined}
	 */
	#last;

	/** Whether an answer is on its way. */
	#answering = false;

	/**
	 * @param {string} url the chat endpoint
	 * @param {object} [options]
	 * @param {string} [options.assistantId] whom to ask, where the site has more than one assistant
	 * @param {Message[]} [options.messages] a conversation to continue
	 * @param {string} [options.chatId] the id of the chat to continue
	 * @param {number} [options.tries] how often a question is sent at most, while nothing of an answer has
	 *	come; default 3. Each counts in the limits of the site.
	 * @param {string} [options.storageKey] the key in `sessionStorage` by which the conversation is kept over a
	 *	reload of the page, where the answers of the site can be resumed. What is there already is continued,
	 *	whatever `messages` and `chatId` say.
	 */
	constructor(url, { assistantId, messages = [], chatId, tries = 3, storageKey } = {}) {
		this.#url = url;
		this.#assistantId = assistantId;
		this.#tries = tries;
		this.#storageKey = storageKey;
		const kept = storageKey === undefined ? undefined : recall(storageKey);
		this.#resumable = kept !== undefined;
		this.#open = kept?.open;
		this.messages = kept ? kept.messages : messages;
		this.chatId = kept ? kept.chatId : chatId;
	}

	/** The question whose answer was on its way when the page was left. Ask `resume` for that. */
	get openQuestion() {
		return this.#answering ? undefined : this.#open?.content;
	}

	/**
	 * Asks a question. It is sent when the first event is asked for, and given up when the loop over the
	 * events is left. The next one can be asked as soon as there is a `finish`.
	 *
	 * @param {string | object[]} content
	 * @param {SendOptions} [options]
	 * @returns {AsyncGenerator<ChatEvent, void, void>}
	 * @throws {ChatError} when the answer does not come, or does not come to its end
	 * @throws {Error} when an answer is still on its way
	 */
	async *send(content, options) {
		if (this.#answering) throw new Error('an answer is still on its way');
		const { messages, chatId } = this;
		const question = { assistantId: this.#assistantId, messages: asking(messages, content), chatId };
		yield* this.#take(content, askUntilAnswered(this.#url, question, this.#tries, {
			...options,
			onStream: (stream) => {
				this.#resumable = true;
				this.#open = { content, stream };
				this.#keep();
			},
		}));
	}

	/**
	 * Hands out the answer to the `openQuestion`, from its first event on. Without such a question there is
	 * nothing to hand out.
	 *
	 * @param {SendOptions} [options]
	 * @returns {AsyncGenerator<ChatEvent, void, void>}
	 * @throws {ChatError} when the answer is not there any more, or does not come to its end
	 * @throws {Error} when an answer is still on its way
	 */
	async *resume(options = {}) {
		if (this.#answering) throw new Error('an answer is still on its way');
		if (!this.#open) return;
		const { content, stream } = this.#open;
		yield* this.#take(content, follow(this.#url, { stream, after: 0 }, undefined, options));
	}

	/**
	 * Asks the last question again, and forgets what came of it before.
	 *
	 * @param {SendOptions} [options]
	 * @returns {AsyncGenerator<ChatEvent, void, void>}
	 * @throws {ChatError} when the answer does not come, or does not come to its end
	 * @throws {Error} when an answer is still on its way, or nothing was asked
	 */
	async *retry(options) {
		if (!this.#last || this.#answering) throw new Error('there is no question to ask again');
		const { content, messages, chatId } = this.#last;
		this.messages = messages;
		this.chatId = chatId;
		yield* this.send(content, options);
	}

	/**
	 * Hands out the events of an answer, and keeps what was said.
	 *
	 * @param {Message['content']} content the question
	 * @param {ReturnType<typeof ask>} answer
	 * @returns {AsyncGenerator<ChatEvent, void, void>}
	 */
	async *#take(content, answer) {
		this.#answering = true;
		const last = { content, messages: this.messages, chatId: this.chatId };
		this.#last = last;

		let text = '';
		let settled = false;
		const settle = () => {
			if (settled) return;
			settled = true;
			this.#answering = false;
			this.#open = undefined;
			if (text) this.messages = [...asking(last.messages, content), { role: 'assistant', content: text }];
			this.#keep();
		};

		try {
			for await (const { event, chatId } of answer) {
				// An answer may be open still when the next question has been asked.
				if (chatId && chatId !== this.chatId && this.#last === last) {
					this.chatId = chatId;
					if (settled) this.#keep();
				}
				if (event.type === 'text-delta' && typeof event.textDelta === 'string') text += event.textDelta;
				if (event.type === 'finish') settle();
				yield event;
			}
		} finally {
			settle();
		}
	}

	/** Keeps the conversation over a reload; while an answer is on its way, as it was before the question. */
	#keep() {
		if (this.#storageKey === undefined || !this.#resumable) return;
		const chatId = this.#open ? this.#last?.chatId : this.chatId;
		remember(this.#storageKey, { messages: this.messages, chatId, open: this.#open });
	}
}

/**
 * Returns a conversation with a further question.
 *
 * @param {Message[]} messages
 * @param {Message['content']} content
 */
function asking(messages, content) {
	return [...messages, { role: /** @type {const} */ ('user'), content }];
}

/**
 * Reads what is kept in the tab.
 *
 * @param {string} key
 * @returns {Kept | undefined}
 */
function recall(key) {
	try {
		const kept = JSON.parse(sessionStorage.getItem(key) ?? 'null');
		return Array.isArray(kept?.messages) ? kept : undefined;
	} catch {
		// The visitor allows no storage, or there is something else.
		return undefined;
	}
}

/**
 * Keeps something in the tab, where the visitor allows that and there is room.
 *
 * @param {string} key
 * @param {Kept} kept
 */
function remember(key, kept) {
	try {
		// Where there is no room for it, nothing is better than what is true no more.
		sessionStorage.removeItem(key);
		sessionStorage.setItem(key, JSON.stringify(kept));
	} catch {
		// Then it is gone with the page.
	}
}

/**
 * Asks a question, and asks it again while nothing of its answer has come and that may help.
 *
 * @param {string} url
 * @param {Question} question
 * @param {number} tries
 * @param {AskOptions} options
 */
async function* askUntilAnswered(url, question, tries, options) {
	const { signal, onRetry } = options;
	for (let tried = 1; ; tried++) {
		let answered = false;
		try {
			for await (const event of ask(url, question, options)) {
				answered = true;
				yield event;
			}
			return;
		} catch (err) {
			if (answered || !(tried < tries) || !(err instanceof ChatError) || !mayPass(err)) throw err;
			const pause = pauseAfter(err, tried, longestPause);
			onRetry?.(err, pause);
			await sleep(pause, signal);
		}
	}
}

/**
 * Whether an error may pass, and soon.
 *
 * @param {ChatError} err
 */
function mayPass({ status, code, retryAfter = 0 }) {
	if (retryAfter > longestPause) return false;
	// The site's token is refused, or a firewall does not let this message pass: that does not change by itself.
	if (code === 'unauthorized:upstream' || code === 'blocked:upstream') return false;
	return passingStatuses.includes(status) || passingCodes.includes(code);
}

/**
 * Returns how many seconds to wait before the next try. They vary, so that visitors who were turned away together
 * do not come back together.
 *
 * @param {ChatError} err
 * @param {number} tried how often it was tried already
 * @param {number} longest
 */
function pauseAfter({ retryAfter }, tried, longest) {
	const backoff = Math.min(firstPause * 2 ** (tried - 1), longest) * (0.5 + Math.random() / 2);
	return retryAfter === undefined ? backoff : retryAfter + backoff / 2;
}

/**
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<void>}
 */
function sleep(seconds, signal) {
	return new Promise((resolve, reject) => {
		const stop = () => {
			clearTimeout(timer);
			reject(signal?.reason);
		};
		const timer = setTimeout(() => {
			signal?.removeEventListener('abort', stop);
			resolve();
		}, seconds * 1000);
		if (signal?.aborted) stop();
		else signal?.addEventListener('abort', stop, { once: true });
	});
}

/**
 * Sleeps, but no longer than until the browser is back in the network. Tells whether it is.
 *
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 */
async function sleepUntilOnline(seconds, signal) {
	const waking = new AbortController();
	const forget = whenOnline(() => waking.abort());
	try {
		await sleep(seconds, either(signal, waking.signal));
		return false;
	} catch {
		signal?.throwIfAborted();
		return true;
	} finally {
		forget();
	}
}

/**
 * Calls back when the browser is back in the network, until it is told to forget it.
 *
 * @param {() => void} callback
 */
function whenOnline(callback) {
	// Only browsers have such an event.
	globalThis.addEventListener?.('online', callback);
	return () => globalThis.removeEventListener?.('online', callback);
}

/**
 * @param {AbortSignal | undefined} signal
 * @param {AbortSignal} other
 */
function either(signal, other) {
	return signal ? AbortSignal.any([signal, other]) : other;
}

/**
 * Asks a question once. Yields each event of the answer, and the chat's id where the head or an event tells it.
 *
 * @param {string} url
 * @param {Question} question
 * @param {AskOptions} options
 * @returns {AsyncGenerator<{ event: ChatEvent, chatId: string | undefined }, void, void>}
 */
async function* ask(url, question, options) {
	const connection = await post(url, question, options.signal);
	const stream = connection.headers.get('Illumichat-Stream');
	if (!stream) {
		yield* readAnswer(connection, undefined, options.signal);
		return;
	}
	options.onStream?.(stream);
	yield* follow(url, { stream, after: 0 }, connection, options);
}

/**
 * Reads an answer that can be resumed, and stops it when nobody wants to read on: for the server, a connection
 * that has ended may be a lost one.
 *
 * @param {string} url
 * @param {Place} place how far it was read
 * @param {Connection | undefined} connection where it goes on, if there is one already
 * @param {SendOptions} options
 * @returns {ReturnType<typeof ask>}
 */
async function* follow(url, place, connection, options) {
	const { signal } = options;
	let over = false;
	const giveUp = () => {
		if (!over) stop(url, place);
		over = true;
	};
	signal?.addEventListener('abort', giveUp);
	try {
		yield* readOn(url, place, connection, options);
		over = true;
	} catch (err) {
		if (!signal?.aborted) over = true;
		throw err;
	} finally {
		signal?.removeEventListener('abort', giveUp);
		giveUp();
	}
}

/**
 * Reads an answer to its end, over as many connections as it takes.
 *
 * @param {string} url
 * @param {Place} place
 * @param {Connection | undefined} connection
 * @param {SendOptions} options
 * @returns {ReturnType<typeof ask>}
 */
async function* readOn(url, place, connection, { signal, onReconnect }) {
	let lost = new ChatError('the answer is not there any more', { code: 'closed:connection' });
	let tried = 0;
	for (;;) {
		try {
			connection ??= await reconnect(url, place, signal);
			for await (const told of readAnswer(connection, place, signal)) {
				tried = 0;
				yield told;
			}
			return;
		} catch (err) {
			signal?.throwIfAborted();
			if (!(err instanceof ChatError)) throw err;
			if (connection) {
				// Any other error is how the answer has ended.
				if (!(err instanceof LostConnection)) throw err;
				lost = err;
			}
			tried++;
			// An answer that cannot be resumed has ended where its connection was lost.
			if (tried > mostReconnects || !mayPass(err)) throw lost;
			connection = undefined;
			const pause = pauseAfter(err, tried, longestReconnectPause);
			onReconnect?.(err, pause);
			if (await sleepUntilOnline(pause, signal)) tried = 0;
		}
	}
}

/**
 * Goes on with an answer over a new connection.
 *
 * @param {string} url
 * @param {Place} place
 * @param {AbortSignal} [signal]
 */
async function reconnect(url, { stream, after }, signal) {
	const hurry = new AbortController();
	const late = setTimeout(() => hurry.abort(), reconnectPatience);
	const request = new Request(url, {
		headers: { 'Last-Event-ID': `${stream}:${after}` },
		// In a browser's cache, requests for the same wait for each other.
		cache: 'no-store',
		signal: either(signal, hurry.signal),
	});
	try {
		return await connect(request, signal);
	} finally {
		clearTimeout(late);
	}
}

/**
 * Has the server stop an answer. Nobody waits for that; if it fails, the server stops by itself after a while.
 *
 * @param {string} url
 * @param {Place} place
 */
function stop(url, { stream }) {
	const request = new Request(url, { method: 'DELETE', headers: { 'Illumichat-Stream': stream }, keepalive: true });
	fetch(request).catch(() => {});
}

/**
 * Reads an answer over one connection.
 *
 * @param {Connection} connection
 * @param {Place | undefined} place is moved on with each event; without, the answer cannot be resumed
 * @param {AbortSignal} [signal]
 * @returns {ReturnType<typeof ask>}
 */
async function* readAnswer({ status, headers, body }, place, signal) {
	let chatId = chatIdOfHead(headers);

	let finished = false;
	const reader = body.getReader();
	// Where there was no network, a connection may be dead without a sign.
	const forget = place ? whenOnline(() => hangUp(reader)) : () => {};
	try {
		for await (const { data, id } of readEvents(reader)) {
			signal?.throwIfAborted();
			if (place && !moveOn(place, id)) continue;
			const event = parseEvent(data);
			if (!event) continue;
			if (event.type === 'finish') {
				if (finished) continue;
				if (event.finishReason === 'error') {
					throw refusal(event, 'the answer ended with an error', { status });
				}
				finished = true;
			}
			if (event.chatId && typeof event.chatId === 'string') chatId = event.chatId;
			yield { event, chatId };
		}
	} catch (err) {
		// Once it is finished an answer is whole, whatever happens to its connection.
		if (finished) return;
		signal?.throwIfAborted();
		if (err instanceof ChatError) throw err;
		throw new LostConnection('the connection broke', { status, code: 'broken:connection', cause: err });
	} finally {
		forget();
	}
	if (!finished) {
		throw new LostConnection('the answer ended without a finish', { status, code: 'closed:connection' });
	}
}

/**
 * Notes that an event has come. Tells whether it is a new one.
 *
 * @param {Place} place
 * @param {string} id
 */
function moveOn(place, id) {
	const number = id.startsWith(`${place.stream}:`) ? Number(id.slice(place.stream.length + 1)) : NaN;
	if (number <= place.after) return false;
	if (number > place.after) place.after = number;
	return true;
}

/**
 * Finds the chat's id in the head of an answer. The API does not say in which header it may be.
 *
 * @param {Headers} headers
 */
function chatIdOfHead(headers) {
	for (const [name, value] of headers) {
		if (/(^|-)chat-?id$/.test(name) && value) return value;
	}
	return undefined;
}

/**
 * Sends a question.
 *
 * @param {string} url
 * @param {Question} question
 * @param {AbortSignal} [signal]
 */
async function post(url, question, signal) {
	const request = new Request(url, {
		method: 'POST',
		headers: { 'Content-Type': 'application/json' },
		body: JSON.stringify(question),
		signal,
	});
	return connect(request, signal);
}

/**
 * Sends a request, and returns the response if it is an event stream.
 *
 * @param {Request} request
 * @param {AbortSignal} [signal]
 * @returns {Promise<Connection>}
 */
async function connect(request, signal) {
	let response;
	try {
		response = await fetch(request);
	} catch (err) {
		signal?.throwIfAborted();
		throw new ChatError('the site cannot be reached', { code: 'unreachable:connection', cause: err });
	}
	const { ok, status, headers, body } = response;
	if (ok && body && /^text\/event-stream\b/i.test(headers.get('Content-Type') ?? '')) {
		return { status, headers, body };
	}

	const said = await readError(body);
	signal?.throwIfAborted();
	throw refusal(said, `the server answered ${status}, and no event stream`, {
		status,
		retryAfter: secondsUntil(headers.get('Retry-After')),
	});
}

/**
 * Reads the JSON of an error. Something other than the chat endpoint may have answered, so the body may be
 * anything, without end too.
 *
 * @param {ReadableStream<Uint8Array> | null} body
 */
async function readError(body) {
	if (!body) return null;
	const reader = body.getReader();
	const cancel = () => hangUp(reader);
	const late = setTimeout(cancel, errorPatience);
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
		cancel();
	}
}

/**
 * Makes an error of what the server said, in an error body or in a last event: `{ error, code, details }`.
 *
 * @param {any} said
 * @param {string} otherwise the message where the server gave none
 * @param {{ status: number, retryAfter?: number }} about
 */
function refusal(said, otherwise, about) {
	const message = said?.error && typeof said.error === 'string' ? said.error : otherwise;
	const code = typeof said?.code === 'string' ? said.code : '';
	const details = isObject(said?.details) ? said.details : undefined;
	return new ChatError(message, { ...about, code, details });
}

/**
 * Reads a `Retry-After`, which is a number of seconds or a date.
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

/**
 * Reads the JSON object in an event's data. Data of another kind is no event of a chat, and is passed over.
 *
 * @param {string} data
 */
function parseEvent(data) {
	try {
		const event = JSON.parse(data);
		return isObject(event) ? event : null;
	} catch {
		return null;
	}
}

/** @param {unknown} value */
function isObject(value) {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Yields the data of each event of a stream and its own id, as the HTML standard has it in "Interpreting an
 * event stream": a blank line ends an event, and one without it at the end of the stream is dropped.
 *
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 */
async function* readEvents(reader) {
	/** @type {string[]} */
	let data = [];
	let id = '';
	for await (const line of readLines(reader)) {
		if (line === '') {
			if (data.length > 0) yield { data: data.join('\n'), id };
			data = [];
			id = '';
			continue;
		}
		// A comment is a line whose field has no name.
		const [field] = line.split(':', 1);
		const value = line.slice(field.length + 1).replace(/^ /, '');
		if (field === 'data') data.push(value);
		if (field === 'id') id = value;
	}
}

/**
 * Yields the lines of a stream, each as soon as its end is read. A line ends with LF, CRLF or CR.
 *
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 */
async function* readLines(reader) {
	const decoder = new TextDecoder();
	let line = '';
	let endedInCR = false;
	try {
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return;

			// A chunk may hold no more than the first bytes of a character.
			let text = decoder.decode(value, { stream: true });
			if (text === '') continue;

			// A CR at the end of a chunk has ended its line already; an LF after it belongs to it.
			const restOfCRLF = endedInCR && text.startsWith('\n');
			endedInCR = text.endsWith('\r');
			if (restOfCRLF) text = text.slice(1);

			const lines = text.split(/\r\n|\r|\n/);
			lines[0] = line + lines[0];
			line = lines.pop() ?? '';
			yield* lines;
			if (line.length > longestLine) {
				throw new ChatError('the answer has a line without end', { status: 200, code: 'broken:connection' });
			}
		}
	} finally {
		hangUp(reader);
	}
}

/**
 * Nobody reads on, so the server need not write on. A broken stream cannot be cancelled, and need not be.
 *
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 */
function hangUp(reader) {
	reader.cancel().catch(() => {});
}
