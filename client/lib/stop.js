import { mayPass } from './error.js';
import { stopAnswer } from './answer.js';
import { pause } from './wait.js';

/** The pauses before the DELETE is sent, in seconds. */
const pauses = [0, 1, 3];

/**
 * Stops an answer, although its DELETE may overtake the POST that asks the question, or be lost. Nobody has to wait for
 * this: if nothing helps, the server stops by itself, because no visitor listens.
 *
 * @param {string} url
 * @param {string} id
 * @param {boolean} begun whether the server is known to have the answer
 * @param {import('./request.js').ConnectOptions | Promise<import('./request.js').ConnectOptions>} options
 */
export async function stopSurely(url, id, begun, options) {
	for (const wait of pauses) {
		try {
			// The first one at once: the page may be left in a moment.
			if (wait > 0) await pause(wait);
			if (await stopAnswer(url, id, await options) || begun) return;
		} catch (err) {
			if (!mayPass(err)) return;
		}
	}
}
