import { explain } from './explain.js';
import { ChatError } from './illumichat.js';

/**
 * How a turn ended.
 * @typedef {object} Ending
 * @property {string} line
 * @property {'' | 'stopped' | 'failed'} kind empty: it ended well, so there is nothing to try again
 * @property {string} code the code of an error, which a visitor can pass on to the owner of the site
 */

/** The line below an answer that is complete. */
const finishedWell = 'Finished: stop';

/**
 * Describes how a turn ended.
 *
 * @param {import('./illumichat.js').Turn} turn
 * @param {unknown} [thrown] the exception that ended it, if that is known
 * @returns {Ending}
 */
export function endingOf({ state, events, error }, thrown) {
	switch (state) {
		case 'done':
			return endingOfFinished(events);
		case 'unsent':
			return { line: 'This message may not have been sent.', kind: 'failed', code: '' };
		case 'stopped': {
			const code = error?.code ?? 'stopped:page';
			return { line: explain(new ChatError('', { code })), kind: 'stopped', code: '' };
		}
	}
	const err = thrown ?? (error && new ChatError(error.message, error));
	return { line: explain(err), kind: 'failed', code: err instanceof ChatError ? err.code : '' };
}

/**
 * @param {import('./illumichat.js').ChatEvent[]} events
 * @returns {Ending}
 */
function endingOfFinished(events) {
	if (!events.some(isVisible)) return { line: 'The assistant sent an empty answer.', kind: 'stopped', code: '' };
	const finish = events.findLast((event) => event.type === 'finish');
	const reason = finish?.type === 'finish' ? finish.finishReason : undefined;
	if (reason === 'length') return { line: 'Finished: length (the answer reached its limit)', kind: '', code: '' };
	return { line: typeof reason === 'string' ? `Finished: ${reason}` : 'Finished', kind: '', code: '' };
}

/** @param {import('./illumichat.js').ChatEvent} event */
function isVisible(event) {
	return event.type === 'text-delta' ? event.textDelta.trim() !== '' : event.type === 'tool-call' || event.type === 'tool-result';
}

/**
 * Returns what a screen reader says about an ending. If an answer is complete, it has said enough.
 *
 * @param {Ending} ending
 */
export function spoken({ line }) {
	return line === finishedWell ? '' : line;
}
