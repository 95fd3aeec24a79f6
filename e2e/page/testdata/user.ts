// A page in TypeScript that uses the client by its JSDoc types. It is only compiled, never run.
import { Chat, ChatError, type ChatEvent, type Message } from '../../../example/site/illumichat.js';

export async function ask(chat: Chat, signal: AbortSignal): Promise<string> {
	let text = '';
	try {
		for await (const event of chat.send('Hello', { signal, onRetry: (err: ChatError, wait: number) => void [err.type, wait] })) {
			text += shown(event);
		}
	} catch (err) {
		if (err instanceof ChatError && err.retryAfter !== undefined) return `${err.code} ${err.retryAfter.toFixed()}`;
		throw err;
	}
	const history: Message[] = chat.messages;
	return history.length > 0 ? text : (chat.chatId ?? '');
}

export async function goOn(url: string, say: (line: string) => void): Promise<string> {
	const chat = new Chat(url, { storageKey: 'chat' });
	const question: Message['content'] | undefined = chat.openQuestion;
	if (question === undefined) return '';
	let text = '';
	for await (const event of chat.resume({ onReconnect: (err, wait) => say(`${err.code} ${wait.toFixed()}`) })) text += shown(event);
	return text;
}

function shown(event: ChatEvent): string {
	switch (event.type) {
		case 'text-delta':
			return event.textDelta;
		case 'tool-call':
			return event.toolName + JSON.stringify(event.args);
		case 'tool-result':
			return event.toolName + JSON.stringify(event.result);
		case 'finish':
			return event.finishReason;
	}
}
