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
 * @param {() => void} onDead
 */
export function watch(heartbeat, mayReconnect, onDead) {
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
		else if (globalThis.document?.visibilityState !== 'hidden') probe ??= setTimeout(onDead, patienceAfterSleep);
	};
	const forget = mayReconnect ? [
		listen(globalThis, ['online', 'pageshow'], check),
		listen(globalThis.document, ['visibilitychange'], check),
	] : [];

	return {
		/** Notes that something has arrived. */
		heard() {
			silent = 0;
			clearTimeout(probe);
			probe = undefined;
		},

		stop() {
			clearInterval(looks);
			clearTimeout(probe);
			forget.forEach((one) => one());
		},
	};
}
