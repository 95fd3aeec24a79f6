/**
 * A whole chat as one element, for any page of a site that runs caddy-illumichat:
 *
 *	<script type="module" src="element.js"></script>
 *	<illumichat-chat url="/api/chat-proxy"></illumichat-chat>
 */
import { Launcher } from './element/launcher.js';
import { nearLimit } from './element/limits.js';
import { Panel } from './element/panel.js';
import { applyStyle } from './element/style.js';
import { fitKeyboard } from './element/viewport.js';
import { loadWords } from './element/words.js';
import { Chat } from './illumichat.js';

/** @typedef {import('./element/words.js').Overrides} Overrides */
/** @typedef {import('./element/words.js').Words} Words */
/** @typedef {import('./illumichat.js').ChatOptions} ChatOptions */
/** @typedef {import('./illumichat.js').Turn} Turn */
/** @typedef {import('./element/globals.js').Tag} Tag */

/**
 * The events of the element. They bubble, and leave the shadow root.
 *
 * @typedef {object} IllumichatEvents
 * @property {CustomEvent<{ content: string }>} illumichat-question the visitor asks
 * @property {CustomEvent<{ turn: Turn }>} illumichat-answer an answer has ended; `turn.state` says how
 * @property {CustomEvent<{ turn: Turn, helpful: boolean | undefined }>} illumichat-feedback the visitor says whether an answer
 *	was helpful, or takes that back
 * @property {CustomEvent<{}>} illumichat-reset the visitor begins a new chat
 * @property {CustomEvent<{ open: boolean }>} illumichat-toggle the bubble is opened or closed
 */

/** The path of the chat, as the guide of IllumiChat names it. */
const defaultUrl = '/api/chat-proxy';

/** The key of the tab's storage under which the conversation is kept. */
const defaultStorageKey = 'illumichat';

/** The attributes with the site owner's texts. They can change at any time. */
const textAttributes = ['heading', 'greeting', 'suggestions', 'placeholder'];

/**
 * The conversations, by their keys, that this document knows to be this visitor's. A framework may remove the element and add
 * it again, and the site need not be asked again then.
 *
 * @type {Set<string>}
 */
const trusted = new Set();

/** Whether the browser has kept this document for its Back button. Somebody else may have logged in meanwhile. */
let restored = false;

// In Node there are no elements. A framework that renders pages there only imports this file.
const Base = globalThis.HTMLElement ?? class {};

/** The element `<illumichat-chat>`. */
export class IllumichatChat extends Base {
	static observedAttributes = [...textAttributes, 'url', 'assistant', 'lang', 'mode', 'storage-key', 'owner', 'open'];

	/** The conversation, while the element is in a page. @type {Chat | undefined} */
	chat;

	/** @type {ChatOptions} */
	#options = {};

	/** @type {Overrides} */
	#strings = {};

	/** @type {Panel | undefined} */
	#panel;

	/** @type {Launcher | undefined} */
	#launcher;

	/** A question that came before the element could ask it. */
	#question = '';

	/** Ends all that belongs to what is drawn. */
	#drawn = new AbortController();

	/** Whether the element is about to be drawn. */
	#drawing = false;

	constructor() {
		super();
		applyStyle(this.attachShadow({ mode: 'open' }));
	}

	connectedCallback() {
		this.#takeProperties();
		// An element that is only moved stays as it is.
		if (!this.#panel) this.#drawSoon();
	}

	disconnectedCallback() {
		// An element that is only moved is in the page again by then.
		queueMicrotask(() => {
			if (!this.isConnected) this.#leave();
		});
	}

	/**
	 * @param {string} name
	 * @param {string | null} before
	 * @param {string | null} after
	 */
	attributeChangedCallback(name, before, after) {
		if (before === after) return;
		if (textAttributes.includes(name)) this.#panel?.show(this.#texts());
		else if (name !== 'open') this.#drawSoon();
		else if ((before === null) !== (after === null)) this.#toggled();
	}

	/**
	 * Further options of the chat, such as `headers`, `body` and `credentials`. The element is drawn anew when they are set, so
	 * they are best set before it is in the page.
	 *
	 * @returns {ChatOptions}
	 */
	get options() {
		return this.#options;
	}

	set options(options) {
		this.#options = options;
		this.#drawSoon();
	}

	/**
	 * Texts of the element in other words, by their names; those of `tools` say what the assistant's tools do. The element is
	 * drawn anew when they are set.
	 *
	 * @returns {Overrides}
	 */
	get strings() {
		return this.#strings;
	}

	set strings(strings) {
		this.#strings = strings;
		this.#drawSoon();
	}

	/** How the chat stands in the page: `inline`, `page` (it is all that there is), or `bubble`. */
	get mode() {
		const mode = this.getAttribute('mode');
		return mode === 'page' || mode === 'bubble' ? mode : 'inline';
	}

	/** Whether the bubble is open. */
	get open() {
		return this.hasAttribute('open');
	}

	set open(open) {
		this.toggleAttribute('open', open);
	}

	/**
	 * Asks a question, as if the visitor did, as soon as the element shows its conversation. Does nothing while an answer is on
	 * its way.
	 *
	 * @param {string} content
	 */
	ask(content) {
		if (this.#panel?.ready) this.#panel.ask(content);
		else this.#question = content;
	}

	/** Stops the answer. */
	stop() {
		this.chat?.stop();
	}

	/** Begins a new chat. */
	reset() {
		this.#panel?.reset();
	}

	/** Moves the focus to the box for a question. On a touch device, that would open the keyboard: there, it goes to the conversation. */
	focus() {
		this.#panel?.focus();
	}

	/** Takes over the properties that a script has set before it knew the element. */
	#takeProperties() {
		for (const name of /** @type {const} */ (['options', 'strings', 'open'])) {
			if (!Object.hasOwn(this, name)) continue;
			const value = this[name];
			Reflect.deleteProperty(this, name);
			Reflect.set(this, name, value);
		}
	}

	/** Draws the element once its attributes and properties are set. */
	#drawSoon() {
		if (this.#drawing || !this.isConnected) return;
		this.#drawing = true;
		queueMicrotask(() => {
			this.#drawing = false;
			if (this.isConnected) this.#draw();
		});
	}

	/** Draws the element, and shows the conversation that the tab holds. */
	async #draw() {
		this.#leave();
		const { signal } = this.#drawn = new AbortController();
		const words = await loadWords(this.#language(), this.#strings);
		if (signal.aborted) return;

		const url = this.getAttribute('url') ?? defaultUrl;
		const options = this.#chatOptions();
		this.chat = new Chat(url, options);
		const panel = this.#panel = this.#newPanel(words, this.chat, signal);
		const root = /** @type {ShadowRoot} */ (this.shadowRoot);
		const focused = root.activeElement;
		root.replaceChildren(...panel.parts);
		if (focused) panel.focus();
		if (this.mode === 'bubble') {
			this.#launcher = new Launcher(words, () => { this.open = !this.open; });
			this.#launcher.update(this.open);
			root.append(this.#launcher.element);
		}
		if (this.mode !== 'inline') fitKeyboard(this, this.mode === 'page', signal);
		if (this.mode === 'page') panel.focus();
		addEventListener('pagehide', () => panel.keepDraft(), { signal });
		addEventListener('pageshow', ({ persisted }) => {
			if (!persisted) return;
			restored = true;
			trusted.clear();
			if (!panel.answering) this.#drawSoon();
		}, { signal });

		const key = JSON.stringify([url, options.storageKey]);
		await panel.start((isReload() && !restored) || trusted.has(key));
		if (signal.aborted) return;
		trusted.add(key);
		panel.ask(this.#question);
		this.#question = '';
	}

	/**
	 * @param {Words} words
	 * @param {Chat} chat
	 * @param {AbortSignal} signal
	 */
	#newPanel(words, chat, signal) {
		const bubble = this.mode === 'bubble';
		const isHidden = () => bubble && !this.open;
		const lang = this.#language();
		return new Panel({
			words, chat, signal, isHidden,
			lang: words.isIn(lang) ? undefined : lang,
			texts: this.#texts(),
			isPage: this.mode === 'page',
			emit: (name, detail) => {
				if (name === 'answer' && isHidden()) {
					this.#launcher?.showNews();
					this.#panel?.announceNews();
				}
				this.#emit(name, detail);
			},
			onClose: bubble ? () => { this.open = false; } : undefined,
		});
	}

	#texts() {
		const [heading, greeting, suggestions, placeholder] = textAttributes.map((name) => this.getAttribute(name) ?? undefined);
		return { heading, greeting, suggestions: lines(suggestions), placeholder };
	}

	/** @returns {ChatOptions} */
	#chatOptions() {
		const { fetch: request = fetch } = this.#options;
		const assistantId = this.getAttribute('assistant') ?? undefined;
		return {
			storageKey: this.getAttribute('storage-key') ?? (assistantId ? `${defaultStorageKey}:${assistantId}` : defaultStorageKey),
			assistantId,
			owner: this.getAttribute('owner') ?? undefined,
			...this.#options,
			fetch: async (...args) => {
				const response = await request(...args);
				if (response.headers.has('RateLimit')) this.#panel?.showLimit(nearLimit(response.headers));
				return response;
			},
		};
	}

	/** Returns the language of the part of the page that the element is in. */
	#language() {
		return this.closest('[lang]')?.getAttribute('lang') || document.documentElement.lang || navigator.language;
	}

	#toggled() {
		if (this.mode !== 'bubble') return;
		this.#launcher?.update(this.open);
		if (this.open) this.#panel?.focus();
		// The focus goes where the panel took it from, but not away from the page.
		else if (this.shadowRoot?.activeElement) this.#launcher?.element.focus();
		this.#emit('toggle', { open: this.open });
	}

	/** Leaves the conversation, whose answer goes on for a while at a site with `resume`. */
	#leave() {
		this.#drawn.abort();
		this.#panel?.leave();
		this.#panel = this.#launcher = this.chat = undefined;
	}

	/**
	 * @param {string} name
	 * @param {object} detail
	 */
	#emit(name, detail) {
		this.dispatchEvent(new CustomEvent(`illumichat-${name}`, { detail, bubbles: true, composed: true }));
	}
}

/**
 * Splits a text into its lines.
 *
 * @param {string} [text]
 */
function lines(text = '') {
	return text.split('\n').map((line) => line.trim()).filter(Boolean);
}

/** Reports whether the page was reloaded; otherwise, somebody else may have logged in since the conversation. */
function isReload() {
	const [navigation] = performance.getEntriesByType('navigation');
	return navigation instanceof PerformanceNavigationTiming && navigation.type === 'reload';
}

// A page may load this file twice, from two places.
if (globalThis.customElements && !customElements.get('illumichat-chat')) customElements.define('illumichat-chat', IllumichatChat);
