import { newId } from './answer.js';
import { listen } from './wait.js';

/** The id of each page of this script. @type {WeakMap<Document, string>} */
const pages = new WeakMap();

/**
 * Finds out that another tab has the same conversation, as after "Duplicate tab", which copies the tab's storage.
 *
 * @param {string} conversation
 * @param {() => void} onTwin is called in the newer of both tabs
 * @returns {() => void} ends the watch
 */
export function watchForTwin(conversation, onTwin) {
	if (!globalThis.document || !globalThis.BroadcastChannel) return () => {};
	// A component that is shown again makes another chat in the same page, which is no twin.
	const self = pages.get(document) ?? newId();
	pages.set(document, self);
	/** @type {BroadcastChannel | undefined} */
	let channel;
	const close = () => {
		channel?.close();
		channel = undefined;
	};
	const open = () => {
		if (channel) return;
		channel = new BroadcastChannel(`illumichat ${conversation}`);
		channel.onmessage = ({ data: { from, to } }) => {
			if (to === self) onTwin();
			else if (!to && from !== self) channel?.postMessage({ from: self, to: from });
		};
		channel.postMessage({ from: self });
	};
	open();
	// A browser does not keep a page for its Back button while the page has a channel.
	const watch = new AbortController();
	listen(globalThis, 'pagehide', close, watch.signal);
	listen(globalThis, 'pageshow', open, watch.signal);
	return () => {
		close();
		watch.abort();
	};
}
