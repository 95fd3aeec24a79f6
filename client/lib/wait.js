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
		const abort = () => end(() => reject(signal?.reason));
		const timer = isOffline() ? undefined : setTimeout(() => end(() => resolve(false)), seconds * 1000);
		const forget = [listen(globalThis, 'online', () => end(() => resolve(true))), listen(signal, 'abort', abort)];
		/** @param {() => void} settle */
		const end = (settle) => {
			clearTimeout(timer);
			forget.forEach((one) => one());
			settle();
		};
		if (signal?.aborted) abort();
	});
}

/** Reports whether the browser knows that it has no network. */
function isOffline() {
	return globalThis.navigator?.onLine === false;
}

/**
 * Returns a controller that is aborted together with a signal, and a function that ends this link. `AbortSignal.any` does
 * the same, but Safari has it only since 17.4.
 *
 * @param {AbortSignal} [signal]
 */
export function linkedTo(signal) {
	const controller = new AbortController();
	const abort = () => controller.abort(signal?.reason);
	if (signal?.aborted) abort();
	signal?.addEventListener('abort', abort);
	return { controller, unlink: () => signal?.removeEventListener('abort', abort) };
}

/**
 * Calls back when the page may have slept: when it becomes visible again, returns from the back/forward cache, or comes
 * back online. Ends when the returned function is called.
 *
 * @param {(online: boolean) => void} callback
 */
export function whenAwake(callback) {
	const document = globalThis.document;
	const forget = [
		listen(globalThis, 'online', () => callback(true)),
		listen(globalThis, 'pageshow', () => callback(false)),
		listen(document, 'visibilitychange', () => {
			if (document.visibilityState !== 'hidden') callback(false);
		}),
	];
	return () => forget.forEach((one) => one());
}

/**
 * @param {EventTarget | undefined} target which only browsers have
 * @param {string} type
 * @param {() => void} callback
 */
export function listen(target, type, callback) {
	target?.addEventListener?.(type, callback);
	return () => target?.removeEventListener?.(type, callback);
}
