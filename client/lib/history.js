/** @typedef {import('./answer.js').Message} Message */

/**
 * Returns a value with each half of a surrogate pair in its texts replaced by U+FFFD. A text that was cut between the two
 * halves of a character cannot be written as UTF-8.
 *
 * @template T
 * @param {T} value a JSON value
 * @returns {T}
 */
export function wellFormed(value) {
	return JSON.parse(JSON.stringify(value), (_, part) => typeof part === 'string' ? part.replace(lonelyHalves, '\ufffd') : part);
}

/** With the `u` flag, this matches only halves that are not part of a pair. */
const lonelyHalves = /\p{Surrogate}/gu;

/**
 * Returns how many bytes a value has as JSON.
 *
 * @param {unknown} value
 */
export function byteLength(value) {
	return new Blob([JSON.stringify(value)]).size;
}

/**
 * Returns the last messages of a conversation: no more than `most`, and no more than fit in `bytes`. The last message, the
 * question, is always one of them. A conversation does not begin with an answer.
 *
 * @param {Message[]} messages
 * @param {number} most
 * @param {number} bytes
 */
export function lastMessages(messages, most, bytes) {
	let first = messages.length - 1;
	let size = byteLength(messages[first]);
	while (first > 0 && messages.length - first < most) {
		size += byteLength(messages[first - 1]) + 1;
		if (size > bytes) break;
		first--;
	}
	if (first > 0) while (messages[first].role === 'assistant' && first < messages.length - 1) first++;
	return messages.slice(first);
}
