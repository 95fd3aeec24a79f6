/**
 * Keeps the end of a growing content in view, until the visitor scrolls up, and again once they are back.
 *
 * @param {HTMLElement} scroller
 * @param {HTMLElement} content what grows in it
 * @param {(atEnd: boolean) => void} onMove is called when the end goes out of view, and when it is in view again
 */
export function keepEndInView(scroller, content, onMove) {
	let following = true;
	let lastTop = 0;

	// Where the end was when the visitor last saw it: the content may have grown since.
	let seenEnd = 0;

	const toEnd = () => {
		following = true;
		scroller.scrollTop = scroller.scrollHeight;
		// Its scroll event may come together with one of the visitor's.
		lastTop = scroller.scrollTop;
		onMove(true);
	};

	scroller.addEventListener('scroll', () => {
		const top = scroller.scrollTop;
		// Away from the end, only a way up shows that the visitor left it.
		following = top > seenEnd - 16 || (following && top >= lastTop);
		lastTop = top;
		onMove(following);
	}, { passive: true });

	const resizes = new ResizeObserver(() => {
		if (following) toEnd();
		seenEnd = scroller.scrollHeight - scroller.clientHeight;
	});
	resizes.observe(scroller);
	resizes.observe(content);
	return { toEnd };
}

/**
 * Keeps what gets the focus clear of the bars above and below, which stay where they are while the rest scrolls.
 *
 * @param {HTMLElement} scroller
 * @param {HTMLElement} top
 * @param {HTMLElement} bottom
 */
export function keepFocusClear(scroller, top, bottom) {
	/** @param {HTMLElement} bar */
	const height = (bar) => getComputedStyle(bar).position === 'sticky' ? `${bar.offsetHeight}px` : '0px';
	const resizes = new ResizeObserver(() => {
		scroller.style.scrollPaddingBlock = `${height(top)} ${height(bottom)}`;
	});
	resizes.observe(scroller);
	resizes.observe(top);
	resizes.observe(bottom);
}
