/** @typedef {import('./inlines.js').Inline} Inline */

/** Matches the end of a URL in a text: besides space, the punctuation of Chinese and Japanese, which has no space after it. */
const urlEnd = /[\x00-\x20\x7f<\u3000-\u3003\u3008-\u3011\u3014-\u301b\uff01\uff08\uff09\uff0c\uff1a\uff1b\uff1f\s]/;

/** The longest entity, with its ampersand and its semicolon, in characters. */
const longestEntity = 34;

const domain = /[-\w.\u00a1-\u1fff]{1,253}/y;
const addressDomain = /[-\w]+(?:\.[-\w]+)+/y;

/**
 * Finds a URL that stands in a text as it is.
 *
 * @param {string} text
 * @param {number} from
 * @param {number} to where it begins at the latest
 * @param {boolean} inBrackets whether a bracket ends it
 * @returns {{ href: string, start: number, end: number } | undefined}
 */
export function findBareUrl(text, from, to, inBrackets) {
	for (const { 0: prefix, index } of text.slice(from, to).matchAll(/https?:\/\/|www\./gi)) {
		const start = from + index;
		const isWeb = /^w/i.test(prefix);
		if (start > 0 && !(isWeb ? /[\s*_~([]/ : /[^A-Za-z0-9]/).test(text[start - 1])) continue;
		domain.lastIndex = start + (isWeb ? 0 : prefix.length);
		const host = domain.exec(text)?.[0] ?? '';
		if (!/^[^.]/.test(host) || host.split('.').slice(-2).some((label) => label.includes('_'))) continue;

		let end = domain.lastIndex;
		while (end < text.length && !urlEnd.test(text[end]) && !(inBrackets && text[end] === ']')) end++;
		end = start + withoutPunctuation(text.slice(start, end));
		if (end <= start + prefix.length) continue;
		return { href: (isWeb ? 'http://' : '') + text.slice(start, end), start, end };
	}
	return undefined;
}

/**
 * @param {string} url
 * @returns {number} its length without what belongs to the sentence around it
 */
function withoutPunctuation(url) {
	let surplus = 0;
	for (const c of url) surplus += c === ')' ? 1 : c === '(' ? -1 : 0;
	let { length } = url;
	for (;; length--) {
		const last = url[length - 1];
		if (last === ')') {
			if (surplus-- <= 0) return length;
		} else if (last === ';') {
			const entity = /&\w+;$/.exec(url.slice(Math.max(0, length - longestEntity), length));
			if (entity) length -= entity[0].length - 1;
		} else if (!last || !`?!.,:*_~'"`.includes(last)) {
			return length;
		}
	}
}

/**
 * Makes links of the mail addresses in texts.
 *
 * @param {Inline[]} nodes
 * @returns {Inline[]}
 */
export function withAddresses(nodes) {
	return nodes.flatMap((node) => {
		if (node.type === 'text') return splitAtAddresses(node);
		if (node.children && node.type !== 'link' && node.type !== 'image') node.children = withAddresses(node.children);
		return [node];
	});
}

/**
 * @param {Inline} node
 * @returns {Inline[]}
 */
function splitAtAddresses(node) {
	const { text = '' } = node;
	/** @type {Inline[]} */
	const parts = [];
	let done = 0;
	for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1)) {
		let start = at;
		while (start > done && /[-\w.+]/.test(text[start - 1])) start--;
		addressDomain.lastIndex = at + 1;
		if (start === at || !addressDomain.test(text) || /[-_]/.test(text[addressDomain.lastIndex - 1])) continue;
		const address = text.slice(start, addressDomain.lastIndex);
		if (start > done) parts.push({ type: 'text', text: text.slice(done, start) });
		parts.push({ type: 'link', bare: true, href: 'mailto:' + address, title: '', children: [{ type: 'text', text: address }] });
		done = addressDomain.lastIndex;
	}
	if (done < text.length || done === 0) parts.push({ type: 'text', text: text.slice(done) });
	parts[0].cut = node.cut;
	return parts;
}
