/** The first pause before another attempt, in seconds. It doubles with each further one. */
const firstPause = 1;

/**
 * Returns how many seconds to wait before the next attempt. The pauses vary, so that visitors who were rejected together
 * do not come back together.
 *
 * @param {import('./error.js').ChatError} err
 * @param {number} failed how many attempts have failed
 * @param {number} longest
 */
export function pauseAfter({ retryAfter }, failed, longest) {
	const backoff = Math.min(firstPause * 2 ** (failed - 1), longest) * (0.5 + Math.random() / 2);
	return retryAfter === undefined ? backoff : retryAfter + backoff / 2;
}

/**
 * Waits before another attempt. The wait ends early if the browser comes back online, and lasts as long as it is offline.
 *
 * @param {number} seconds
 * @param {AbortSignal} [signal]
 * @returns {Promise<boolean>} whether the browser was offline, so that the failed attempt says nothing about the server
 */
export function pause(seconds, signal) {
	return new Promise((resolve, reject) => {
		const wait = new AbortController();
		/** @param {{ type?: string }} event */
		const end = ({ type }) => {
			clearTimeout(timer);
			wait.abort();
			if (signal?.aborted) reject(signal.reason);
			else resolve(type === 'online');
		};
		const timer = setTimeout(() => {
			if (!isOffline()) end({});
		}, seconds * 1000);
		listen(globalThis, 'online', end, wait.signal);
		listen(signal, 'abort', end, wait.signal);
		if (signal?.aborted) end({});
	});
}

/** Reports whether the browser knows that it has no network. */
export function isOffline() {
	return globalThis.navigator?.onLine === false;
}

/**
 * Returns a controller that is aborted together with a signal, until it is aborted by itself. `AbortSignal.any` does the
 * same, but Safari has it only since 17.4.
 *
 * @param {AbortSignal} [signal]
 */
export function linkedTo(signal) {
	const controller = new AbortController();
	const abort = () => controller.abort(signal?.reason);
	if (signal?.aborted) abort();
	listen(signal, 'abort', abort, controller.signal);
	return controller;
}

/**
 * Calls back for events of a type, until the signal is aborted.
 *
 * @param {EventTarget | undefined} target which only browsers have
 * @param {string} type
 * @param {(event: Event) => void} callback
 * @param {AbortSignal} signal
 */
export function listen(target, type, callback, signal) {
	target?.addEventListener?.(type, callback, { signal });
}
