import { button, create, label, picture } from './dom.js';

/** The button of a bubble, which opens and closes the chat. */
export class Launcher {
	element;

	#words;
	#news = create('span', { class: 'news', hidden: true });

	/**
	 * @param {import('./words.js').Words} words
	 * @param {() => void} toggle
	 */
	constructor(words, toggle) {
		this.#words = words;
		this.element = button('launcher', '', toggle);
		this.element.setAttribute('aria-controls', 'panel');
		this.update(false);
	}

	/** @param {boolean} open whether the chat is open */
	update(open) {
		label(this.element, this.#words.say(open ? 'closeChat' : 'openChat'), picture(open ? 'close' : 'chat'));
		this.element.setAttribute('aria-expanded', String(open));
		if (open) this.#news.hidden = true;
		this.element.append(this.#news);
	}

	/** Shows that an answer has come while the chat was closed. */
	showNews() {
		this.#news.hidden = false;
		this.element.setAttribute('aria-label', `${this.#words.say('openChat')}. ${this.#words.say('newMessage')}`);
	}
}
