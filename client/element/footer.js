import { copyButton } from './clipboard.js';
import { Countdown } from './countdown.js';
import { button, create, picture } from './dom.js';

/** @typedef {import('./words.js').Words} Words */

/**
 * The actions for an answer that has ended.
 * @typedef {object} FooterOptions
 * @property {Words} words
 * @property {(text: string) => void} announce
 * @property {() => void} again asks the question again
 * @property {(helpful: boolean | undefined) => void} feedback tells what the visitor thinks of the answer
 */

/** The line below an answer: how it ended, and what can be done with it. */
export class Footer {
	element = create('div', { class: 'end' });

	#options;

	/** Asks again; only the latest question can be. @type {HTMLElement[]} */
	#again = [];

	/** @type {Countdown | undefined} */
	#countdown;

	/**
	 * @param {import('./ending.js').Ending} ending
	 * @param {string} text of the answer
	 * @param {FooterOptions} options
	 */
	constructor(ending, text, options) {
		this.#options = options;
		const line = create('p', { class: 'line' }, ending.line);
		if (ending.code) line.append(' ', create('code', {}, ending.code));
		this.element.append(line);
		const actions = create('div', { class: 'actions' });
		if (text) actions.append(copyButton(options.words, options.words.say('copyAnswer'), () => text, options.announce));
		actions.append(...this.#askAgain(ending, line));
		if (text && !ending.kind) actions.append(...this.#thumbs());
		this.element.append(actions);
	}

	/** Takes away what can be done only with the latest answer. */
	retire() {
		this.#countdown?.stop();
		for (const element of this.#again) element.remove();
	}

	/**
	 * @param {import('./ending.js').Ending} ending
	 * @param {HTMLElement} line
	 */
	#askAgain({ kind, retryAfter }, line) {
		const { words, again, announce } = this.#options;
		const element = kind
			? button('again', words.say('tryAgain'), again)
			: button('again', words.say('askAgain'), again, picture('retry'));
		this.#again = [element];
		if (kind && retryAfter !== undefined) {
			this.#countdown = new Countdown(words, retryAfter, line, element, announce);
			this.#again.push(this.#countdown.choice);
		}
		return this.#again;
	}

	#thumbs() {
		const { words, feedback } = this.#options;
		const thumbs = /** @type {const} */ (['helpful', 'notHelpful']).map((name) => {
			const thumb = button(name, words.say(name), () => {
				const pressed = thumb.getAttribute('aria-pressed') !== 'true';
				for (const other of thumbs) other.setAttribute('aria-pressed', String(other === thumb && pressed));
				feedback(pressed ? name === 'helpful' : undefined);
				if (pressed) this.#options.announce(words.say('thanks'));
			}, picture(name));
			thumb.setAttribute('aria-pressed', 'false');
			return thumb;
		});
		return thumbs;
	}
}
