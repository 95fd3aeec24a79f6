import { LostConnection, longestPause, mayPass } from './error.js';
import { newId, openAnswer } from './answer.js';
import { isOffline, pause, pauseAfter } from './wait.js';

/** @typedef {import('./error.js').ChatError} ChatError */
/** @typedef {import('./answer.js').Answer} Answer */

/** For how many milliseconds a question that got no response is sent again after a reload of the page. */
export const longestUnsent = 60_000;

/**
 * @typedef {object} AskOptions
 * @property {number} [attempts] how often a question is sent at most, while nothing of an answer has arrived; default 3
 * @property {(id: string) => void} [onAttempt] is called with the answer's id before a request is sent
 * @property {(answer: Answer) => void} [onOpen] is called when the response headers are there
 * @property {(err: ChatError, wait: number) => void} [onRetry] is called before the question is sent again in `wait` seconds
 */

/**
 * Asks a question until an answer has begun, and yields its events. A request whose response was lost is repeated with its
 * id, so that the site does not ask the question again. An answer that broke before its first event is asked for anew, under
 * another id.
 *
 * @param {string} url
 * @param {import('./answer.js').Question} question
 * @param {import('./request.js').ConnectOptions & import('./answer.js').ReadOptions & import('./answer.js').OpenOptions & AskOptions} options
 * @returns {Answer['events']}
 */
export async function* ask(url, question, { id = newId(), attempts = 3, onAttempt, onOpen, onRetry, ...options }) {
	for (let failed = 0; ;) {
		/** @type {Answer | undefined} */
		let answer;
		let begun = false;
		try {
			options.signal?.throwIfAborted();
			onAttempt?.(id);
			answer = await openAnswer(url, question, { ...options, id });
			onOpen?.(answer);
			for await (const event of answer.events) {
				begun = true;
				yield event;
			}
			return;
		} catch (err) {
			if (!isOffline()) failed++;
			// An answer that can be resumed may have been given in full, and only its connection was lost.
			const given = begun || answer?.id && err instanceof LostConnection;
			if (given || failed > 0 && !(failed < attempts) || !mayPass(err)) throw err;
			if (answer) id = newId();
			const wait = pauseAfter(err, failed, longestPause);
			onRetry?.(err, wait);
			if (await pause(wait, options.signal)) failed = 0;
		}
	}
}
