import { AssistantRuntimeProvider, ComposerPrimitive, ThreadPrimitive } from '@assistant-ui/react';
import { useAISDKChat, useAISDKError, useChatRuntime } from '@assistant-ui/react-ai-sdk';
import { IllumichatTransport } from 'caddy-illumichat/ai-sdk';
import { StrictMode, useEffect } from 'react';
import { createRoot } from 'react-dom/client';
import { load, save } from '../../react/src/conversation.js';
import { AssistantMessage, Failure, UserMessage } from './message.jsx';
import '../../react/src/chat.css';
import './thread.css';

const { id, messages } = load();

// assistant-ui gives its thread a new name in each page. The name in the tab lets the transport find the answer after a reload.
class TabTransport extends IllumichatTransport {
	sendMessages(request) {
		return super.sendMessages({ ...request, chatId: id });
	}

	reconnectToStream(request) {
		return super.reconnectToStream({ ...request, chatId: id });
	}
}

const transport = new TabTransport({ url: '/api/chat-proxy' });

function Page() {
	return (
		<AssistantRuntimeProvider runtime={useChatRuntime({ transport, messages, throttle: 50 })}>
			<header>
				<h1>Assistant</h1>
			</header>
			<ThreadPrimitive.Root className="thread">
				<ThreadPrimitive.Viewport asChild>
					<main tabIndex={0} aria-label="Conversation">
						<Log />
					</main>
				</ThreadPrimitive.Viewport>
				<ComposerPrimitive.Root>
					<label htmlFor="question">Your question</label>
					<ComposerPrimitive.Input id="question" rows={1} autoComplete="off" autoFocus />
					<ComposerPrimitive.Send>Send</ComposerPrimitive.Send>
					<ComposerPrimitive.Cancel type="button" onClick={() => transport.stop(id)}>Stop</ComposerPrimitive.Cancel>
				</ComposerPrimitive.Root>
			</ThreadPrimitive.Root>
		</AssistantRuntimeProvider>
	);
}

function Log() {
	const chat = useAISDKChat();
	const error = useAISDKError();
	const busy = chat?.status === 'submitted' || chat?.status === 'streaming';

	useEffect(() => void chat?.resumeStream(), [chat?.id]);
	useEffect(() => chat && save({ id, messages: chat.messages }), [chat?.messages]);

	return (
		<div role="log" aria-busy={busy}>
			<ThreadPrimitive.Messages components={{ UserMessage, AssistantMessage }} />
			{busy && <p className="busy">The assistant is answering.</p>}
			{error && <Failure error={error} />}
		</div>
	);
}

createRoot(document.getElementById('page')).render(<StrictMode><Page /></StrictMode>);
