// A page in TypeScript that uses the element. It is only compiled, never run.
import { IllumichatChat, type IllumichatEvents, type Overrides } from 'caddy-illumichat/element';

const strings: Overrides = {
	send: 'Go',
	messagesLeft: { one: 'one message', other: '{n} messages' },
	tools: { find_order: { running: 'Looking for your order …' } },
};

export function embed(parent: HTMLElement): IllumichatChat {
	const element = document.createElement('illumichat-chat');
	element.strings = strings;
	element.options = { headers: async () => ({ 'X-Token': 'abc' }) };
	element.addEventListener('illumichat-feedback', ({ detail: { turn, helpful } }) => {
		const answer: string = turn.text;
		const thumb: boolean | undefined = helpful;
		void [answer, thumb];
	});
	document.addEventListener('illumichat-toggle', onToggle as EventListener);
	parent.append(element);
	element.open = true;
	element.ask('Hello');
	return element;
}

function onToggle({ detail: { open } }: IllumichatEvents['illumichat-toggle']): void {
	document.querySelector('illumichat-chat')?.classList.toggle('large', open);
}

// @ts-expect-error: the element has no such text
export const wrong: Overrides = { sent: 'Gone' };
