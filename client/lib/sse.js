import { ChatError } from './error.js';

/** The longest event, in characters. */
const longest = 16 * 1024 * 1024;

/**
 * Yields the data of each event of a stream, and the event's own id, as "Interpreting an event stream" of the HTML
 * standard defines them: a line ends with LF, CRLF or CR, a blank line ends an event, and an event without one at the end of
 * the stream is dropped.
 *
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 * @param {() => void} onBytes is called for each piece that arrives, comments included
 */
export async function* readEvents(reader, onBytes) {
	const decoder = new TextDecoder();
	/** @type {string[]} */
	let data = [];
	let id = '';
	let size = 0;
	let unfinished = '';
	let endedInCR = false;
	try {
		for (;;) {
			const { done, value } = await reader.read();
			if (done) return;
			onBytes();

			// A chunk may hold no more than the first bytes of a character.
			let text = decoder.decode(value, { stream: true });
			if (text === '') continue;

			// A CR at the end of a chunk has ended its line already; an LF after it belongs to it.
			const restOfCRLF = endedInCR && text.startsWith('\n');
			endedInCR = text.endsWith('\r');
			if (restOfCRLF) text = text.slice(1);

			size += text.length;
			const lines = text.split(/\r\n|\r|\n/);
			lines[0] = unfinished + lines[0];
			unfinished = lines.pop() ?? '';
			for (const line of lines) {
				if (line === '') {
					if (data.length > 0) yield { data: data.join('\n'), id };
					data = [];
					id = '';
					size = 0;
				}
				// A comment is a line whose field has no name.
				const [field] = line.split(':', 1);
				const value = line.slice(field.length + 1).replace(/^ /, '');
				if (field === 'data') data.push(value);
				if (field === 'id') id = value;
			}
			if (size > longest) throw new ChatError('the answer has an event without end', { status: 200, code: 'too_large:answer' });
		}
	} finally {
		hangUp(reader);
	}
}

/**
 * Closes the connection of a stream. A broken stream cannot be cancelled, and need not be.
 *
 * @param {ReadableStreamDefaultReader<Uint8Array>} reader
 */
export function hangUp(reader) {
	reader.cancel().catch(() => {});
}
