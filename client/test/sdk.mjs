import assert from 'node:assert/strict';
import * as ai7 from 'ai';
import * as ai6 from 'ai6';
import { IllumichatTransport } from '../ai-sdk.js';

/** The majors of the AI SDK that the transport is for. */
export const majors = [['ai 7', ai7], ['ai 6', ai6]];

/** A store as the tab's, which a reload of the page keeps. */
export function newStore() {
	const values = new Map();
	return {
		values,
		get: (key) => values.get(key) ?? null,
		set: (key, value) => values.set(key, value),
		remove: (key) => values.delete(key),
	};
}

let pages = 0;

/** A page, which a reload replaces by one that knows only what is in the store. */
export async function newPage(ai, options) {
	const { IllumichatTransport: Transport } = await import(`../ai-sdk.js?page=${++pages}`);
	const store = options.store ?? newStore();
	const transport = (more) => new Transport({ store, ...options, ...more });
	return {
		transport,
		chat: (init = {}) => newChat(ai, { id: 'one', transport: transport(), ...init }),
		reload: () => newPage(ai, { ...options, store }),
	};
}

/** The SDK's chat without a framework. */
export function newChat(ai, { messages = [], ...init }) {
	class Chat extends ai.AbstractChat {
		constructor() {
			super({
				...init,
				state: {
					status: 'ready',
					error: undefined,
					messages,
					snapshot: structuredClone,
					pushMessage(message) {
						this.messages = [...this.messages, structuredClone(message)];
					},
					popMessage() {
						this.messages = this.messages.slice(0, -1);
					},
					replaceMessage(index, message) {
						this.messages = this.messages.with(index, structuredClone(message));
					},
				},
			});
		}
	}
	return new Chat();
}

/** The texts of a chat's messages, such as `user: Hello`. */
export function shown({ messages }) {
	return messages.map(({ role, parts }) => `${role}: ${parts.map((part) => part.type === 'text' ? part.text : '').join('')}`);
}

/** A message as useChat has it. */
export function user(text, id = text) {
	return { id, role: 'user', parts: [{ type: 'text', text }] };
}

/** Asks without a chat around it. */
export function ask(transport, messages = [user('Hello')], more = {}) {
	const asked = transport.sendMessages({ trigger: 'submit-message', chatId: 'one', messageId: undefined, messages, abortSignal: undefined, ...more });
	asked.catch(() => {}); // a test may end before its answer
	return asked;
}

/** Reads chunks to the end. Each is valid in both majors. */
export async function readAll(stream) {
	const chunks = [];
	for await (const chunk of stream) {
		for (const [name, ai] of majors) {
			const { success, error } = await ai.asSchema(ai.uiMessageChunkSchema).validate(chunk);
			assert.ok(success, `${name} refuses ${JSON.stringify(chunk)}: ${error}`);
		}
		chunks.push(chunk);
	}
	return chunks;
}

export { IllumichatTransport };
