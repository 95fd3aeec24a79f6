/** The name of each element that scrolls. @type {WeakMap<Element, string>} */
const labels = new WeakMap();

/** Elements whose content has changed since the last frame. @type {Set<HTMLElement>} */
const changed = new Set();

/** @type {ResizeObserver | undefined} */
let observer;

/**
 * Lets the keyboard reach an element while its content is larger than it is, and only then.
 *
 * @param {HTMLElement} element
 * @param {string} label
 */
export function focusWhileScrolling(element, label) {
	labels.set(element, label);
	if (!globalThis.ResizeObserver) return;
	observer ??= new ResizeObserver((entries) => {
		for (const { target } of entries) update(/** @type {HTMLElement} */ (target));
	});
	observer.observe(element);
}

/**
 * Has to be called when the content of such an element has changed.
 *
 * @param {HTMLElement} element
 */
export function contentChanged(element) {
	if (!globalThis.requestAnimationFrame) return;
	if (changed.size === 0) {
		// The layout is measured once a frame, however many pieces arrive in it.
		requestAnimationFrame(() => {
			const elements = [...changed];
			changed.clear();
			elements.forEach(update);
		});
	}
	changed.add(element);
}

/** @param {HTMLElement} element */
function update(element) {
	const scrolls = element.scrollWidth > element.clientWidth || element.scrollHeight > element.clientHeight;
	if (scrolls === element.hasAttribute('tabindex') || !scrolls && element.matches(':focus')) return;
	if (scrolls) {
		element.tabIndex = 0;
		element.setAttribute('role', 'group');
		element.setAttribute('aria-label', labels.get(element) ?? '');
	} else {
		for (const name of ['tabindex', 'role', 'aria-label']) element.removeAttribute(name);
	}
}
