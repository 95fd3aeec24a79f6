// Lets TypeScript know the element and its events: `document.querySelector('illumichat-chat')` is an IllumichatChat.

import type { IllumichatChat, IllumichatEvents } from '../element.js';

declare global {
	interface HTMLElementTagNameMap {
		'illumichat-chat': IllumichatChat;
	}

	interface HTMLElementEventMap extends IllumichatEvents {}
}

/** The names of the elements that this package defines. */
export type Tag = 'illumichat-chat';
