// A page in TypeScript that uses the core. It is only compiled, never run.
import {
	Chat, ChatError, followAnswer, newId, openAnswer, stopAnswer,
	type Answer, type ChatEvent, type ChatOptions, type Message, type SendOptions, type Store, type Turn, type TurnState,
} from 'caddy-illumichat';

const memory = new Map<string, string>();
const store: Store = {
	get: (key) => memory.get(key) ?? null,
	set: (key, value) => void memory.set(key, value),
	remove: (key) => void memory.delete(key),
};

const options: ChatOptions = {
	assistantId: 'asst_demo',
	messages: [{ role: 'user', content: 'Hello' }, { role: 'assistant', content: [{ type: 'text', text: 'Hi' }] }],
	tries: 2,
	history: 20,
	maxBody: 65_536,
	body: () => ({ language: navigator.language }),
	headers: async () => ({ 'X-Token': 'abc' }),
	credentials: 'include',
	heartbeat: 0,
	storageKey: 'chat',
	store,
	owner: 'alice',
};

export async function ask(chat: Chat, signal: AbortSignal): Promise<string> {
	let text = '';
	const how: SendOptions = {
		signal,
		onRetry: (err: ChatError, wait: number) => void [err.type, wait],
		onReconnect: (err, wait) => void `${err.code} ${wait.toFixed()}`,
		onShorten: (sent) => void sent.toFixed(),
	};
	try {
		for await (const event of chat.send('Hello', how)) text += shown(event);
	} catch (err) {
		if (err instanceof ChatError && err.retryAfter !== undefined) return `${err.code} ${err.retryAfter.toFixed()}`;
		throw err;
	}
	const history: Message[] = chat.messages;
	return history.length > 0 ? text : (chat.chatId ?? '');
}

export async function goOn(url: string): Promise<string> {
	const chat = new Chat(url, options);
	if (!await chat.belongsToVisitor()) chat.reset();
	const question: Message['content'] | undefined = chat.openQuestion;
	let text = chat.draft;
	if (question !== undefined) for await (const event of chat.resume()) text += shown(event);
	chat.draft = '';
	const stopped: Promise<void> = chat.stop();
	await stopped;
	chat.detach();
	for await (const event of chat.retry()) text += shown(event);
	return text + chat.turns.map(summary).join();
}

function summary({ content, events, state, text, error }: Turn): string {
	const states: TurnState[] = ['open', 'done', 'stopped', 'failed', 'unsent'];
	return `${states.indexOf(state)} ${JSON.stringify(content)} ${events.length} ${text} ${error?.message} ${error?.code} ${error?.status}`;
}

export async function lowLevel(url: string): Promise<string> {
	const id: string = newId();
	const answer: Answer = await openAnswer(url, { messages: [{ role: 'user', content: 'Hello' }], language: 'en' }, { id, credentials: 'omit' });
	let text = '';
	for await (const event of answer.events) text += shown(event);
	const again = await followAnswer(url, answer.id ?? id, { after: answer.after, headers: { 'X-Token': 'abc' } });
	for await (const event of again.events) text += shown(event);
	const known: boolean = await stopAnswer(url, id);
	return known ? text : '';
}

function shown(event: ChatEvent): string {
	switch (event.type) {
		case 'text-delta':
			return event.textDelta;
		case 'tool-call':
			return (event.toolCallId ?? event.toolName) + JSON.stringify(event.args);
		case 'tool-result':
			return event.toolName + JSON.stringify(event.result);
		case 'error':
			return event.error ?? '';
		case 'finish':
			return event.finishReason;
	}
}

// @ts-expect-error: a chat needs the URL of its endpoint
new Chat();
// @ts-expect-error: an unknown option is a mistake
new Chat('/api/chat-proxy', { storagekey: 'chat' });
// @ts-expect-error: the turns are read only
new Chat('/api/chat-proxy').turns.push();
