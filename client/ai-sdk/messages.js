import { wellFormed } from '../lib/history.js';

/** @typedef {import('../lib/answer.js').Message} Message */
/** @typedef {import('ai').UIMessage} UIMessage */

/**
 * Returns the messages as the API takes them. Only text is sent; a message without any is left out.
 *
 * @param {UIMessage[]} messages
 * @returns {Message[]}
 */
export function toMessages(messages) {
	return wellFormed(messages.map((message) => ({ role: message.role, content: textOf(message) })).filter(({ content }) => content));
}

/**
 * Returns the text of a message. The parts of an answer are one text that tools interrupt.
 *
 * @param {UIMessage | undefined} message
 */
export function textOf(message) {
	const texts = message?.parts?.map((part) => part.type === 'text' ? part.text : '') ?? [];
	return texts.filter((text) => text).join(message?.role === 'assistant' ? '' : '\n');
}

/**
 * Reports whether the last message is the next one in the API's chat, so that nothing before it was edited, left out or
 * added. Of an answer that broke off or was stopped, the API may have another part than the page.
 *
 * @param {number | undefined} seen the fingerprint of what the API's chat contains, without such an answer
 * @param {Message[]} messages
 */
export function continues(seen, messages) {
	const [question, answer] = messages.slice(-3);
	const isAnswered = question?.role === 'user' && answer?.role === 'assistant';
	return seen === fingerprint(messages.slice(0, -1)) || isAnswered && seen === fingerprint(messages.slice(0, -2));
}

/**
 * Returns a number that differs for different values, an FNV-1a hash. It is kept in place of a conversation, which may be too
 * long to be kept.
 *
 * @param {unknown} value
 */
export function fingerprint(value) {
	const text = JSON.stringify(wellFormed(value));
	let hash = 0x811c9dc5;
	for (let i = 0; i < text.length; i++) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
	return hash;
}
