/**
 * A client for the chat endpoint of a site that runs caddy-illumichat. It posts a chat and hands out
 * the events of the answer as they arrive:
 *
 *	for await (const event of chat({ url: '/api/chat-proxy', messages })) {
 *		if (event.type === 'text-delta') show(event.textDelta);
 *	}
 *
 * A loop that ends without an exception has seen the answer to its end. The answer is whole with its
 * `finish`; the loop goes on until the server is done, for what may come after it, such as a chat's id.
 */

/**
 * One message of the chat.
 * @typedef {object} Message
 * @property {'user' | 'assistant'} role who wrote it
 * @property {string} content its text, not empty
 */

/**
 * An event of the answer. Types and fields that are not listed here may come, and are handed out as
 * they are; any event may carry the id of the chat as `chatId`.
 *
 * - `text-delta`: the next piece of the text.
 * - `tool-call`: the assistant calls a tool.
 * - `tool-result`: what the tool gave back.
 * - `finish`: the answer is complete, or ends at its length limit.
 * - `chat`: made by this client, first of all, where the head of the answer names the chat.
 *
 * @typedef {{ chatId?: string } & (
 *	| { type: 'text-delta', textDelta: string }
 *	| { type: 'tool-call', toolName: string, args: unknown }
 *	| { type: 'tool-result', toolName: string, result: unknown }
 *	| { type: 'finish', finishReason: 'stop' | 'length' }
 *	| { type: 'chat' }
 * )} ChatEvent
 */

/** The answer did not come, or did not come to its end. */
export class ChatError extends Error {
	/**
	 * @param {string} message what went wrong, in the server's words where it gave any
	 * @param {{ status?: number, code?: string, retryAfter?: number, cause?: unknown }} [details]
	 */
	constructor(message, { status = 0, code = '', retryAfter, cause } = {}) {
		super(message, { cause });
		this.name = 'ChatError';
		/** The HTTP status: 200 for an answer that broke off, 0 where no answer came at all. */
		this.status = status;
		/** What went wrong as `<type>:<context>`, such as `rate_limit:chat`; empty where the server did not say. */
		this.code = code;
		/** The seconds to wait before the next try, where the server said so. */
		this.retryAfter = retryAfter;
	}
}

/**
 * Asks for the next answer of a chat. The request is sent when the first event is asked for, and is
 * given up when the loop over the events is left.
 *
 * @param {object} options
 * @param {string} options.url the chat endpoint
 * @param {Message[]} options.messages the chat so far; the last message is the one to answer
 * @param {string} [options.chatId] the chat to continue, by the id that an earlier answer told
 * @param {string} [options.assistantId] whom to ask, where the site has more than one assistant
 * @param {AbortSignal} [options.signal] stops the answer; the loop then throws the signal's reason
 * @returns {AsyncGenerator<ChatEvent, void, void>}
 * @throws {ChatError} when the answer does not come, or does not come to its end
 */
export async function* chat({ url, messages, chatId, assistantId, signal }) {
	const { status, headers, body } = await post(url, { assistantId, messages, chatId }, signal);

	const newChatId = headers.get('X-Chat-Id');
	if (newChatId) yield { type: 'chat', chatId: newChatId };

	let finished = false;
	try {
		for await (const data of readEvents(body)) {
			signal?.throwIfAborted();
			const event = parseEvent(data);
			if (!event) continue;
			if (event.type === 'finish') {
				if (finished) continue;
				if (event.finishReason === 'error') {
					throw refusal(event, 'the answer ended with an error', { status });
				}
				finished = true;
			}
			yield event;
		}
	} catch (err) {
		// Once it is finished an answer is whole, whatever happens to its connection.
		if (finished) return;
		if (err instanceof ChatError || signal?.aborted) throw err;
		throw new ChatError('the connection broke', { status, code: 'broken:connection', cause: err });
	}
	if (!finished) {
		throw new ChatError('the answer ended without a finish', { status, code: 'closed:connection' });
	}
}

/**
 * Sends the request, and returns the response if it is an event stream.
 *
 * @param {string} url
 * @param {object} request
 * @param {AbortSignal} [signal]
 */
async function post(url, request, signal) {
	let response;
	try {
		response = await fetch(url, {
			method: 'POST',
			headers: { 'Content-Type': 'application/json' },
			body: JSON.stringify(request),
			signal,
		});
	} catch (err) {
		if (signal?.aborted) throw err;
		throw new ChatError('the site cannot be reached', { code: 'unreachable:connection', cause: err });
	}
	const { ok, status, headers, body } = response;
	if (ok && body && /^text\/event-stream\b/i.test(headers.get('Content-Type') ?? '')) {
		return { status, headers, body };
	}

	// Something other than the chat endpoint may have answered, so the body may be anything.
	const said = await response.json().catch(() => null);
	signal?.throwIfAborted();
	throw refusal(said, `the server answered ${status}, and no event stream`, {
		status,
		retryAfter: secondsUntil(headers.get('Retry-After')),
	});
}

/**
 * Makes an error of what the server said, in an error body or in a last event: `{ error, code }`.
 *
 * @param {any} said
 * @param {string} otherwise the message where the server gave none
 * @param {{ status: number, retryAfter?: number }} details
 */
function refusal(said, otherwise, details) {
	const message = typeof said?.error === 'string' ? said.error : otherwise;
	const code = typeof said?.code === 'string' ? said.code : '';
	return new ChatError(message, { ...details, code });
}

/**
 * Reads a `Retry-After`, which is a number of seconds or a date.
 *
 * @param {string | null} retryAfter
 */
function secondsUntil(retryAfter) {
	if (!retryAfter) return undefined;
	const seconds = /^\d+$/.test(retryAfter) ? Number(retryAfter) : (Date.parse(retryAfter) - Date.now()) / 1000;
	return Number.isNaN(seconds) ? undefined : Math.max(0, Math.ceil(seconds));
}

/**
 * Reads the JSON object in an event's data. Data of another kind is no event of a chat, and is passed over.
 *
 * @param {string} data
 */
function parseEvent(data) {
	try {
		const event = JSON.parse(data);
		return typeof event === 'object' ? event : null;
	} catch {
		return null;
	}
}

/**
 * Yields the data of each event of a stream, as the HTML standard has it in "Interpreting an event
 * stream": a blank line ends an event, and one without it at the end of the stream is dropped.
 *
 * @param {ReadableStream<Uint8Array>} body
 */
async function* readEvents(body) {
	/** @type {string[]} */
	let data = [];
	for await (const line of readLines(body)) {
		if (line === '') {
			if (data.length > 0) yield data.join('\n');
			data = [];
			continue;
		}
		// A comment is a line whose field has no name.
		const [field] = line.split(':', 1);
		if (field === 'data') data.push(line.slice('data:'.length).replace(/^ /, ''));
	}
}

/**
 * Yields the lines of a stream, each as soon as its end is read. A line ends with LF, CRLF or CR.
 *
 * @param {ReadableStream<Uint8Array>} body
 */
async function* readLines(body) {
	const reader = body.getReader();
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
		}
	} finally {
		// Nobody reads on, so the server need not write on. A broken stream cannot be cancelled, and need not be.
		reader.cancel().catch(() => {});
	}
}
