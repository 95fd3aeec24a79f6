import { create } from './dom.js';
import { explainWait } from './explain.js';

/**
 * Counts down to when the site takes a question again. If the visitor wants, the question is then sent by itself.
 */
export class Countdown {
	/** The box with which the visitor chooses that. */
	choice;

	#words;
	#line;
	#again;
	#announce;
	#box = create('input', { type: 'checkbox' });
	#end;
	#timer = 0;

	/**
	 * @param {import('./words.js').Words} words
	 * @param {number} seconds
	 * @param {HTMLElement} line gets the time that is left
	 * @param {HTMLElement} again the button that sends the question
	 * @param {(text: string) => void} announce
	 */
	constructor(words, seconds, line, again, announce) {
		this.#words = words;
		this.#line = create('span', { class: 'left' });
		this.#again = again;
		this.#announce = announce;
		// A clock that is set meanwhile does not matter.
		this.#end = performance.now() + seconds * 1000;
		this.choice = create('label', { class: 'automatic' }, this.#box, words.say('tryAgainAuto'));
		line.append(' ', this.#line);
		again.setAttribute('aria-disabled', 'true');
		again.addEventListener('click', (event) => {
			// Too early, the site would refuse the question again, and the visitor would wait longer.
			if (performance.now() < this.#end) event.stopImmediatePropagation();
		}, { capture: true });
		this.#tick();
	}

	/** Ends the countdown, and takes it away. */
	stop() {
		clearTimeout(this.#timer);
		this.#line.remove();
		this.choice.remove();
	}

	#tick() {
		const left = Math.ceil((this.#end - performance.now()) / 1000);
		if (left <= 0) {
			this.#over();
			return;
		}
		this.#line.textContent = explainWait(this.#words, left);
		this.#timer = setTimeout(() => this.#tick(), 1000);
	}

	#over() {
		this.#line.textContent = this.#words.say('canAskNow');
		this.choice.remove();
		this.#again.removeAttribute('aria-disabled');
		if (this.#box.checked) this.#again.click();
		else this.#announce(this.#words.say('canAskNow'));
	}
}
