import { listen } from '../lib/wait.js';
import { ChunkWriter } from './chunks.js';

/** @typedef {import('ai').UIMessageChunk} UIMessageChunk */
/** @typedef {import('../lib/answer.js').ChatEvent} ChatEvent */
/** @typedef {import('../lib/answer.js').Question} Question */
/** @typedef {import('../lib/answer.js').Answer} Answer */
/** @typedef {import('../lib/request.js').ConnectOptions & import('../lib/answer.js').ReadOptions & Pick<import('../lib/ask.js').AskOptions, 'onRetry'>} AnswerOptions */

/**
 * An answer that can be continued.
 *
 * @typedef {object} Open
 * @property {string} id
 * @property {number} print a fingerprint of the messages that were asked
 * @property {Question} [question] what to ask again, while the server is not known to have it
 * @property {number} [asked] when that was asked first
 */

/**
 * One answer with all of its readers. It continues whether or not anyone reads it, so that a component may be unmounted and mounted again.
 */
export class Session {
	/** The data to continue the answer, if the site has `resume`. @type {Open | undefined} */
	open;

	/** @type {Answer | undefined} */
	answer;

	/** How many read it. */
	readers = 0;

	/** Whether the answer may go on although this reading of it has failed. */
	isLost = false;

	/** Whether no more chunks come. */
	isOver = false;


	/** Why the answer is not complete. @type {unknown} */
	#error;

	/** Whether there is something to wait for. */
	#isOpen = false;

	#controller = new AbortController();
	#hooks;

	/** @type {(() => void)[]} */
	#waiting = [];

	/** Ends the wait for another reader. */
	#goOn = () => {};

	/**
	 * @param {string} id of the answer, and of the message
	 * @param {Promise<AnswerOptions>} connection how the answer is asked for
	 * @param {object} hooks
	 * @param {number} hooks.stopAfter for how many seconds an answer goes on without a reader
	 * @param {() => void} hooks.onLeft is called after that time
	 * @param {() => void} hooks.onSeen is called when a reader has got the end of the answer
	 */
	constructor(id, connection, hooks) {
		/** Turns the events so far into chunks. */
		this.writer = new ChunkWriter(id);
		this.connection = connection;
		this.#hooks = hooks;
	}

	/**
	 * Reads the answer to its end.
	 *
	 * @param {(options: AnswerOptions) => AsyncIterable<ChatEvent>} start
	 */
	async run(start) {
		try {
			const { signal } = this.#controller;
			for await (const event of start({ ...await this.connection, signal })) {
				if (this.isOver) return;
				this.writer.add(event);
				this.opened();
			}
			this.writer.end();
			this.end();
		} catch (/** @type {any} */ err) {
			this.isLost ||= /:connection$/.test(err?.code);
			this.end(err);
		}
	}

	/** Lets those who ask have their stream, although nothing may be in it yet. */
	opened() {
		this.#isOpen = true;
		this.#wake();
	}

	/**
	 * Ends the answer.
	 *
	 * @param {unknown} [err] why it is not complete
	 */
	end(err) {
		if (this.isOver) return;
		if (err) this.writer.breakOff();
		this.isOver = true;
		this.#error = err;
		this.#goOn();
		this.#wake();
		this.#controller.abort(err);
	}

	#wake() {
		for (const go of this.#waiting.splice(0)) go();
	}

	/**
	 * Returns the whole answer, from its first chunk. Resolves when the response headers are there.
	 *
	 * @param {AbortSignal} [signal] leaves the answer
	 * @returns {Promise<ReadableStream<UIMessageChunk>>}
	 */
	async read(signal) {
		const { chunks } = this.writer;
		let at = 0;
		let reading = true;
		const reader = new AbortController();
		this.readers++;
		this.#goOn();
		const leave = () => {
			if (!reading) return;
			reading = false;
			reader.abort();
			this.readers--;
			this.#waitForReader();
			this.#wake();
		};
		listen(signal, 'abort', leave, reader.signal);
		if (signal?.aborted) leave();

		/** @param {() => boolean} isReady */
		const wait = async (isReady) => {
			while (reading && !this.isOver && !isReady()) await new Promise((/** @type {any} */ resolve) => this.#waiting.push(resolve));
			if (!reading) throw signal?.reason;
		};
		const end = () => {
			leave();
			this.#hooks.onSeen();
			if (this.#error) throw this.#error;
		};
		await wait(() => this.#isOpen);
		if (!this.#isOpen) end();
		return new ReadableStream({
			pull: async (controller) => {
				await wait(() => at < chunks.length);
				let chunk = chunks[at++];
				if (!chunk) {
					end();
					return controller.close();
				}
				// A slow or late reader gets all the text so far in one chunk.
				for (let next; chunk.type === 'text-delta' && (next = chunks[at])?.type === 'text-delta'; at++) {
					chunk = { ...chunk, delta: chunk.delta + next.delta };
				}
				controller.enqueue(chunk);
			},
			cancel: leave,
		}, { highWaterMark: 0 });
	}

	/** Gives up the answer unless somebody reads it soon. A page that is left cannot wait. */
	#waitForReader() {
		const { stopAfter, onLeft } = this.#hooks;
		if (this.readers > 0 || this.isOver || stopAfter === Infinity) return;
		const giveUp = () => {
			this.#goOn();
			onLeft();
		};
		const timer = setTimeout(giveUp, stopAfter * 1000);
		const wait = new AbortController();
		listen(globalThis, 'pagehide', giveUp, wait.signal);
		this.#goOn = () => {
			clearTimeout(timer);
			wait.abort();
		};
	}
}
