/** @typedef {import('./inlines.js').Inline} Inline */
/** @typedef {import('./views.js').Context} Context */
/** @typedef {{ tag?: 'a' | 'br' | 'code' | 'del' | 'em' | 'strong', text?: string, href?: string, title?: string, children?: Shown[] }} Shown */

/**
 * Makes an element's nodes show inlines, and keeps those that do already.
 *
 * @param {Element} parent
 * @param {Node | null} last the node behind which they are
 * @param {Inline[]} inlines
 * @param {number} cut
 * @param {Context} context
 * @returns {Node | null} the last node before the cut
 */
export function patchInlines(parent, last, inlines, cut, context) {
	let beforeCut = last;
	for (const inline of inlines) {
		if (cut > 0 && inline.cut === cut) beforeCut = last;
		for (const shown of asShown(inline, context, false)) last = patchNode(parent, last, shown);
	}
	for (let rest; (rest = nodeAfter(parent, last));) rest.remove();
	return beforeCut;
}

/**
 * Returns the nodes that show an inline: an image is a link, and a link that leads nowhere is its text.
 *
 * @param {Inline} inline
 * @param {Context} context
 * @param {boolean} inLink
 * @returns {Shown[]}
 */
function asShown({ type, text = '', children = [], href = '', title = '' }, context, inLink) {
	switch (type) {
	case 'text':
		return [{ text }];
	case 'break':
		return [{ tag: 'br' }];
	case 'code':
		return [{ tag: type, children: [{ text }] }];
	case 'link':
	case 'image': {
		const safe = inLink ? undefined : safeUrl(href);
		const content = type === 'image'
			? [{ text: children.map(plainText).join('') || context.labels.image }]
			: children.flatMap((child) => asShown(child, context, inLink || safe !== undefined));
		if (!safe) return content;
		return [{ tag: 'a', href: safe, title, children: content.length > 0 ? content : [{ text: href }] }];
	}
	}
	return [{ tag: type, children: children.flatMap((child) => asShown(child, context, inLink)) }];
}

/**
 * Returns where a link leads, if it is to the web or to somebody's mail. What comes from an assistant has no base, so that
 * a relative link leads nowhere.
 *
 * @param {string} href
 */
export function safeUrl(href) {
	if (!URL.canParse(href)) return undefined;
	const url = new URL(href);
	return ['http:', 'https:', 'mailto:'].includes(url.protocol) ? url.href : undefined;
}

/**
 * @param {Inline} inline
 * @returns {string}
 */
function plainText({ text, children = [] }) {
	return text ?? children.map(plainText).join('');
}

/**
 * @param {Node} parent
 * @param {Node | null} last
 */
function nodeAfter(parent, last) {
	return /** @type {ChildNode | null} */ (last ? last.nextSibling : parent.firstChild);
}

/**
 * @param {Node} parent
 * @param {Node | null} last the node before
 * @param {Shown} shown
 * @returns {Node} the node that shows it
 */
function patchNode(parent, last, shown) {
	const there = nodeAfter(parent, last);
	const node = canShow(there, shown) ? there : makeNode(parent, shown);
	if (node !== there) {
		if (there) there.replaceWith(node);
		else parent.appendChild(node);
	}
	if (node.nodeType === 3) {
		setText(/** @type {Text} */ (node), shown.text ?? '');
		return node;
	}
	if (shown.tag === 'a') setLink(/** @type {HTMLAnchorElement} */ (node), shown);
	let inner = null;
	for (const child of shown.children ?? []) inner = patchNode(node, inner, child);
	for (let rest; (rest = nodeAfter(node, inner));) rest.remove();
	return node;
}

/**
 * @param {Node | null} node
 * @param {Shown} shown
 * @returns {node is ChildNode}
 */
function canShow(node, { tag }) {
	return node !== null && (tag ? node.nodeName.toLowerCase() === tag : node.nodeType === 3);
}

/**
 * @param {Node} parent
 * @param {Shown} shown
 */
function makeNode(parent, { tag }) {
	const document = /** @type {Document} */ (parent.ownerDocument);
	return tag ? document.createElement(tag) : document.createTextNode('');
}

/**
 * Changes what differs at the end of a text, so that a selection and a translation of the rest stay.
 *
 * @param {Text} node
 * @param {string} text
 */
function setText(node, text) {
	const { data } = node;
	if (text === data) return;
	let same = 0;
	while (same < data.length && data[same] === text[same]) same++;
	if (same === data.length) node.appendData(text.slice(same));
	else node.replaceData(same, data.length - same, text.slice(same));
}

/**
 * @param {HTMLAnchorElement} link
 * @param {Shown} shown
 */
function setLink(link, { href = '', title = '' }) {
	if (link.getAttribute('href') !== href) link.setAttribute('href', href);
	if (title) link.title = title;
	else link.removeAttribute('title');
	leadOutside(link);
}

/**
 * Makes a link open in a tab of its own, which learns nothing of the page. Search engines do not take it for a recommendation.
 *
 * @param {HTMLAnchorElement} link
 */
export function leadOutside(link) {
	link.rel = 'noopener noreferrer nofollow ugc';
	link.target = '_blank';
}
