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

	// Where the end was when the visitor last saw it: the content may have grown since.
	let seenEnd = 0;

	const toEnd = () => {
		following = true;
		scroller.scrollTop = scroller.scrollHeight;
		// Its scroll event may come together with one of the visitor's.
		lastTop = scroller.scrollTop;
	};

	scroller.addEventListener('scroll', () => {
		const top = scroller.scrollTop;
		// Away from the end, only a way up shows that the visitor left it.
		following = top > seenEnd - 16 || (following && top >= lastTop);
		lastTop = top;
	});

	const resizes = new ResizeObserver(() => {
		if (following) toEnd();
		seenEnd = scroller.scrollHeight - scroller.clientHeight;
	});
	resizes.observe(scroller);
	resizes.observe(content);
	return toEnd;
}
