/**
 * The rest of a limit.
 * @typedef {object} Left
 * @property {number} requests how many more the site takes
 * @property {number} more seconds until there are more
 */

/** A limit is nearly used up if this part of it is left, or these requests. */
const part = 0.1;
const fewRequests = 2;

/**
 * Reads from the response headers whether a limit of the site is nearly used up: `RateLimit` and `RateLimit-Policy` of
 * draft-ietf-httpapi-ratelimit-headers-10. Of several limits, the one with the least left counts.
 *
 * @param {Headers} headers
 * @returns {Left | undefined}
 */
export function nearLimit(headers) {
	const quotas = new Map(items(headers.get('RateLimit-Policy')).map(({ name, q }) => [name, q]));
	const near = items(headers.get('RateLimit')).filter(({ name, r }) => r <= Math.max(fewRequests, part * (quotas.get(name) ?? 0)) && r < (quotas.get(name) ?? Infinity));
	const { r, t } = near.sort((a, b) => a.r - b.r)[0] ?? {};
	return r === undefined ? undefined : { requests: r, more: t ?? 0 };
}

/**
 * Reads a list of items with numbers as parameters (RFC 9651, section 3.1).
 *
 * @param {string | null} field
 * @returns {({ name: string } & Record<string, any>)[]}
 */
function items(field) {
	return Array.from((field ?? '').matchAll(/"([^"]*)"((?:;\w+=\d+)*)/g), ([, name, parameters]) => {
		const numbers = Array.from(parameters.matchAll(/;(\w+)=(\d+)/g), ([, key, value]) => [key, Number(value)]);
		return { name, ...Object.fromEntries(numbers) };
	});
}
