/** Reads an answer with fetch-event-source and its defaults: it comes back by itself, with the POST and `Last-Event-ID`. */
import { lead } from './comeback.mjs';

// The library uses these globals of a browser.
globalThis.window = globalThis;
globalThis.document = Object.assign(new EventTarget(), { hidden: false });

const { fetchEventSource } = await import('@microsoft/fetch-event-source');

await lead(({ url, body, headers }, onData, onEnd) => {
	const options = {
		method: 'POST',
		headers: { 'Content-Type': 'application/json', ...headers },
		body,
		// The library reports a message at each blank line, even without data, such as after a comment.
		onmessage: ({ data }) => data && onData(data),
	};
	fetchEventSource(url, options).then(() => onEnd('over'), onEnd);
}, (hidden) => {
	document.hidden = hidden;
	document.dispatchEvent(new Event('visibilitychange'));
});
