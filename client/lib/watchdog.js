import { whenAwake } from './wait.js';

/** How often a watchdog looks within one heartbeat. */
const looksPerHeartbeat = 3;

/** After how many heartbeats without a byte a connection is dead. */
const longestSilence = 3;

/** How many milliseconds a connection has to show a sign of life after the page has slept. */
const patienceAfterSleep = 2000;

/** Finds out that a connection is dead although the browser reports nothing. */
export class Watchdog {
	#silent = 0;
	#onDead;
	#looks;
	#forget;

	/** @type {ReturnType<typeof setTimeout> | undefined} */
	#probe;

	/**
	 * @param {number} heartbeat after how many seconds at most the server shows that it lives; 0 if it does not
	 * @param {boolean} mayReconnect whether another connection can take over, so that a check costs nothing
	 * @param {() => void} onDead
	 */
	constructor(heartbeat, mayReconnect, onDead) {
		this.#onDead = onDead;
		// Counting looks instead of reading a clock: a page that was frozen counts one look for all that time.
		if (heartbeat > 0) this.#looks = setInterval(() => this.#look(), heartbeat * 1000 / looksPerHeartbeat);
		this.#forget = mayReconnect ? whenAwake((online) => this.#check(online)) : () => {};
	}

	/** Notes that something has arrived. */
	heard() {
		this.#silent = 0;
		clearTimeout(this.#probe);
		this.#probe = undefined;
	}

	#look() {
		this.#silent++;
		if (this.#silent >= longestSilence * looksPerHeartbeat) this.#onDead();
	}

	/** @param {boolean} online whether the browser comes from another network, so that the connection cannot have survived */
	#check(online) {
		if (online) this.#onDead();
		else this.#probe ??= setTimeout(this.#onDead, patienceAfterSleep);
	}

	stop() {
		clearInterval(this.#looks);
		clearTimeout(this.#probe);
		this.#forget();
	}
}
