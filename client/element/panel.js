import { Announcer } from './announcer.js';
import { Composer } from './composer.js';
import { Conversation } from './conversation.js';
import { button, create, picture } from './dom.js';
import { explainLimit } from './explain.js';
import { keepEndInView, keepFocusClear } from './scroll.js';
import { welcome } from './welcome.js';

/** @typedef {import('./words.js').Words} Words */
/** @typedef {import('../illumichat.js').Chat} Chat */

/**
 * The texts of a site owner.
 * @typedef {object} PanelTexts
 * @property {string} [heading]
 * @property {string} [greeting]
 * @property {string[]} suggestions
 * @property {string} [placeholder]
 */

/**
 * @typedef {object} PanelOptions
 * @property {Words} words
 * @property {Chat} chat
 * @property {PanelTexts} texts
 * @property {string} [lang] the language of questions, answers and the owner's texts, if it is not that of the words
 * @property {boolean} isPage whether the chat is all that there is on the page
 * @property {AbortSignal} signal ends what the panel listens to outside of itself
 * @property {() => boolean} isHidden whether the visitor has closed the panel
 * @property {(name: string, detail: object) => void} emit tells the page
 * @property {() => void} [onClose] closes the panel
 */

/** The whole of a chat: its title, the conversation, and the box for a question. */
export class Panel {
	element;

	#options;
	#announcer = new Announcer();
	#conversation;
	#composer;
	#title;
	#welcome;
	#scroller;
	#scroll;
	#newChat;

	/** Whether the page knows whose conversation the tab holds, and shows it. */
	#ready = false;

	/** The last line about a limit. */
	#limit = '';

	/** @param {PanelOptions} options */
	constructor(options) {
		this.#options = options;
		const { words, chat, texts, lang, emit, isPage, signal, onClose } = options;
		this.#conversation = new Conversation(chat, {
			words, lang, emit,
			announce: (text) => this.#announce(text),
			onChange: () => this.#update(),
			onAgain: () => this.#askAgain(),
			onEdit: (text) => {
				if (this.idle) this.#composer.edit(text);
			},
		});
		this.#composer = new Composer({
			words, signal,
			onSend: (content, edited) => {
				this.#send(content, edited);
				this.#composer.focus();
			},
			onStop: () => chat.stop(),
			onDraft: (text) => { chat.draft = text; },
			onTouch: () => this.#scroller.focus({ preventScroll: true }),
		});
		this.#title = create(isPage ? 'h1' : 'h2', { class: 'title', dir: 'auto', lang });
		this.#newChat = button('new', words.say('newChat'), () => {
			this.reset();
			this.#composer.focus();
		});
		const header = create('header', { class: 'column' }, this.#title, this.#newChat);
		if (onClose) header.append(button('close', words.say('closeChat'), onClose, picture('close')));
		this.#welcome = create('div', { class: 'welcome' });
		const content = create('div', { class: 'column content' }, this.#welcome, this.#conversation.element);
		const toEnd = button('newest', words.say('jumpToNewest'), () => this.#jumpToEnd(), picture('down'));
		const foot = create('div', { class: 'column foot' }, toEnd, this.#composer.element);
		this.#scroller = create(isPage ? 'main' : 'section', { id: 'scroller', tabindex: 0, 'aria-label': words.say('conversation') }, header, content, foot);
		this.#scroll = keepEndInView(this.#scroller, content, (atEnd) => { toEnd.hidden = atEnd; });
		keepFocusClear(this.#scroller, header, foot);
		this.element = create('div', { id: 'panel' }, this.#scroller);
		for (const part of this.parts) {
			part.lang = words.lang;
			part.dir = words.dir;
		}
		this.element.addEventListener('keydown', (event) => this.#onKey(event));
		this.show(texts);
		this.#update();
	}

	/** The panel, and what speaks for it to a screen reader, also while it is hidden. */
	get parts() {
		return [this.element, this.#announcer.element];
	}

	/** Whether an answer is on its way. */
	get answering() {
		return this.#conversation.answering;
	}

	/** Whether the panel shows the conversation that the tab holds. */
	get ready() {
		return this.#ready;
	}

	/** Whether a question can be asked. */
	get idle() {
		return this.#ready && !this.answering;
	}

	/**
	 * Shows the site owner's texts. For those that are left out, there are words in the visitor's language.
	 *
	 * @param {PanelTexts} texts
	 */
	show({ heading, greeting, suggestions, placeholder }) {
		const { words, lang } = this.#options;
		this.#title.textContent = heading ?? words.say('title');
		this.#composer.placeholder = placeholder ?? words.say('placeholder');
		const fresh = welcome(words, greeting ?? words.say('greeting'), suggestions, (text) => {
			this.ask(text);
			this.#composer.focus();
		});
		if (lang) fresh.lang = lang;
		this.#welcome.replaceWith(fresh);
		this.#welcome = fresh;
	}

	/**
	 * Shows the conversation that the tab holds.
	 *
	 * @param {boolean} trusted whether it is this visitor's for sure; somebody else may have logged in meanwhile
	 */
	async start(trusted) {
		const { chat, signal } = this.#options;
		const found = this.#composer.text;
		const isVisitors = trusted || await chat.belongsToVisitor().catch((err) => console.error(err));
		if (signal.aborted) return;
		if (!isVisitors) {
			chat.reset();
			if (this.#composer.text === found) this.#composer.text = '';
			chat.draft = this.#composer.text;
		}
		// The visitor may have begun to write.
		if (!this.#composer.text) this.#composer.text = chat.draft;
		await this.#conversation.showEarlier();
		if (signal.aborted) return;
		this.#ready = true;
		this.#scroll.toEnd();
		this.#update();
	}

	/**
	 * Asks a question, if none is on its way.
	 *
	 * @param {string} content
	 */
	ask(content) {
		if (this.idle && content.trim()) this.#send(content.trim(), false);
	}

	/** Begins a new chat. */
	reset() {
		const { words, emit } = this.#options;
		this.#conversation.clear();
		this.#composer.clear();
		this.#announce(words.say('newChatStarted'));
		emit('reset', {});
	}

	/**
	 * Says how much is left of a limit, if it is nearly used up.
	 *
	 * @param {import('./limits.js').Left | undefined} left
	 */
	showLimit(left) {
		const line = left ? explainLimit(this.#options.words, left.requests, left.more) : '';
		this.#composer.showQuota(line);
		if (line !== this.#limit) this.#announce(line);
		this.#limit = line;
	}

	/** Says to a screen reader that there is an answer in a panel that is hidden. */
	announceNews() {
		this.#announcer.say(this.#options.words.say('newMessage'));
	}

	/** Moves the focus to where the visitor writes. */
	focus() {
		this.#composer.focus();
	}

	/** Keeps what the visitor is writing. Before the panel knows whose conversation it has, there is nothing to keep. */
	keepDraft() {
		if (this.#ready) this.#composer.keepDraft();
	}

	/** Leaves the conversation, whose answer goes on for a while at a site with `resume`. */
	leave() {
		this.keepDraft();
		// What is drawn next may take a moment. Until then, nothing can be asked.
		this.#ready = false;
		this.#update();
		this.#conversation.leave();
	}

	/**
	 * @param {string} content
	 * @param {boolean} edited
	 */
	#send(content, edited) {
		if (edited) this.#conversation.askAgain(content);
		else this.#conversation.ask(content);
		this.#scroll.toEnd();
	}

	/** Asks the last question again. */
	#askAgain() {
		if (!this.idle) return;
		const { activeElement } = /** @type {ShadowRoot} */ (this.element.getRootNode());
		const pressed = activeElement?.classList.contains('again');
		this.#conversation.askAgain();
		// The button is gone. If the visitor pressed it, it must not take the focus with it.
		if (pressed) this.#composer.focus();
	}

	#jumpToEnd() {
		this.#scroll.toEnd();
		// The button is gone, and must not take the focus with it.
		this.#composer.focus();
	}

	/** @param {string} text */
	#announce(text) {
		if (!this.#options.isHidden()) this.#announcer.say(text);
	}

	/** @param {KeyboardEvent} event */
	#onKey(event) {
		const { chat, onClose } = this.#options;
		if (event.key !== 'Escape' || event.isComposing || !this.answering && !onClose) return;
		if (this.answering) chat.stop();
		else onClose?.();
		// It is not meant for a dialog that the chat is in.
		event.preventDefault();
		event.stopPropagation();
	}

	#update() {
		const empty = this.#conversation.isEmpty;
		this.element.classList.toggle('empty', empty && this.#ready);
		this.#newChat.hidden = empty;
		this.#composer.update(this.#ready, this.answering);
	}
}
