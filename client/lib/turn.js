import { wellFormed } from './history.js';

/** @typedef {import('./answer.js').Message} Message */
/** @typedef {import('./answer.js').ChatEvent} ChatEvent */

/**
 * How a turn stands.
 *
 * - `open`: the answer is on its way, or was when the page was left.
 * - `done`: the answer is complete.
 * - `stopped`: the visitor stopped the answer. What arrived before is in it.
 * - `failed`: the answer did not arrive, or not to its end; `error` says why.
 * - `unsent`: the page was left before the site had answered the request, and that is too long ago to repeat it unasked.
 *
 * @typedef {'open' | 'done' | 'stopped' | 'failed' | 'unsent'} TurnState
 */

/** A question, and what came of it. */
export class Turn {
	/** The events of the answer. Pieces of text in a row are one event. @type {ChatEvent[]} */
	events = [];

	/** @type {TurnState} */
	state = 'open';

	/** Why the answer failed, or who stopped it. @type {{ message: string, code: string, status: number } | undefined} */
	error;

	/** Whether the answer is in a chat of another tab. */
	foreign = false;

	/**
	 * @param {Message['content']} content the question
	 * @param {string} [chatId] the chat's id before the question
	 */
	constructor(content, chatId) {
		this.content = content;
		this.chatId = chatId;
	}

	/** The text of the answer. */
	get text() {
		return this.events.map((event) => event.type === 'text-delta' ? event.textDelta : '').join('');
	}

	/** @param {ChatEvent} event */
	add(event) {
		const last = this.events.at(-1);
		// A copy, because the loop that gets the event may keep it.
		if (event.type !== 'text-delta' || last?.type !== event.type) this.events.push({ ...event });
		else last.textDelta += event.textDelta;
	}

	/**
	 * The turn as messages. A question that got no answer may be the very thing that was refused, so it is not sent again
	 * with the next one.
	 *
	 * @returns {Message[]}
	 */
	messages() {
		const question = { role: 'user', content: this.content };
		const text = this.state === 'open' ? '' : wellFormed(this.text);
		if (text) return [question, { role: 'assistant', content: text }];
		return this.state === 'done' ? [question] : [];
	}

	/**
	 * Makes a turn of what was kept.
	 *
	 * @param {any} kept
	 */
	static from(kept) {
		return Object.assign(new Turn(kept.content), kept);
	}
}
