import { create } from './dom.js';

/** After how many milliseconds what was said is removed, so that nobody finds an answer twice. */
const kept = 10_000;

/** Lets a screen reader say things, one after the other. */
export class Announcer {
	element = create('div', { id: 'announcer', class: 'visually-hidden', role: 'log', 'aria-live': 'polite', 'aria-relevant': 'additions' });

	#silence = 0;

	/** @param {string} text */
	say(text) {
		if (!text) return;
		this.element.append(create('p', {}, text));
		clearTimeout(this.#silence);
		this.#silence = setTimeout(() => this.element.replaceChildren(), kept);
	}
}
