import { isStep } from '../lib/answer.js';
import { ChatError } from '../lib/error.js';

/** @typedef {import('ai').UIMessageChunk} UIMessageChunk */

/** The SDK's finish reasons, but `error`: an answer that ends with an error is one. */
const reasons = /** @type {const} */ (['stop', 'length', 'content-filter', 'tool-calls']);

/** The assistant's tools run upstream, and the page does not know them beforehand. */
const upstream = { dynamic: true, providerExecuted: true };

/** Writes the events of one answer as the chunks that the AI SDK reads. The same events give the same chunks. */
export class ChunkWriter {
	/** @type {UIMessageChunk[]} */
	chunks = [];

	/** The text of the answer so far. */
	text = '';

	#started = false;
	#inStep = false;

	/** The id of the open block of text, or nothing. */
	#block = '';

	/** How many ids were made. */
	#count = 0;

	/** The tool calls that have no result. @type {{ toolCallId: string, toolName: string }[]} */
	#calls = [];

	/** @type {unknown} */
	#finishReason;

	/** @param {string} id of the answer, and of the message */
	constructor(id) {
		this.id = id;
	}

	/** @param {any} event */
	add(event) {
		const { type, textDelta: delta } = event;
		if (type === 'text-delta') {
			if (!delta || typeof delta !== 'string') return;
			this.#begin();
			if (!this.#block) {
				this.#block = `text-${++this.#count}`;
				this.#write({ type: 'text-start', id: this.#block });
			}
			this.#write({ type, id: this.#block, delta });
			this.text += delta;
		} else if (type === 'tool-call') {
			this.#call(event);
		} else if (type === 'tool-result') {
			const call = this.#calls.find(({ toolCallId }) => toolCallId === event.toolCallId)
				?? this.#calls.find(({ toolName }) => toolName === event.toolName)
				?? this.#call(event); // The SDK refuses a result without a call.
			this.#calls = this.#calls.filter((other) => other !== call);
			this.#write({ type: 'tool-output-available', toolCallId: call.toolCallId, output: event.result ?? null, ...upstream });
		} else if (type === 'finish') {
			this.#finishReason = event.finishReason;
			if (isStep(event)) this.#endStep();
		} else if (typeof type === 'string' && type !== 'error') {
			this.#write({ type: `data-${type}`, data: event, transient: true });
		}
	}

	/**
	 * Ends an answer that is complete.
	 *
	 * @throws {ChatError} if it says nothing
	 */
	end() {
		if (!this.#started) throw new ChatError('the answer is empty', { status: 200, code: 'empty:answer' });
		this.breakOff();
		const raw = this.#finishReason;
		this.#write({
			type: 'finish',
			finishReason: reasons.find((reason) => reason === String(raw).replace('_', '-')) ?? 'other',
			messageMetadata: { finishReason: raw },
		});
	}

	/** Closes what is open. */
	breakOff() {
		const errorText = 'the tool gave no result';
		this.#endText();
		for (const { toolCallId } of this.#calls) this.#write({ type: 'tool-output-error', toolCallId, errorText, ...upstream });
		this.#endStep();
	}

	/** @param {UIMessageChunk} chunk */
	#write(chunk) {
		this.chunks.push(chunk);
	}

	#begin() {
		if (!this.#started) this.#write({ type: 'start', messageId: this.id });
		if (!this.#inStep) this.#write({ type: 'start-step' });
		this.#started = this.#inStep = true;
	}

	#endStep() {
		this.#endText();
		if (this.#inStep) this.#write({ type: 'finish-step' });
		this.#inStep = false;
	}

	#endText() {
		if (this.#block) this.#write({ type: 'text-end', id: this.#block });
		this.#block = '';
	}

	/**
	 * Writes the call of a tool.
	 *
	 * @param {any} event
	 */
	#call({ toolCallId, toolName, args }) {
		this.#begin();
		this.#endText();
		const call = { toolCallId: String(toolCallId || `${this.id}-${++this.#count}`), toolName: String(toolName) };
		this.#calls.push(call);
		this.#write({ type: 'tool-input-available', ...call, input: args ?? {}, ...upstream });
		return call;
	}
}
