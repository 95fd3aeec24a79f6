/**
 * A transport for the AI SDK's `useChat`, in React, Vue, Svelte and Angular, and for what is built on it, such as
 * assistant-ui's `useChatRuntime`:
 *
 *	const { messages, sendMessage, stop } = useChat({
 *		id: 'support',
 *		resume: true,
 *		transport: new IllumichatTransport({ url: '/api/chat-proxy' }),
 *	});
 *
 * With `resume: true`, an `id` that stays, and a site that has `resume`, an answer goes on after a reload of the page.
 */
import { Answer, followAnswer, newId } from './lib/answer.js';
import { ask, longestUnsent } from './lib/ask.js';
import { ChatError, mayPass } from './lib/error.js';
import { lastMessages } from './lib/history.js';
import { stopSurely } from './lib/stop.js';
import { Kept, tabStore } from './lib/store.js';
import { continues, fingerprint, textOf, toMessages } from './ai-sdk/messages.js';
import { Session } from './ai-sdk/session.js';

export { ChatError };

/** @typedef {import('ai').UIMessage} UIMessage */
/** @typedef {import('ai').ChatTransport<UIMessage>} ChatTransport */
/** @typedef {import('ai').UIMessageChunk} UIMessageChunk */
/** @typedef {import('./lib/answer.js').Message} Message */
/** @typedef {import('./lib/answer.js').Question} Question */
/** @typedef {import('./lib/answer.js').ChatEvent} ChatEvent */
/** @typedef {import('./ai-sdk/session.js').AnswerOptions} AnswerOptions */
/** @typedef {import('./lib/store.js').Store} Store */
/** @typedef {import('./ai-sdk/session.js').Open} Open */

/**
 * @typedef {object} TransportOptions
 * @property {string} url the chat endpoint
 * @property {string} [assistantId] whom to ask, if the site has more than one assistant
 * @property {HeadersInit | (() => HeadersInit | Promise<HeadersInit>)} [headers] further request headers, for example for a
 *	login; a function is called for each question
 * @property {RequestCredentials} [credentials] whether cookies are sent to another origin; default `same-origin`
 * @property {typeof fetch} [fetch] sends the requests instead of the browser's `fetch`
 * @property {Record<string, unknown> | (() => Record<string, unknown>)} [body] further fields of the request, from the site's
 *	`pass_fields`; a function is called for each question
 * @property {number} [heartbeat] the site's `heartbeat` in seconds; default 15; 0 for `off`
 * @property {number} [tries] how often a question is sent at most, while nothing of an answer has arrived; default 3
 * @property {number} [history] how many messages are sent at most, the question included; default: all. If the site takes
 *	a conversation for too long, less of it is sent.
 * @property {number} [stopAfter] for how many seconds an answer that nobody reads goes on; default 1. After `useChat`'s
 *	`stop()`, and after an unmount, the answer is stopped unless the same chat reconnects within that time. With `Infinity`,
 *	only the transport's own `stop()` and the chat's next question stop an answer.
 * @property {Store} [store] where the id of an answer is kept over a reload; default: the tab's `sessionStorage`
 * @property {string} [owner] who the visitor is, such as a user's id; nobody else reads what is kept
 * @property {(err: ChatError, wait: number) => void} [onRetry] is called before a question is sent again in `wait` seconds
 * @property {(err: ChatError, wait: number) => void} [onReconnect] is called when the connection was lost, before the answer
 *	goes on over another one in `wait` seconds
 */

/**
 * The request that `useChat` passes to its transport.
 * @typedef {object} RequestOptions
 * @property {string} chatId `useChat`'s own id of the chat, not the API's
 * @property {AbortSignal | undefined} [abortSignal]
 * @property {Record<string, string> | Headers} [headers]
 * @property {object} [body]
 */

/**
 * The state of one chat. All transports of the page share it, because a component may create one each time it renders.
 *
 * @typedef {object} Memory
 * @property {Kept} kept
 * @property {string} [chatId] the API's id of the chat
 * @property {number} [seen] the fingerprint of what the API's chat contains
 * @property {boolean} [resumable] whether the site is known to have `resume`
 * @property {Open} [open] the last answer, if nobody has read it to its end
 * @property {Session} [session] the same answer, if this page has read of it
 */

/** @type {Map<string, Memory>} */
const memories = new Map();

/** The code of an answer that is not kept any more. */
const unknown = 'not_found:stream';

/**
 * Asks an assistant through a site that runs caddy-illumichat.
 *
 * @implements {ChatTransport}
 */
export class IllumichatTransport {
	/** Tells the SDK that a continued answer begins with its first word. */
	resumeStreamIsReplay = true;

	#options;

	/** @param {TransportOptions} options */
	constructor(options) {
		this.#options = options;
	}

	/**
	 * Asks a question. Resolves when the response headers are there.
	 *
	 * @param {RequestOptions & { messages: UIMessage[] }} request
	 * @returns {Promise<ReadableStream<UIMessageChunk>>}
	 * @throws {ChatError} if no answer begins; the stream throws one if the answer does not reach its end
	 */
	async sendMessages({ messages: shown, ...request }) {
		if (!textOf(shown.at(-1))) throw new ChatError('the message has no text', { code: 'bad_request:page' });
		const messages = toMessages(shown);
		const memory = this.#remember(request.chatId);
		const { session: last, open, seen, chatId } = memory;
		// The site may have the answer to a question whose connection was lost.
		const isLost = open?.print === fingerprint(messages) && (!last || last.isLost);
		if (!isLost && last?.readers === 0) this.#stop(memory);
		const { assistantId, body } = this.#options;
		const question = {
			assistantId, ...typeof body === 'function' ? body() : body, ...request.body,
			messages, chatId: continues(seen, messages) ? chatId : undefined,
		};
		return this.#begin(memory, request, isLost ? open.id : newId(), question).read(request.abortSignal);
	}

	/**
	 * Returns the answer of a chat from its first word, if it goes on or nobody has read it to its end, and otherwise `null`.
	 *
	 * @param {RequestOptions} request
	 * @returns {Promise<ReadableStream<UIMessageChunk> | null>}
	 * @throws {ChatError} if the site cannot be asked for it
	 */
	async reconnectToStream(request) {
		const memory = this.#remember(request.chatId);
		try {
			return await (memory.session ?? this.#continue(memory, request))?.read(request.abortSignal) ?? null;
		} catch (/** @type {any} */ err) {
			if (err?.code === unknown) return null;
			throw err;
		}
	}

	/**
	 * Stops the answer of a chat at once, in whatever phase it is. Resolves when the server knows, which nobody has to wait
	 * for.
	 *
	 * @param {string} chatId `useChat`'s id of the chat
	 */
	stop(chatId) {
		return this.#stop(this.#remember(chatId));
	}

	/**
	 * @param {Memory} memory
	 * @param {Session} [session]
	 */
	async #stop(memory, session = memory.session) {
		const { open } = session ?? memory;
		share(memory, session, { session: undefined, open: undefined });
		session?.end(new DOMException('the answer was stopped', 'AbortError'));
		if (open) await stopSurely(this.#options.url, open.id, !open.question, session?.connection ?? this.#connection());
	}

	/**
	 * @param {string} id `useChat`'s id of the chat
	 * @returns {Memory}
	 */
	#remember(id) {
		const { url, assistantId, owner, store = tabStore } = this.#options;
		const name = JSON.stringify([url, assistantId, id]);
		const key = JSON.stringify([name, owner]);
		let memory = memories.get(key);
		if (!memory) {
			const kept = new Kept(store, `illumichat ${name}`, [owner]);
			memories.set(key, memory = { ...kept.read(), kept });
		}
		return /** @type {Memory} */ (memory);
	}

	/**
	 * Begins to read an answer.
	 *
	 * @param {Memory} memory
	 * @param {Pick<RequestOptions, 'headers'>} request
	 * @param {string} id
	 * @param {Question} [question] what to ask; without it, the answer was asked for before
	 * @param {Open} [open]
	 */
	#begin(memory, { headers }, id, question, open) {
		/** @type {Session} */
		const session = new Session(id, this.#connection(headers), {
			stopAfter: this.#options.stopAfter ?? 1,
			onLeft: () => this.#stop(memory, session),
			onSeen: () => share(memory, session, { session: undefined, open: session.isLost ? session.open : undefined }),
		});
		session.open = open;
		memory.session = session;
		session.run((options) => question ? this.#ask(memory, session, question, options) : this.#follow(memory, session, options));
		return session;
	}

	/**
	 * Continues the answer that was open when the page was left.
	 *
	 * @param {Memory} memory
	 * @param {RequestOptions} request
	 */
	#continue(memory, request) {
		const { open } = memory;
		if (!open) return undefined;
		const question = Date.now() - (open.asked ?? 0) < longestUnsent ? open.question : undefined;
		const session = this.#begin(memory, request, open.id, question, open);
		// The site will have an answer in any case, so the page can show that it waits.
		if (question) session.opened();
		return session;
	}

	/**
	 * Asks a question. If the conversation before it stands in the way, less of it is sent.
	 *
	 * @param {Memory} memory
	 * @param {Session} session
	 * @param {Question} asked
	 * @param {AnswerOptions} options
	 * @returns {AsyncGenerator<ChatEvent, void, void>}
	 */
	async *#ask(memory, session, asked, options) {
		const { url, tries, history = Infinity } = this.#options;
		const { writer } = session;
		let { messages, chatId } = asked;
		const print = fingerprint(messages);
		for (let most = history; ; writer.id = newId()) {
			const question = { ...asked, chatId, messages: lastMessages(messages, most, Infinity) };
			try {
				yield* ask(url, question, {
					...options, id: writer.id, attempts: tries, resumable: memory.resumable,
					onAttempt: (next) => {
						writer.id = next;
						// A request that is repeated with its id does not begin the answer's time anew.
						if (session.open?.id !== next) session.open = { id: next, print, asked: Date.now(), question: { ...asked, chatId } };
						share(memory, session);
					},
					onOpen: (answer) => {
						session.answer = answer;
						session.open = answer.id ? { id: answer.id, print } : undefined;
						share(memory, session, { chatId: answer.chatId ?? chatId, seen: print, resumable: !!answer.id });
						session.opened();
					},
				});
				const { text: content } = writer;
				if (content) share(memory, session, { seen: fingerprint([...messages, { role: 'assistant', content }]) });
				return;
			} catch (/** @type {any} */ err) {
				const { length } = question.messages;
				if (writer.chunks.length) throw err;
				// The API has forgotten the chat. The messages say what was said in it.
				if (err.code === 'not_found:chat' && chatId) chatId = undefined;
				else if (err.status === 413 && length > 1) most = length >> 1;
				else throw err;
			}
		}
	}

	/**
	 * Reads an answer again.
	 *
	 * @param {Memory} memory
	 * @param {Session} session
	 * @param {AnswerOptions} options
	 * @returns {AsyncGenerator<ChatEvent, void, void>}
	 */
	async *#follow(memory, session, options) {
		const { id } = session.writer;
		const { url } = this.#options;
		session.answer = await followAnswer(url, id, options).catch((err) => {
			if (mayPass(err)) return new Answer(url, id, 0, undefined, options);
			session.isLost = err.code !== unknown;
			throw err;
		});
		session.opened();
		yield* session.answer.events;
		share(memory, session);
	}

	/**
	 * @param {HeadersInit} [more]
	 * @returns {Promise<AnswerOptions>}
	 */
	async #connection(more) {
		const { headers } = this.#options;
		const all = new Headers(typeof headers === 'function' ? await headers() : headers);
		new Headers(more).forEach((value, name) => all.set(name, value));
		return { ...this.#options, headers: all };
	}
}

/**
 * Notes how the reading of an answer stands, and keeps it over a reload. Another question may have been asked since.
 *
 * @param {Memory} memory
 * @param {Session | undefined} session
 * @param {Partial<Memory>} [news]
 */
function share(memory, session, news) {
	if (memory.session !== session) return;
	Object.assign(memory, session && { open: session.open, chatId: session.answer?.chatId ?? memory.chatId }, news);
	const { kept, chatId, seen, open } = memory;
	kept.write({ chatId, seen, open });
}
