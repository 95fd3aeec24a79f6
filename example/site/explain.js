import { ChatError } from './illumichat.js';

const unreachable = 'The assistant cannot be reached at the moment.';
const notAllowed = 'This chat is not set up correctly. Please tell the owner of the site.';
const tooSlow = 'The assistant took too long.';
const brokeOff = 'The answer broke off.';

/** What to tell a visitor, by the type of an error's code. @type {Record<string, string>} */
const wordsByType = {
	rate_limit: 'Too many messages for now.',
	overloaded: 'The assistant is busy.',
	too_large: 'This conversation has grown too long. Send a shorter message, or reload the page to begin anew.',
	unauthorized: notAllowed,
	forbidden: notAllowed,
	not_found: notAllowed,
	timeout: tooSlow,
	stalled: tooSlow,
	max_duration: tooSlow,
	closed: brokeOff,
	leak: brokeOff,
	broken: brokeOff,
	shutting_down: brokeOff,
	bad_gateway: unreachable,
	server_error: unreachable,
	unreachable: 'The site cannot be reached. Check your connection.',
};

/** The same by the HTTP status, for errors without a code. @type {Record<number, string>} */
const wordsByStatus = {
	403: notAllowed,
	404: notAllowed,
	405: notAllowed,
	413: wordsByType.too_large,
	429: wordsByType.rate_limit,
	500: unreachable,
	502: unreachable,
	503: wordsByType.overloaded,
	504: tooSlow,
};

/**
 * Says in words for a visitor what went wrong, and when it is worth another try.
 *
 * @param {unknown} err
 */
export function explain(err) {
	if (!(err instanceof ChatError)) return 'Something went wrong on this page.';
	if (err.retryAfter === undefined) return wordsFor(err);
	return `${wordsFor(err)} Try again ${fromNow(err.retryAfter)}.`;
}

/**
 * Says what went wrong before the page tries again by itself.
 *
 * @param {ChatError} err
 * @param {number} wait seconds until then
 */
export function explainPause(err, wait) {
	return `${wordsFor(err)} Trying again ${fromNow(Math.ceil(wait))}.`;
}

/** @param {ChatError} err */
function wordsFor({ type, status, message }) {
	return wordsByType[type] ?? wordsByStatus[status] ?? `That did not work: ${message}`;
}

/** @param {number} seconds */
function fromNow(seconds) {
	const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
	if (seconds < 120) return words.format(seconds, 'second');
	if (seconds < 120 * 60) return words.format(Math.ceil(seconds / 60), 'minute');
	return words.format(Math.ceil(seconds / 3600), 'hour');
}
