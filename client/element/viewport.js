/** From how many pixels on the part that is hidden is a keyboard, and not a bar of the browser. */
const keyboard = 120;

const property = '--illumichat-viewport-height';

/**
 * Keeps an element as high as the part of the page that a keyboard leaves free. Browsers with `interactive-widget` do that by
 * themselves; Safari only moves the page.
 *
 * @param {HTMLElement} element gets `--illumichat-viewport-height`
 * @param {boolean} isPage whether the element is all that there is on the page, which then need not scroll
 * @param {AbortSignal} signal
 */
export function fitKeyboard(element, isPage, signal) {
	const viewport = globalThis.visualViewport;
	if (!viewport) return;
	const fit = () => {
		// A page that is zoomed in has a small viewport, too.
		const covered = viewport.scale === 1 && innerHeight - viewport.height > keyboard;
		if (covered) element.style.setProperty(property, `${viewport.height}px`);
		else element.style.removeProperty(property);
		if (covered && isPage) scrollTo(0, 0);
	};
	viewport.addEventListener('resize', fit, { signal });
	signal.addEventListener('abort', () => element.style.removeProperty(property));
}
