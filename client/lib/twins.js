import { newId } from './answer.js';
import { listen } from './wait.js';

/**
 * Finds out that another tab has the same conversation, as after "Duplicate tab", which copies the tab's storage.
 *
 * @param {string} conversation
 * @param {() => void} onTwin is called in the newer of both tabs
 * @returns {() => void} ends the watch
 */
export function watchForTwin(conversation, onTwin) {
	if (!globalThis.document || !globalThis.BroadcastChannel) return () => {};
	const self = newId();
	/** @type {BroadcastChannel | undefined} */
	let channel;
	const close = () => {
		channel?.close();
		channel = undefined;
	};
	const open = () => {
		channel ??= new BroadcastChannel(`illumichat ${conversation}`);
		channel.onmessage = ({ data: { from, to } }) => {
			if (to === self) onTwin();
			else if (!to) channel?.postMessage({ from: self, to: from });
		};
	};
	open();
	channel?.postMessage({ from: self });
	// A browser does not keep a page for its Back button while the page has a channel.
	const forget = [listen(globalThis, ['pagehide'], close), listen(globalThis, ['pageshow'], open)];
	return () => {
		close();
		forget.forEach((one) => one());
	};
}
