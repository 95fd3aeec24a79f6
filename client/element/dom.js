/**
 * Makes an element. Its children are elements, or text that is never read as markup: an answer may quote any page of the web.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} name
 * @param {Record<string, string | boolean | number | undefined>} [attributes] `true` for one without a value; `false` and
 *	`undefined` for none
 * @param {(Node | string)[]} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function create(name, attributes = {}, ...children) {
	const element = document.createElement(name);
	for (const [key, value] of Object.entries(attributes)) {
		if (value === true) element.setAttribute(key, '');
		else if (value !== false && value !== undefined) element.setAttribute(key, String(value));
	}
	element.append(...children);
	return element;
}

/**
 * Makes a button.
 *
 * @param {string} className
 * @param {string} text
 * @param {() => void} onClick
 * @param {Node} [picture] is shown instead of the text, which then names the button
 */
export function button(className, text, onClick, picture) {
	const element = create('button', { type: 'button', class: className });
	label(element, text, picture);
	element.addEventListener('click', onClick);
	return element;
}

/**
 * Sets the text of a button.
 *
 * @param {HTMLElement} element
 * @param {string} text
 * @param {Node} [picture] is shown instead of the text, which then names the button
 */
export function label(element, text, picture) {
	if (!picture) {
		element.textContent = text;
		return;
	}
	element.replaceChildren(picture);
	element.setAttribute('aria-label', text);
	element.title = text;
}

const svg = 'http://www.w3.org/2000/svg';

/** The lines of the pictures, on a square of 24 units. */
const lines = {
	chat: 'M21 12a8 8 0 0 1-11.6 7.1L4 20.5l1.4-4.6A8 8 0 1 1 21 12Z',
	close: 'm6 6 12 12M18 6 6 18',
	copy: 'M9 9h11v11H9zM5 15H4V4h11v1',
	done: 'm5 12.5 4.5 4.5L19 7',
	down: 'M12 5v14m-6-6 6 6 6-6',
	edit: 'M4 20l1-4L16.5 4.5l3 3L8 19Z',
	helpful: 'M7 11v9H4v-9Zm0 0 4-7c1.3 0 2.2 1 2 2.3L12.5 10H19c1 0 1.7 1 1.4 2l-2 7c-.2.6-.8 1-1.4 1H7',
	notHelpful: 'M7 13V4H4v9Zm0 0 4 7c1.3 0 2.2-1 2-2.3L12.5 14H19c1 0 1.7-1 1.4-2l-2-7c-.2-.6-.8-1-1.4-1H7',
	retry: 'M19 12a7 7 0 1 1-2.1-5M19 3v5h-5',
};

/**
 * Draws a picture for a button. It says nothing to a screen reader.
 *
 * @param {keyof typeof lines} name
 */
export function picture(name) {
	const element = document.createElementNS(svg, 'svg');
	const path = document.createElementNS(svg, 'path');
	path.setAttribute('d', lines[name]);
	element.append(path);
	element.setAttribute('viewBox', '0 0 24 24');
	element.setAttribute('aria-hidden', 'true');
	return element;
}
