import { ChatError } from './illumichat.js';

const unreachable = 'The assistant cannot be reached at the moment.';
const notAllowed = 'This chat is not set up correctly. Please tell the owner of the site.';
const tooSlow = 'The assistant took too long.';
const tooMany = 'Too many messages for now.';
const busy = 'The assistant is busy.';
const tooLong = 'This conversation has grown too long. Send a shorter message, or open the page in a new tab to begin anew.';
const blocked = 'The assistant does not accept this message. Try other words.';
const brokeOff = 'The connection to the assistant broke off.';

/** What to tell a visitor, by an error's code or its type. */
const wordsByCode = new Map([
	['rate_limit', tooMany],
	['overloaded', busy],
	['too_large', tooLong],
	['too_many_messages', tooLong],
	['unauthorized', notAllowed],
	['forbidden', notAllowed],
	['blocked', blocked],
	['not_found', notAllowed],
	['bad_request:stream', notAllowed],
	['not_found:stream', brokeOff],
	['conflict', brokeOff],
	['timeout:chat', 'Sending the message took too long.'],
	['timeout', tooSlow],
	['stalled', tooSlow],
	['max_duration', tooSlow],
	['closed', brokeOff],
	['broken', brokeOff],
	['leak', brokeOff],
	['abandoned', brokeOff],
	['lost', brokeOff],
	['shutting_down', brokeOff],
	['bad_gateway', unreachable],
	['server_error', unreachable],
	['unreachable', 'The site cannot be reached. Check your connection.'],
]);

/** The same by the HTTP status, for errors without a code. */
const wordsByStatus = new Map([
	[401, 'You are not signed in any more. Reload the page to sign in.'],
	[403, notAllowed],
	[404, notAllowed],
	[405, notAllowed],
	[413, tooLong],
	[429, tooMany],
	[503, busy],
	[504, tooSlow],
]);

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

/**
 * Says that the page goes on by itself with an answer whose connection was lost.
 *
 * @param {number} wait seconds until then
 */
export function explainReconnect(wait) {
	return `The connection was lost. Reconnecting ${fromNow(Math.ceil(wait))}.`;
}

/** @param {ChatError} err */
function wordsFor({ code, type, status, message }) {
	return wordsByCode.get(code) ?? wordsByCode.get(type) ?? wordsByStatus.get(status) ??
		(status >= 500 ? unreachable : `That did not work: ${message.replace(/\.$/, '')}.`);
}

/** @param {number} seconds */
function fromNow(seconds) {
	const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
	if (seconds < 120) return words.format(seconds, 'second');
	if (seconds < 120 * 60) return words.format(Math.ceil(seconds / 60), 'minute');
	if (seconds < 48 * 60 * 60) return words.format(Math.ceil(seconds / 3600), 'hour');
	return words.format(Math.ceil(seconds / 86_400), 'day');
}
