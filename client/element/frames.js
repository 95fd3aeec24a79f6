/** The longest time that a page which is not drawn waits for a frame, in milliseconds. */
const longestWait = 250;

/**
 * Calls back before the browser draws the next frame. In a hidden tab it draws none, and then a timer calls back.
 *
 * @param {() => void} callback
 */
export function beforeNextFrame(callback) {
	const call = () => {
		cancelAnimationFrame(frame);
		clearTimeout(timer);
		callback();
	};
	const frame = requestAnimationFrame(call);
	const timer = setTimeout(call, longestWait);
}

/** How long the page may be busy before it lets the browser draw and react, in milliseconds. */
const longestWork = 12;

/** Returns a function that resolves at once while the page has not been busy for long, and else with the next frame. */
export function pacer() {
	let since = performance.now();
	return async () => {
		if (performance.now() - since < longestWork) return;
		await new Promise((resolve) => beforeNextFrame(() => resolve(undefined)));
		since = performance.now();
	};
}
