import { ChatError } from '../illumichat.js';
import { explain } from './explain.js';

/** @typedef {import('./words.js').Words} Words */

/**
 * How a turn ended.
 * @typedef {object} Ending
 * @property {string} line says how it ended; empty if it ended well
 * @property {'' | 'stopped' | 'failed'} kind empty: the answer is there, as far as it goes
 * @property {string} code the code of an error, which a visitor can pass on to the owner of the site
 * @property {number} [retryAfter] seconds until the visitor can ask again, if the server said so; `explainWait` says it in words
 */

/** The text that a visitor reads if an answer finished early, by the finish's reason. @type {Map<unknown, import('./words.js').Key>} */
const keysByReason = new Map([
	['length', 'lengthReached'],
	['content-filter', 'filtered'],
	['content_filter', 'filtered'],
	['tool-calls', 'stepMissing'],
	['tool_calls', 'stepMissing'],
]);

/**
 * Describes how a turn ended.
 *
 * @param {Words} words
 * @param {import('../illumichat.js').Turn} turn
 * @param {unknown} [thrown] the exception that ended it, if that is known
 * @returns {Ending}
 */
export function endingOf(words, { state, events, error }, thrown) {
	switch (state) {
		case 'done':
			return endingOfFinished(words, events);
		case 'unsent':
			return { line: words.say('maybeUnsent'), kind: 'failed', code: '' };
		case 'stopped':
			return { line: explain(words, new ChatError('', { code: error?.code ?? 'stopped:page' })), kind: 'stopped', code: '' };
	}
	const err = thrown ?? (error && new ChatError(error.message, error));
	if (!(err instanceof ChatError)) return { line: explain(words, err), kind: 'failed', code: '' };
	return { line: explain(words, err), kind: 'failed', code: err.code, retryAfter: err.retryAfter };
}

/**
 * @param {Words} words
 * @param {import('../illumichat.js').ChatEvent[]} events
 * @returns {Ending}
 */
function endingOfFinished(words, events) {
	if (!events.some(isVisible)) return { line: words.say('emptyAnswer'), kind: 'stopped', code: '' };
	const finish = events.findLast((event) => event.type === 'finish');
	const key = keysByReason.get(finish?.type === 'finish' ? finish.finishReason : undefined);
	return { line: key ? words.say(key) : '', kind: '', code: '' };
}

/** @param {import('../illumichat.js').ChatEvent} event */
function isVisible(event) {
	return event.type === 'text-delta' ? event.textDelta.trim() !== '' : event.type === 'tool-call' || event.type === 'tool-result';
}
