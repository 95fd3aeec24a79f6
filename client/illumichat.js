/**
 * The browser's side of a site that runs caddy-illumichat. It posts a question with the conversation before it, and hands
 * out the events of the answer as they arrive:
 *
 *	const chat = new Chat('/api/chat-proxy');
 *	for await (const event of chat.send('Hello')) {
 *		if (event.type === 'text-delta') show(event.textDelta);
 *	}
 *
 * A loop that ends without an exception has seen the answer to its end. The answer is complete with its `finish`; the loop
 * goes on until the server is done, for what may come after it, such as a chat's id.
 *
 * If the site has `resume`, a lost connection is replaced by another one, a question is paid for once however often its
 * request is repeated, and with a `storageKey` an answer goes on after a reload of the page, by `chat.resume()`.
 */
import { Answer, followAnswer, isStep, newId, stoppedElsewhere } from './lib/answer.js';
import { ask, longestUnsent } from './lib/ask.js';
import { ChatError } from './lib/error.js';
import { byteLength, lastMessages, wellFormed } from './lib/history.js';
import { stopSurely } from './lib/stop.js';
import { Kept, tabStore } from './lib/store.js';
import { Turn } from './lib/turn.js';
import { watchForTwin } from './lib/twins.js';
import { linkedTo, listen } from './lib/wait.js';

export { Answer, followAnswer, newId, openAnswer, stopAnswer } from './lib/answer.js';
export { ChatError } from './lib/error.js';
export { Turn } from './lib/turn.js';

/** @typedef {import('./lib/answer.js').Message} Message */
/** @typedef {import('./lib/answer.js').Question} Question */
/** @typedef {import('./lib/answer.js').ChatEvent} ChatEvent */
/** @typedef {import('./lib/answer.js').ReadOptions} ReadOptions */
/** @typedef {import('./lib/answer.js').OpenOptions} OpenOptions */
/** @typedef {import('./lib/request.js').ConnectOptions} ConnectOptions */
/** @typedef {import('./lib/store.js').Store} Store */
/** @typedef {import('./lib/turn.js').TurnState} TurnState */

/**
 * How to ask one question.
 * @typedef {object} SendOptions
 * @property {AbortSignal} [signal] leaves the answer, as `detach` does; the loop then throws the signal's reason
 * @property {(err: ChatError, wait: number) => void} [onRetry] is called before the question is sent again in `wait` seconds
 * @property {(err: ChatError, wait: number) => void} [onReconnect] is called when the connection was lost, before the answer
 *	goes on over another one in `wait` seconds
 * @property {(sent: number) => void} [onShorten] is called if the conversation is too long for the site, so that only its
 *	last messages are sent, `sent` in number
 */

/**
 * @typedef {object} ChatOptions
 * @property {string} [assistantId] whom to ask, if the site has more than one assistant
 * @property {Message[]} [messages] a conversation to continue
 * @property {string} [chatId] the id of the chat to continue
 * @property {number} [tries] how often a question is sent at most, while nothing of an answer has arrived; default 3. Each
 *	attempt counts against the site's limits, except one that repeats a lost request at a site with `resume`.
 * @property {number} [history] how many messages are sent at most, the question included; default: all
 * @property {number} [maxBody] how many bytes a request may have, as the site's `max_body_size`; default 1 MiB. Of a longer
 *	conversation, the last part is sent.
 * @property {Record<string, unknown> | (() => Record<string, unknown>)} [body] further fields of the request, from the site's
 *	`pass_fields`; a function is called for each question
 * @property {HeadersInit | (() => HeadersInit | Promise<HeadersInit>)} [headers] further request headers, for example for a
 *	login; a function is called for each question
 * @property {RequestCredentials} [credentials] whether cookies are sent to another origin; default `same-origin`
 * @property {typeof fetch} [fetch] sends the requests instead of the browser's `fetch`
 * @property {number} [heartbeat] the site's `heartbeat` in seconds; default 15; 0 for `off`
 * @property {string} [storageKey] the key by which the conversation is kept over a reload of the page. What is there already
 *	is continued, whatever `messages` and `chatId` say.
 * @property {Store} [store] where it is kept; default: the tab's `sessionStorage`. In a store that tabs share, the tab that
 *	writes last wins.
 * @property {string} [owner] who the visitor is, such as a user's id. The conversation of another owner is removed from the
 *	store, and not shown.
 */

/** The answer of the last turn, as the server knows it. @typedef {{ id: string, asked: number, begun: boolean }} Open */

/** A loop over the answer of a turn. @typedef {{ turn: Turn, controller: AbortController, answer?: Answer }} Reading */

/** The format of what is kept. Another version of this file ignores it. */
const format = 1;

/** The `max_body_size` of a site, by default. */
const defaultMaxBody = 1_048_576;

/** A conversation. */
export class Chat {
	/** The questions so far, each with what came of it. The array is replaced when a turn is added. @type {readonly Turn[]} */
	turns = [];

	/** The chat's id, once the server has told it. @type {string | undefined} */
	chatId;

	#url;
	#options;
	#earlier;
	#most;
	#maxBody;

	/** Names this conversation among the tabs of a browser. */
	#conversation = '';

	/** Ends the watch for another tab with this conversation. */
	#forgetTwin = () => {};

	/** The conversation in the store. @type {Kept | undefined} */
	#kept;

	/** The draft is kept apart: it changes with each key, and must not take a long conversation with it. @type {Kept | undefined} */
	#keptDraft;

	#draft = '';

	/** Whether the site is known to have `resume`. */
	#resumable = false;

	/** @type {Open | undefined} */
	#open;

	/** The last answer that can be read again, and the number of its last event. @type {{ id: string, after: number } | undefined} */
	#last;

	/** The loop that reads the answer. @type {Reading | undefined} */
	#reading;

	/**
	 * @param {string} url the chat endpoint
	 * @param {ChatOptions} [options]
	 */
	constructor(url, options = {}) {
		const { assistantId, messages = [], chatId, storageKey, store = tabStore, owner, history = Infinity, maxBody = defaultMaxBody } = options;
		this.#url = url;
		this.#options = options;
		this.#earlier = wellFormed(messages);
		this.#most = history;
		this.#maxBody = maxBody;
		this.chatId = chatId;
		if (storageKey === undefined) return;
		const whose = [format, url, assistantId ?? null, owner ?? null];
		this.#kept = new Kept(store, storageKey, whose);
		this.#keptDraft = new Kept(store, `${storageKey} draft`, whose);
		this.#recall();
	}

	/** The conversation so far, as it is sent with the next question. @type {Message[]} */
	get messages() {
		return [...this.#earlier, ...this.turns.flatMap((turn) => turn.messages())];
	}

	/** The text that the visitor is writing. With a `storageKey` it is kept over a reload. */
	get draft() {
		return this.#draft;
	}

	set draft(text) {
		this.#draft = text;
		if (text) this.#keptDraft?.write(wellFormed(text));
		else this.#keptDraft?.remove();
	}

	/** The question whose answer goes on without this page, or was going on when the page was left. `resume` continues it. */
	get openQuestion() {
		return this.#reading ? undefined : this.#openTurn()?.content;
	}

	/**
	 * Asks a question. It is sent when the first event is asked for. The next question can be asked as soon as there is a
	 * `finish`. A loop that is left leaves the answer, as `detach` does.
	 *
	 * @param {string | object[]} content
	 * @param {SendOptions} [options]
	 * @returns {AsyncGenerator<ChatEvent, void, void>}
	 * @throws {ChatError} if the answer does not arrive, or not to its end
	 * @throws {Error} if an answer is still on its way
	 */
	async *send(content, options = {}) {
		this.#mustBeIdle();
		this.draft = '';
		yield* this.#put(content, options);
	}

	/**
	 * Continues the answer to the `openQuestion`, from its first event on. If there is no such question, there are no events.
	 *
	 * @param {SendOptions} [options]
	 * @returns {AsyncGenerator<ChatEvent, void, void>}
	 * @throws {ChatError} if the answer is not there any more, or does not reach its end
	 * @throws {Error} if an answer is still on its way
	 */
	async *resume(options = {}) {
		this.#mustBeIdle();
		const turn = this.#openTurn();
		const open = this.#open;
		if (!turn || !open) return;
		yield* this.#read(turn, options, (reading) => open.begun
			? this.#follow(reading, options, open.id)
			: this.#ask(reading, options, open.id));
	}

	/**
	 * Asks the last question again, or another one in its place, and forgets what came of it before. If only the connection was
	 * lost, the site may have the answer: then it is read, and not asked for again.
	 *
	 * @param {SendOptions & { content?: Message['content'] }} [options] `content`: another question
	 * @returns {AsyncGenerator<ChatEvent, void, void>}
	 * @throws {ChatError} if the answer does not arrive, or not to its end
	 * @throws {Error} if an answer is still on its way, or nothing was asked
	 */
	async *retry(options = {}) {
		this.#mustBeIdle();
		const last = this.turns.at(-1);
		if (!last) throw new Error('nothing was asked');
		if (this.#openTurn()) this.#stop(true);
		this.turns = this.turns.slice(0, -1);
		// The API has what it answered in its chat, so another answer begins another chat.
		this.chatId = last.events.length > 0 ? undefined : last.chatId;
		const { content } = options;
		yield* this.#put(content ?? last.content, options, content === undefined ? this.#open?.id : undefined);
	}

	/**
	 * Stops the answer, in whatever phase it is. The loop that reads it throws a `ChatError` with the code `stopped:page`.
	 * Resolves when the server knows, which nobody has to wait for.
	 */
	stop() {
		return this.#stop();
	}

	/** @param {boolean} [here] whether another tab that reads the answer, too, is to keep it */
	async #stop(here = false) {
		const turn = this.#reading?.turn ?? this.#openTurn();
		if (!turn) return;
		const open = this.#open;
		const stopped = new ChatError('the answer was stopped', { code: 'stopped:page' });
		// In this order: over HTTP/1.1 the DELETE may need the connection of the answer.
		this.#reading?.controller.abort(stopped);
		this.#settle(turn, 'stopped');
		if (open && !(here && turn.foreign)) await stopSurely(this.#url, open.id, open.begun, this.#connection());
	}

	/**
	 * Leaves the answer. The loop that reads it throws an `AbortError`. At a site with `resume` the answer goes on for a while
	 * (the site's `grace`), and `resume` continues it; at another site the answer ends.
	 */
	detach() {
		this.#reading?.controller.abort();
		this.#leave();
	}

	/** Leaves the answer for good, when the chat is removed from its page. After that, other tabs no longer learn of this one. */
	close() {
		this.detach();
		this.#forgetTwin();
	}

	/** Begins a new conversation. An answer that is on its way is stopped. */
	reset() {
		this.#stop(true);
		this.turns = [];
		this.#earlier = [];
		this.chatId = undefined;
		this.#last = undefined;
		this.draft = '';
		this.#kept?.remove();
		this.#begin();
	}

	/**
	 * Finds out whether the conversation in the store is this visitor's: another one may have used the tab before. With an
	 * `owner`, it is. Otherwise, the client asks the site for the last answer. The site gives it only to the visitor who asked,
	 * and only for some minutes (its `keep`). If the site does not give it, this is false.
	 */
	async belongsToVisitor() {
		if (this.#options.owner !== undefined || this.turns.length === 0 && !this.#draft) return true;
		if (!this.#last) return false;
		const controller = new AbortController();
		const options = { ...await this.#connection(), after: this.#last.after, signal: controller.signal };
		const isKnown = await followAnswer(this.#url, this.#last.id, options).then(() => true, () => false);
		controller.abort();
		return isKnown;
	}

	/**
	 * Begins a turn.
	 *
	 * @param {Message['content']} content
	 * @param {SendOptions} options
	 * @param {string} [id] of the answer, if the site may have it already
	 */
	#put(content, options, id = newId()) {
		if (this.#openTurn()) this.#stop(true);
		const turn = new Turn(wellFormed(content), this.chatId);
		this.turns = [...this.turns, turn];
		this.#open = { id, asked: Date.now(), begun: false };
		return this.#read(turn, options, (reading) => this.#ask(reading, options, id));
	}

	#mustBeIdle() {
		if (this.#reading) throw new Error('an answer is still on its way');
	}

	/** Returns the last turn, if its answer can be continued. */
	#openTurn() {
		const turn = this.turns.at(-1);
		if (!this.#open || turn?.state !== 'open') return undefined;
		// After that time the site may have forgotten an answer that it did give.
		if (!this.#open.begun && !this.#reading && Date.now() - this.#open.asked > longestUnsent) {
			this.#settle(turn, 'unsent');
			return undefined;
		}
		return turn;
	}

	/**
	 * Hands out the events of an answer, and keeps what came of it.
	 *
	 * @param {Turn} turn
	 * @param {SendOptions} options
	 * @param {(reading: Reading) => AsyncGenerator<ChatEvent, void, void>} start
	 * @returns {AsyncGenerator<ChatEvent, void, void>}
	 */
	async *#read(turn, { signal }, start) {
		const controller = linkedTo(signal);
		/** @type {Reading} */
		const reading = { turn, controller };
		this.#reading = reading;
		listen(globalThis, 'pagehide', () => this.#keep(), controller.signal);
		let first = true;
		try {
			for await (const event of start(reading)) {
				// A continued answer begins anew. Until then, the turn keeps the events that it had.
				if (first) turn.events = [];
				first = false;
				if (turn.state === 'open') turn.add(event);
				// An answer may be open still when the next question has been asked.
				if (turn === this.turns.at(-1)) this.#note(reading);
				if (event.type === 'finish' && !isStep(event)) this.#settle(turn, 'done');
				yield event;
			}
			this.#settle(turn, 'done');
		} catch (err) {
			controller.signal.throwIfAborted();
			const failed = err instanceof ChatError && err.code === stoppedElsewhere ? 'stopped' : 'failed';
			this.#settle(turn, failed, err);
			throw err;
		} finally {
			controller.abort();
			if (this.#reading === reading) this.#leave();
		}
	}

	/**
	 * Notes where the answer is, and what it says about the chat.
	 *
	 * @param {Reading} reading
	 */
	#note({ answer, turn }) {
		if (answer?.id) this.#last = { id: answer.id, after: answer.after };
		if (!answer?.chatId || answer.chatId === this.chatId || turn.foreign) return;
		this.chatId = answer.chatId;
		this.#keep();
	}

	/** Notes that no loop reads the answer any more. */
	#leave() {
		const turn = this.#reading?.turn;
		this.#reading = undefined;
		// Without its connection, the answer goes on only at a site with `resume`.
		if (turn && !this.#open) this.#settle(turn, 'stopped');
		else this.#keep();
	}

	/**
	 * Asks the question of a turn. If the conversation before it stands in the way, it is changed, once for each reason.
	 *
	 * @param {Reading} reading
	 * @param {SendOptions} options
	 * @param {string} id of the answer
	 * @returns {AsyncGenerator<ChatEvent, void, void>}
	 */
	async *#ask(reading, options, id) {
		const { turn, controller: { signal } } = reading;
		const { onRetry, onReconnect } = options;
		for (let shortened = false; ;) {
			const question = await this.#question(turn, options);
			try {
				yield* ask(this.#url, question, {
					...await this.#connection(), id, signal, onRetry, onReconnect, resumable: this.#resumable, attempts: this.#options.tries,
					onAttempt: (next) => {
						// The chat of an attempt that failed is not this answer's.
						this.chatId = turn.chatId;
						// A request that is repeated with its id does not begin the answer's time anew.
						if (this.#open?.id !== next) this.#open = { id: next, asked: Date.now(), begun: false };
						this.#keep();
					},
					onOpen: (answer) => {
						reading.answer = answer;
						this.#resumable = !!answer.id;
						this.#open = answer.id ? { id: answer.id, asked: Date.now(), begun: true } : undefined;
						this.#note(reading);
						this.#keep();
					},
				});
				return;
			} catch (/** @type {any} */ err) {
				if (turn.events.length > 0) throw err;
				if (err.code === 'not_found:chat' && question.chatId !== undefined) {
					// The API has forgotten the chat. The messages say what was said in it.
					this.chatId = turn.chatId = undefined;
				} else if (!shortened && this.#shorten(err, question)) {
					shortened = true;
				} else {
					throw err;
				}
				id = newId();
			}
		}
	}

	/**
	 * Reads an answer that has begun before.
	 *
	 * @param {Reading} reading
	 * @param {SendOptions} options
	 * @param {string} id
	 * @returns {AsyncGenerator<ChatEvent, void, void>}
	 */
	async *#follow(reading, { onReconnect }, id) {
		reading.answer = new Answer(this.#url, id, 0, undefined, { ...await this.#connection(), signal: reading.controller.signal, onReconnect });
		yield* reading.answer.events;
	}

	/**
	 * Returns what to send for a turn.
	 *
	 * @param {Turn} turn
	 * @param {SendOptions} options
	 * @returns {Promise<Question>}
	 * @throws {ChatError} if the question alone is too large
	 */
	async #question(turn, { onShorten }) {
		const { assistantId, body, history = Infinity } = this.#options;
		const more = typeof body === 'function' ? body() : body;
		const question = { ...more, assistantId, chatId: this.chatId, messages: [{ role: 'user', content: turn.content }] };
		const room = this.#maxBody - byteLength(question);
		if (room < 0) throw new ChatError('the message is too long', { status: 413, code: 'too_large:chat' });
		const all = [...this.messages, ...question.messages];
		question.messages = lastMessages(all, this.#most, room + byteLength(question.messages[0]));
		if (question.messages.length < lastMessages(all, history, Infinity).length) onShorten?.(question.messages.length);
		return question;
	}

	/**
	 * Lowers the number of messages that are sent, if the site refuses a question and its history may be the reason.
	 *
	 * @param {ChatError} err
	 * @param {Question} question
	 */
	#shorten({ status }, question) {
		if (status !== 413 || question.messages.length < 2) return false;
		this.#most = question.messages.length >> 1;
		return true;
	}

	/** @returns {Promise<ConnectOptions>} */
	async #connection() {
		const { headers } = this.#options;
		return { ...this.#options, headers: typeof headers === 'function' ? await headers() : headers };
	}

	/**
	 * Notes how a turn ended.
	 *
	 * @param {Turn} turn
	 * @param {TurnState} state
	 * @param {any} [err]
	 */
	#settle(turn, state, err) {
		if (turn.state !== 'open') return;
		turn.state = state;
		if (err) turn.error = { message: err.message, code: err.code, status: err.status };
		if (this.#reading?.turn === turn) this.#reading = undefined;
		// Although the connection was lost, the site may have the answer: `retry` asks for it by its id.
		if (state !== 'unsent' && !/:connection$/.test(err?.code)) this.#open = undefined;
		this.#keep();
	}

	/** Continues the conversation that is kept, if there is one. */
	#recall() {
		this.#draft = this.#keptDraft?.read() ?? '';
		const kept = this.#kept?.read();
		if (!Array.isArray(kept?.turns)) return this.#begin();
		this.turns = kept.turns.map(Turn.from);
		({ earlier: this.#earlier, chatId: this.chatId, conversation: this.#conversation, resumable: this.#resumable, open: this.#open, last: this.#last } = kept);
		const turn = this.turns.at(-1);
		if (turn?.state === 'open' && !this.#open) {
			this.#settle(turn, 'failed', new ChatError('the page was left', { code: 'closed:connection' }));
		}
		this.#begin(this.#conversation);
	}

	/**
	 * Lets other tabs know of the conversation.
	 *
	 * @param {string} [conversation] by default a new one
	 */
	#begin(conversation = newId()) {
		this.#conversation = conversation;
		this.#forgetTwin();
		if (!this.#kept) return;
		this.#forgetTwin = watchForTwin(conversation, () => {
			// The API's chat belongs to the older tab. This one goes on with the messages.
			this.chatId = undefined;
			for (const turn of this.turns) {
				turn.chatId = undefined;
				turn.foreign = true;
			}
			this.#begin();
			this.#keep();
		});
	}

	/** Keeps the conversation over a reload, and its last part if there is no room for more. */
	#keep() {
		for (let turns = this.turns; this.#kept && turns.length > 0; turns = turns.slice(Math.ceil(turns.length / 2))) {
			const written = this.#kept.write({
				turns, earlier: this.#earlier, chatId: this.chatId, conversation: this.#conversation, resumable: this.#resumable, open: this.#open, last: this.#last,
			});
			if (written) return;
		}
	}
}
