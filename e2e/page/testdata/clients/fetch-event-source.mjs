/** Reads answers with fetch-event-source, which is for browsers. */
import { addEvent, checkHead, visit } from './visits.mjs';

// The library uses these globals of a browser.
globalThis.window = globalThis;
globalThis.document = { removeEventListener() {} };

const { fetchEventSource } = await import('@microsoft/fetch-event-source');

await visit(({ url, body }, view) => fetchEventSource(url, {
	method: 'POST',
	headers: { 'Content-Type': 'application/json' },
	body,
	openWhenHidden: true,
	onopen: (response) => checkHead(response, view),
	onmessage({ event, id, data, retry }) {
		if (retry !== undefined) view.retry = retry;
		// The library reports a message at each blank line, even without data, such as after a comment.
		if (data === '') view.comments++;
		else addEvent(view, { event, id, data });
	},
	onerror(err) {
		throw err; // otherwise the library would ask again
	},
}));
