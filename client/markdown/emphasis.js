/** @typedef {import('./inlines.js').Inline} Inline */

/**
 * Asterisks, underscores or tildes in a row.
 *
 * @typedef {object} Run
 * @property {'run'} type
 * @property {string} char
 * @property {number} length
 * @property {number} count how many are left as text
 * @property {number} pos
 * @property {number} at its index among the tokens
 * @property {boolean} canOpen
 * @property {boolean} canClose
 * @property {boolean} inWord whether a letter or digit is before it
 * @property {Emphasis[]} opens the innermost one first
 * @property {Emphasis[]} closes the innermost one first
 */

/** @typedef {{ type: 'em' | 'strong' | 'del', mark: string, isText?: boolean }} Emphasis */

/** How deep emphasis may be nested. What is deeper is text. */
const deepest = 32;

/**
 * Finds the emphasis in tokens.
 *
 * @param {(Inline | Run)[]} tokens
 * @returns {Run[]} the runs that may still open one
 */
export function pair(tokens) {
	/** @type {Run[]} */
	const openers = [];
	/** Up to which token no run opens what a run of this kind closes. @type {Record<string, number>} */
	const searched = {};
	for (const [at, run] of tokens.entries()) {
		if (run.type !== 'run') continue;
		run.at = at;
		const kind = `${run.char}${run.canOpen}${run.length % 3}`;
		while (run.canClose && run.count > 0) {
			const from = searched[kind] ?? -1;
			const opener = openers.findLast((opener) => opener.at <= from || fits(opener, run));
			if (!opener || opener.at <= from) {
				searched[kind] = at - 1;
				break;
			}
			// Marks that are open between the two cannot be closed any more.
			while (openers[openers.length - 1] !== opener) openers.pop();
			const emphasis = take(opener, Math.min(opener.count, run.count));
			opener.opens.push(emphasis);
			run.closes.push(emphasis);
			run.count -= emphasis.mark.length;
			if (opener.count === 0) openers.pop();
		}
		if (run.canOpen && run.count > 0) openers.push(run);
	}
	return openers;
}

/**
 * @param {Run} opener
 * @param {Run} closer
 */
function fits(opener, closer) {
	if (opener.char !== closer.char) return false;
	const isEither = opener.canClose || closer.canOpen;
	return !isEither || (opener.length + closer.length) % 3 !== 0 || opener.length % 3 === 0 && closer.length % 3 === 0;
}

/**
 * Takes characters of a run for emphasis.
 *
 * @param {Run} run
 * @param {number} most
 * @returns {Emphasis}
 */
function take(run, most) {
	const mark = run.char.repeat(Math.min(most, 2));
	run.count -= mark.length;
	if (run.char === '~') return { type: 'del', mark };
	return { type: mark.length === 2 ? 'strong' : 'em', mark };
}

/**
 * Shows emphasis whose end is to come. In a word, the mark is more likely to be one of arithmetic.
 *
 * @param {Run} run
 */
export function preview(run) {
	while (!run.inWord && run.count > 0) run.opens.push(take(run, run.count));
}

/**
 * Makes a tree of tokens.
 *
 * @param {(Inline | Run)[]} tokens
 */
export function build(tokens) {
	/** @type {Inline[][]} */
	const stack = [[]];

	/** @param {Inline} node */
	function add(node) {
		const siblings = stack[stack.length - 1];
		const last = siblings[siblings.length - 1];
		if (node.type === 'text' && node.cut === undefined) {
			if (last?.type === 'text') last.text += node.text ?? '';
			else if (node.text) siblings.push(node);
			return;
		}
		siblings.push(node);
	}

	/** @param {string} text */
	const addText = (text) => add({ type: 'text', text });

	for (const token of tokens) {
		if (token.type !== 'run') {
			add(token);
			continue;
		}
		for (const { isText, mark } of token.closes) {
			if (isText) addText(mark);
			else stack.pop();
		}
		addText(token.char.repeat(token.count));
		for (const emphasis of token.opens.reverse()) {
			emphasis.isText = stack.length > deepest;
			if (emphasis.isText) {
				addText(emphasis.mark);
			} else {
				/** @type {Inline[]} */
				const children = [];
				add({ type: emphasis.type, children });
				stack.push(children);
			}
		}
	}
	return stack[0];
}
