import { ChatError } from './illumichat.js';

const unreachable = 'The assistant cannot be reached at the moment.';
const notAllowed = 'This chat is not set up correctly. Please tell the owner of the site.';
const tooSlow = 'The assistant took too long.';
const tooMany = 'Too many messages for now.';
const busy = 'The assistant is busy.';
const tooLong = 'This message is too long for the assistant. Send a shorter one.';
const blocked = 'The assistant does not accept this message. Try other words.';
const brokeOff = 'The connection to the assistant broke off.';
const signedOut = 'You are not signed in any more. Reload the page to sign in again.';
const foreign = 'Something between this page and the assistant answered instead of it, such as a firewall or a sign-in page. Reload the page.';

/** The short name of each error, by its code or its type. */
const wordsByCode = new Map([
	['rate_limit', tooMany],
	['overloaded', busy],
	['too_large', tooLong],
	['too_large:answer', 'The answer is too large for this page.'],
	['too_many_messages', tooLong],
	['unauthorized', notAllowed],
	['forbidden', notAllowed],
	['blocked', blocked],
	['not_found', notAllowed],
	['not_found:stream', brokeOff],
	['bad_request:stream', brokeOff],
	['conflict', brokeOff],
	['timeout:chat', 'Sending the message took too long.'],
	['timeout', tooSlow],
	['stalled', tooSlow],
	['stalled:connection', brokeOff],
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
	['redirected', signedOut],
	['not_chat', foreign],
	['stopped:page', 'Stopped.'],
	['stopped:visitor', 'Stopped elsewhere.'],
]);

/** The same by the HTTP status, for errors without a code. */
const wordsByStatus = new Map([
	[401, signedOut],
	[403, notAllowed],
	[404, notAllowed],
	[405, notAllowed],
	[407, foreign],
	[413, tooLong],
	[419, signedOut],
	[429, tooMany],
	[440, signedOut],
	[503, busy],
	[504, tooSlow],
	[511, foreign],
]);

/** The contexts of the codes with which an answer breaks off. Any other code is that of an error event of the assistant. */
const breakContexts = ['upstream', 'proxy', 'visitor', 'instance', 'connection', 'page', 'answer'];

/**
 * Says what went wrong, in a visitor's words, and when to try again.
 *
 * @param {unknown} err
 */
export function explain(err) {
	if (!(err instanceof ChatError)) return 'Something went wrong on this page.';
	if (err.retryAfter === undefined) return wordsFor(err);
	return `${wordsFor(err)} Try again ${fromNow(err.retryAfter)}.`;
}

/**
 * Says why the page waits before it sends the message again, and what it does after the wait.
 *
 * @param {ChatError} err
 * @param {number} wait seconds
 */
export function explainPause(err, wait) {
	if (isOffline()) return always('You are offline. The message is sent as soon as you are back online.');
	return { why: `${wordsFor(err)} Trying again ${fromNow(Math.ceil(wait))}.`, then: 'Trying again.' };
}

/**
 * Says that the page waits before it reconnects, because the connection of an answer was lost, and what it does after the wait.
 *
 * @param {number} wait seconds
 */
export function explainReconnect(wait) {
	if (isOffline()) return always('You are offline. The answer continues as soon as you are back online.');
	return { why: `The connection was lost. Reconnecting ${fromNow(Math.ceil(wait))}.`, then: 'Reconnecting.' };
}

/** Reports whether the browser knows that it has no network. The client then waits until it has one. */
function isOffline() {
	return !navigator.onLine;
}

/** @param {string} why */
function always(why) {
	return { why, then: why };
}

/** @param {ChatError} err */
function wordsFor({ code, type, status, message }) {
	const broke = breakContexts.includes(code.slice(code.indexOf(':') + 1));
	// The assistant's error events say in their own words what is wrong.
	const known = status === 200 && !broke ? undefined : wordsByCode.get(code) ?? wordsByCode.get(type) ?? wordsByStatus.get(status);
	return known ?? (status >= 500 ? unreachable : `That did not work: ${message}${/[.!?]$/.test(message) ? '' : '.'}`);
}

/** @param {number} seconds */
function fromNow(seconds) {
	const words = new Intl.RelativeTimeFormat('en', { numeric: 'auto' });
	if (seconds < 120) return words.format(seconds, 'second');
	if (seconds < 120 * 60) return words.format(Math.ceil(seconds / 60), 'minute');
	if (seconds < 48 * 60 * 60) return words.format(Math.ceil(seconds / 3600), 'hour');
	return words.format(Math.ceil(seconds / 86_400), 'day');
}
