/**
 * A failure, as the server or something between it and the page reports it.
 * @typedef {object} Failure
 * @property {number} [status] the HTTP status
 * @property {string} [code] what went wrong, as `<type>:<context>`
 * @property {Record<string, unknown>} [details] what is wrong with which field
 * @property {number} [retryAfter] seconds to wait before the next attempt
 * @property {unknown} [cause] the exception behind it
 */

/** The answer did not arrive, or did not reach its end. */
export class ChatError extends Error {
	/**
	 * @param {string} message what went wrong, in the server's words if it gave any
	 * @param {Failure} [failure]
	 */
	constructor(message, { status = 0, code = '', details, retryAfter, cause } = {}) {
		super(message, { cause });
		this.name = 'ChatError';
		/** The HTTP status: 200 for an answer that broke off, 0 if there was no response at all. */
		this.status = status;
		/**
		 * The kind of failure, as `<type>:<context>`, such as `rate_limit:chat`; empty if the server did not say. The context
		 * is `connection` for what happened between the page and the site, and `page` for what this page did itself.
		 */
		this.code = code;
		/** The fields of the request that are wrong, each with a text, if the server named them. */
		this.details = details;
		/** Seconds to wait before the next attempt, if the server said so. */
		this.retryAfter = retryAfter;
	}

	/** The first part of the code, such as `rate_limit`. */
	get type() {
		return this.code.split(':', 1)[0];
	}
}

/** The connection of an answer was lost. The answer itself may go on. */
export class LostConnection extends ChatError {}

/** The statuses that another attempt may get past. A 504 is not one of them: see `lasting`. */
const passingStatuses = [429, 500, 502, 503];

/** The codes that may end one answer before its first event, and not the next one. */
const passing = /^(?:(?:unreachable|broken|closed|shutting_down):|stalled:connection$)/;

/**
 * The codes that another attempt does not change: the token is refused, a firewall blocks this message, or this is no chat. After a
 * timeout, the question has waited long enough, also if a proxy replaced the status.
 */
const lasting = /^(?:unauthorized|blocked|not_chat|redirected|timeout):/;

/** The longest `Retry-After` that the client waits for by itself, in seconds. */
export const longestPause = 15;

/**
 * Reports whether an error may pass soon.
 *
 * @param {unknown} err
 * @returns {err is ChatError}
 */
export function mayPass(err) {
	if (!(err instanceof ChatError)) return false;
	const { status, code, retryAfter = 0 } = err;
	if (retryAfter > longestPause || lasting.test(code)) return false;
	return passingStatuses.includes(status) || passing.test(code);
}

/**
 * Makes an error of what the server said, in an error body or in an event.
 *
 * @param {any} said `{ error, code, details }`, or what other servers of event streams send instead
 * @param {string} otherwise the message if the server gave none
 * @param {Failure} failure
 */
export function refusal(said, otherwise, failure) {
	const text = said?.error?.message ?? said?.error ?? said?.errorText ?? said?.message;
	const message = text && typeof text === 'string' ? text : otherwise;
	const code = typeof said?.code === 'string' ? said.code : failure.code;
	const details = isObject(said?.details) ? said.details : undefined;
	return new ChatError(message, { ...failure, code, details });
}

/**
 * @param {unknown} value
 * @returns {value is Record<string, any>}
 */
export function isObject(value) {
	return typeof value === 'object' && value !== null && !Array.isArray(value);
}
