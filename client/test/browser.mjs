/** A clock and a browser for tests. */
import { settle } from './scripted.mjs';

/** The properties that each test has replaced, as names by their object. */
const replaced = new WeakMap();

/** Replaces a property, by default of the global object, until the test ends. A test may replace it again. */
export function replace(t, name, value, object = globalThis) {
	const names = replaced.get(t) ?? replaced.set(t, new Map()).get(t);
	if (!names.get(object)?.has(name)) {
		names.set(object, (names.get(object) ?? new Set()).add(name));
		const before = Object.getOwnPropertyDescriptor(object, name);
		t.after(() => {
			if (before) Object.defineProperty(object, name, before);
			else delete object[name];
		});
	}
	Object.defineProperty(object, name, { value, configurable: true, writable: true });
}

/**
 * A clock whose time passes when the test says so. Unlike the mocked timers of Node, it tells which timers run, so that a
 * test can see what is left over.
 */
export class Clock {
	/** The timers that run. */
	timers = new Set();

	/** In milliseconds. */
	now = 0;

	constructor(t) {
		const start = (callback, wait, every, args) => {
			const timer = { call: () => callback(...args), due: this.now + Number(wait), every };
			this.timers.add(timer);
			return timer;
		};
		const end = (timer) => { this.timers.delete(timer); };
		replace(t, 'setTimeout', (callback, wait = 0, ...args) => start(callback, wait, undefined, args));
		replace(t, 'setInterval', (callback, wait = 0, ...args) => start(callback, wait, Number(wait), args));
		replace(t, 'clearTimeout', end);
		replace(t, 'clearInterval', end);
		const started = Date.now();
		replace(t, 'now', () => started + this.now, Date);
	}

	/** Lets time pass, and everything happen that follows from it. */
	async pass(seconds) {
		await settle();
		const until = this.now + seconds * 1000;
		for (;;) {
			const [next] = [...this.timers].filter(({ due }) => due <= until).sort((a, b) => a.due - b.due);
			if (!next) break;
			this.now = Math.max(this.now, next.due);
			await this.#fire(next);
		}
		this.now = until;
	}

	/** Lets time pass in which the browser runs no script, as when the computer sleeps. Each timer that is due fires once. */
	async freeze(seconds) {
		await settle();
		this.now += seconds * 1000;
		for (const timer of [...this.timers]) {
			if (timer.due <= this.now && this.timers.has(timer)) await this.#fire(timer);
		}
	}

	async #fire(timer) {
		if (timer.every === undefined) this.timers.delete(timer);
		else timer.due = this.now + timer.every;
		timer.call();
		await settle();
	}
}

/** A channel between the tabs of the browser. The real one keeps Node from ending. */
export class Channel {
	static #open = new Set();

	/** The names of the channels that are open. */
	static get names() {
		return [...Channel.#open].map(({ name }) => name);
	}

	onmessage = null;

	constructor(name) {
		this.name = name;
		Channel.#open.add(this);
	}

	postMessage(message) {
		if (!Channel.#open.has(this)) throw new DOMException('the channel is closed', 'InvalidStateError');
		const data = structuredClone(message);
		for (const other of Channel.#open) {
			if (other !== this && other.name === this.name) queueMicrotask(() => other.onmessage?.({ data }));
		}
	}

	close() {
		Channel.#open.delete(this);
	}
}

/**
 * A tab of the browser: a window with a document and a navigator, as far as the client looks at them. Another one becomes the
 * tab in which the test's next steps run.
 */
export class Browser {
	/** How many listeners there are. */
	listeners = 0;

	#window = this.#target();
	#document = Object.assign(this.#target(), { visibilityState: 'visible', baseURI: 'http://chat.test/page/' });
	#navigator = { onLine: true };

	constructor(t) {
		for (const name of ['addEventListener', 'removeEventListener', 'dispatchEvent']) {
			replace(t, name, (...args) => this.#window[name](...args));
		}
		replace(t, 'document', this.#document);
		replace(t, 'navigator', this.#navigator);
		replace(t, 'BroadcastChannel', Channel);
	}

	#target() {
		const target = new EventTarget();
		const { addEventListener, removeEventListener } = target;
		target.addEventListener = (...args) => {
			this.listeners++;
			addEventListener.apply(target, args);
		};
		target.removeEventListener = (...args) => {
			this.listeners--;
			removeEventListener.apply(target, args);
		};
		return target;
	}

	get document() {
		return this.#document;
	}

	goOffline() {
		this.#navigator.onLine = false;
		this.#window.dispatchEvent(new Event('offline'));
	}

	goOnline() {
		this.#navigator.onLine = true;
		this.#window.dispatchEvent(new Event('online'));
	}

	show(visibilityState = 'visible') {
		this.#document.visibilityState = visibilityState;
		this.#document.dispatchEvent(new Event('visibilitychange'));
	}

	/** Leaves the page, which is kept in the back/forward cache. */
	hide() {
		this.#window.dispatchEvent(new Event('pagehide'));
	}

	/**
	 * Leaves the page for ever.
	 *
	 * @param {boolean} told whether the page is told
	 */
	leave(told = true) {
		if (told) this.hide();
		this.#window = this.#target();
		const { visibilityState, baseURI } = this.#document;
		this.#document = Object.assign(this.#target(), { visibilityState, baseURI });
		globalThis.document = this.#document;
	}

	/** Returns from the back/forward cache. */
	comeBack() {
		this.#window.dispatchEvent(new Event('pageshow'));
	}
}

/** Makes a storage like that of a tab, which outlives the page. Returns its items. */
export function openStorage(t, items = new Map()) {
	replace(t, 'sessionStorage', {
		getItem: (key) => items.get(key) ?? null,
		setItem: (key, value) => { items.set(key, String(value)); },
		removeItem: (key) => { items.delete(key); },
	});
	return items;
}
