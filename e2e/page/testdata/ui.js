/**
 * Finds the parts of the chat page, for the tests. They are in the shadow root of the page's `<illumichat-chat>`, or in the
 * document if there is none. A test runs this script in each page before the page's own scripts.
 */
globalThis.ui = Object.assign((selector) => globalThis.ui.root().querySelector(selector), {
	/** Returns where the parts are. */
	root: () => document.querySelector('illumichat-chat')?.shadowRoot ?? document,

	all: (selector) => Array.from(globalThis.ui.root().querySelectorAll(selector)),

	/** Returns the element that has the focus, in a shadow root too. */
	active() {
		let element = document.activeElement;
		while (element?.shadowRoot?.activeElement) element = element.shadowRoot.activeElement;
		return element;
	},

	/** Returns the element at a point, in a shadow root too. */
	at(x, y) {
		let element = document.elementFromPoint(x, y);
		while (element?.shadowRoot) {
			const inner = element.shadowRoot.elementFromPoint(x, y);
			if (!inner || inner === element) break;
			element = inner;
		}
		return element;
	},

	/** Scrolls an element into view, and reports whether a click on its center hits it. */
	inReach(selector) {
		const element = globalThis.ui(selector);
		element?.scrollIntoView({ block: 'nearest', behavior: 'instant' });
		const { x, y, width, height } = element?.getBoundingClientRect() ?? {};
		return Boolean(width) && element.contains(globalThis.ui.at(x + width / 2, y + height / 2));
	},

	/** Returns the text that the page shows. */
	shown: () => Array.from((globalThis.ui.root().body ?? globalThis.ui.root()).children).filter((element) => element.checkVisibility())
		.map((element) => element.innerText).join('\n'),

	/** Returns each element of the page's body, those in shadow roots included. */
	everything: (root = document.body) => Array.from(root.querySelectorAll('*'))
		.flatMap((element) => element.shadowRoot ? [element, ...globalThis.ui.everything(element.shadowRoot)] : [element]),

	/** Returns the element around another one, which may be the host of its shadow root. */
	around: (element) => element.parentElement ?? element.getRootNode().host,
});
