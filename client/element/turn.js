import { AnswerView } from './answer.js';
import { create } from './dom.js';
import { Footer } from './footer.js';

/** @typedef {import('./answer.js').AnswerOptions} AnswerOptions */

/** A question in the log, with its answer. */
export class TurnView {
	element;
	answer;

	#options;
	#question;

	/** @type {Footer | undefined} */
	#footer;

	/** @type {HTMLElement | undefined} */
	#edit;

	/**
	 * @param {string} content the question
	 * @param {AnswerOptions} options
	 * @param {boolean} live whether the answer is being written
	 */
	constructor(content, options, live) {
		const { words } = options;
		this.#options = options;
		this.answer = new AnswerView(options, live);
		this.#question = create('div', { class: 'asked' }, create('div', { class: 'question', dir: 'auto', lang: options.lang }, content));
		this.element = create('section', { class: 'turn' },
			create('h2', { class: 'visually-hidden' }, words.say('you')),
			this.#question,
			create('h2', { class: 'visually-hidden' }, words.say('assistant')),
			this.answer.element);
	}

	/**
	 * Shows another answer in place of the one that is shown.
	 *
	 * @param {AnswerView} answer
	 */
	replace(answer) {
		this.answer.element.replaceWith(answer.element);
		this.answer = answer;
	}

	/** Makes a new answer for `replace`. */
	newAnswer() {
		return new AnswerView(this.#options, true);
	}

	/**
	 * @param {import('./ending.js').Ending} ending
	 * @param {Omit<import('./footer.js').FooterOptions, 'words' | 'announce'>} actions
	 */
	async end(ending, actions) {
		this.#footer = new Footer(ending, this.answer.text, { ...this.#options, ...actions });
		await this.answer.end(ending, this.#footer.element);
	}

	/**
	 * Lets the visitor edit the question.
	 *
	 * @param {HTMLElement} edit the button for it
	 */
	allowEdit(edit) {
		this.#edit = edit;
		this.#question.prepend(edit);
	}

	/** Takes away what can be done only with the latest question. */
	retire() {
		this.#edit?.remove();
		this.#footer?.retire();
	}
}
