/**
 * Keeps the end of a growing content in view, until the visitor scrolls up, and again once they are back.
 *
 * @param {HTMLElement} scroller
 * @param {HTMLElement} content what grows in it
 * @returns {() => void} goes back to the end
 */
export function keepEndInView(scroller, content) {
	let following = true;
	let lastTop = 0;

	const toEnd = () => {
		following = true;
		scroller.scrollTop = scroller.scrollHeight;
	};

	scroller.addEventListener('scroll', () => {
		const below = scroller.scrollHeight - scroller.clientHeight - scroller.scrollTop;
		// The content may have grown since this scroll, so only a way up shows that the visitor left the end.
		following = below < 16 || (following && scroller.scrollTop >= lastTop);
		lastTop = scroller.scrollTop;
	});

	const resizes = new ResizeObserver(() => {
		if (following) toEnd();
	});
	resizes.observe(scroller);
	resizes.observe(content);
	return toEnd;
}
