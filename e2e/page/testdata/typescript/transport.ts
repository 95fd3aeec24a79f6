// A page in TypeScript that uses the AI SDK's transport. It is only compiled, never run.
import { IllumichatTransport, type ChatError } from 'caddy-illumichat/ai-sdk';
import type { ChatTransport, UIMessage } from 'ai';

const transport = new IllumichatTransport({
	url: '/api/chat-proxy',
	assistantId: 'asst_demo',
	headers: () => ({ 'X-Token': 'abc' }),
	credentials: 'include',
	onRetry: (err: ChatError, wait: number) => void `${err.code} ${wait.toFixed()}`,
});

export const asTheSDK: ChatTransport<UIMessage> = transport;
export const stopped: Promise<void> = transport.stop('chat-1');

// @ts-expect-error: a transport needs the URL of its endpoint
new IllumichatTransport({});
