import { button, create } from './dom.js';

/**
 * Shows what stands in an empty conversation.
 *
 * @param {import('./words.js').Words} words
 * @param {string} greeting
 * @param {string[]} suggestions questions that the visitor can ask with a click
 * @param {(content: string) => void} ask
 */
export function welcome(words, greeting, suggestions, ask) {
	const element = create('div', { class: 'welcome' }, create('p', { dir: 'auto' }, greeting));
	if (suggestions.length > 0) {
		element.append(create('ul', { class: 'suggestions', 'aria-label': words.say('suggestions') }, ...suggestions.map((text) => {
			const suggestion = button('suggestion', text, () => ask(text));
			suggestion.dir = 'auto';
			return create('li', {}, suggestion);
		})));
	}
	return element;
}
