import { button, label, picture } from './dom.js';

/** For how many milliseconds a button says that it has copied. */
const shown = 2000;

/**
 * Makes a button that copies a text.
 *
 * @param {import('./words.js').Words} words
 * @param {string} name names the button
 * @param {() => string} text
 * @param {(said: string) => void} announce
 */
export function copyButton(words, name, text, announce) {
	const element = button('copy', name, async () => {
		try {
			await navigator.clipboard.writeText(text());
		} catch {
			// Only a secure page has the clipboard, and the visitor may have refused it.
			announce(words.say('copyFailed'));
			return;
		}
		label(element, words.say('copied'), picture('done'));
		announce(words.say('copied'));
		setTimeout(() => label(element, name, picture('copy')), shown);
	}, picture('copy'));
	return element;
}
