import { ChatError } from '../illumichat.js';
import { isOffline } from '../lib/wait.js';

/** @typedef {import('./words.js').Words} Words */
/** @typedef {import('./words.js').Key} Key */

/** The text for each error, by its code or its type. @type {Map<string, Key>} */
const keysByCode = new Map([
	['rate_limit', 'tooMany'],
	['overloaded', 'busy'],
	['too_large', 'tooLong'],
	['too_large:answer', 'answerTooLarge'],
	['too_many_messages', 'tooLong'],
	['unauthorized', 'notAllowed'],
	['forbidden', 'notAllowed'],
	['blocked', 'blocked'],
	['not_found', 'notAllowed'],
	['unsupported_media_type', 'notAllowed'],
	['not_found:stream', 'brokeOff'],
	['bad_request:stream', 'brokeOff'],
	['bad_request:upstream', 'notAllowed'],
	['conflict', 'brokeOff'],
	['timeout:chat', 'sendingTooSlow'],
	['timeout', 'tooSlow'],
	['stalled', 'tooSlow'],
	['stalled:connection', 'brokeOff'],
	['max_duration', 'tooSlow'],
	['closed', 'brokeOff'],
	['broken', 'brokeOff'],
	['leak', 'brokeOff'],
	['abandoned', 'brokeOff'],
	['lost', 'brokeOff'],
	['shutting_down', 'brokeOff'],
	['bad_gateway', 'unreachable'],
	['server_error', 'unreachable'],
	['unreachable', 'siteUnreachable'],
	['redirected', 'signedOut'],
	['not_chat', 'foreign'],
	['empty', 'emptyAnswer'],
	['stopped:page', 'stopped'],
	['stopped:visitor', 'stoppedElsewhere'],
]);

/** The same by the HTTP status, for errors without a code. @type {Map<number, Key>} */
const keysByStatus = new Map([
	[401, 'signedOut'],
	[403, 'notAllowed'],
	[404, 'notAllowed'],
	[405, 'notAllowed'],
	[407, 'foreign'],
	[413, 'tooLong'],
	[419, 'signedOut'],
	[429, 'tooMany'],
	[440, 'signedOut'],
	[503, 'busy'],
	[504, 'tooSlow'],
	[511, 'foreign'],
]);

/** The contexts of the codes with which an answer breaks off. Any other code is that of an error event of the assistant. */
const breakContexts = ['upstream', 'proxy', 'visitor', 'instance', 'connection', 'page', 'answer'];

/**
 * Says what went wrong, in a visitor's words. `explainWait` says when to try again.
 *
 * @param {Words} words
 * @param {unknown} err
 */
export function explain(words, err) {
	if (!(err instanceof ChatError)) return words.say('pageFailed');
	const key = keyOf(err);
	if (key) return words.say(key);
	return words.say('didNotWork', { message: /[.!?…。！？؟]$/.test(err.message) ? err.message : `${err.message}.` });
}

/**
 * Says when the visitor can ask again. With no time left, that is now.
 *
 * @param {Words} words
 * @param {number} seconds
 */
export function explainWait(words, seconds) {
	return seconds > 0 ? words.say('tryAgainIn', { time: words.fromNow(seconds) }) : words.say('canAskNow');
}

/**
 * Says why the page waits before it sends the message again, and what it does after the wait.
 *
 * @param {Words} words
 * @param {ChatError} err
 * @param {number} wait seconds
 */
export function explainPause(words, err, wait) {
	if (isOffline()) return always(words.say('offlineUnsent'));
	return { why: join(words, explain(words, err), words.say('tryingAgainIn', { time: words.fromNow(wait) })), then: words.say('tryingAgain') };
}

/**
 * Says that the page waits before it reconnects, because the connection of an answer was lost, and what it does after the wait.
 *
 * @param {Words} words
 * @param {number} wait seconds
 */
export function explainReconnect(words, wait) {
	if (isOffline()) return always(words.say('offlineAnswer'));
	return { why: join(words, words.say('connectionLost'), words.say('reconnectingIn', { time: words.fromNow(wait) })), then: words.say('reconnecting') };
}

/**
 * Says that only a few more messages are allowed, and when there will be more.
 *
 * @param {Words} words
 * @param {number} left
 * @param {number} seconds
 */
export function explainLimit(words, left, seconds) {
	return join(words, words.say('messagesLeft', { n: left }), words.say('moreMessagesIn', { time: words.fromNow(seconds) }));
}

/**
 * Puts two sentences next to each other.
 *
 * @param {Words} words
 * @param {string} first
 * @param {string} second
 */
function join(words, first, second) {
	return `${first}${words.say('sentenceGap')}${second}`;
}

/** @param {string} why */
function always(why) {
	return { why, then: why };
}

/**
 * @param {ChatError} err
 * @returns {Key | undefined} nothing if only the server's own words say what is wrong
 */
function keyOf({ code, type, status }) {
	const broke = breakContexts.includes(code.slice(code.indexOf(':') + 1));
	// The assistant's error events say in their own words what is wrong.
	const known = status === 200 && !broke ? undefined : keysByCode.get(code) ?? keysByCode.get(type) ?? keysByStatus.get(status);
	return known ?? (status >= 500 ? 'unreachable' : undefined);
}
