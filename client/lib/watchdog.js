import { listen } from './wait.js';

/** How often a watchdog looks within one heartbeat. */
const looksPerHeartbeat = 3;

/** After how many heartbeats without a byte a connection is dead. */
const longestSilence = 3;

/** How many milliseconds a connection has to show a sign of life after the page has slept. */
const patienceAfterSleep = 2000;

/**
 * Finds out that a connection is dead although the browser reports nothing.
 *
 * @param {number} heartbeat after how many seconds at most the server shows that it lives; 0 if it does not
 * @param {boolean} mayReconnect whether another connection can take over, so that a check costs nothing
 * @param {AbortSignal} signal ends the watch
 * @param {() => void} onDead
 * @returns {(since?: number) => void} notes that something has arrived; `-Infinity` says that nothing will be read until
 *	the next call
 */
export function watch(heartbeat, mayReconnect, signal, onDead) {
	let silent = 0;
	/** @type {ReturnType<typeof setTimeout> | undefined} */
	let probe;

	// Counting looks instead of reading a clock: a page that was frozen counts one look for all that time.
	const looks = heartbeat > 0 ? setInterval(() => {
		silent++;
		if (silent >= longestSilence * looksPerHeartbeat) onDead();
	}, heartbeat * 1000 / looksPerHeartbeat) : undefined;

	/** @param {Event} event */
	const check = ({ type }) => {
		// From another network, the connection cannot have survived.
		if (type === 'online') onDead();
		else if (silent >= 0 && globalThis.document?.visibilityState !== 'hidden') probe ??= setTimeout(onDead, patienceAfterSleep);
	};
	if (mayReconnect) {
		listen(globalThis, 'online', check, signal);
		listen(globalThis, 'pageshow', check, signal);
		listen(globalThis.document, 'visibilitychange', check, signal);
	}

	const heard = (since = 0) => {
		silent = since;
		clearTimeout(probe);
		probe = undefined;
	};
	signal.addEventListener('abort', () => {
		clearInterval(looks);
		heard(-Infinity);
	});
	return heard;
}
