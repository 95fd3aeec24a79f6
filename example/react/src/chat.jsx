import { useChat } from '@ai-sdk/react';
import { IllumichatTransport } from 'caddy-illumichat/ai-sdk';
import { StrictMode, useEffect, useRef, useState } from 'react';
import { createRoot } from 'react-dom/client';
import { load, save } from './conversation.js';
import { Failure, Message } from './message.jsx';
import './chat.css';

const transport = new IllumichatTransport({ url: '/api/chat-proxy' });

function Chat() {
	const [kept] = useState(load);
	const { id, messages, status, error, sendMessage, regenerate, stop } = useChat({ ...kept, transport, resume: true, throttle: 50 });
	const [question, setQuestion] = useState('');
	const field = useRef(null);
	const busy = status === 'submitted' || status === 'streaming';

	useEffect(() => save({ id, messages }), [id, messages]);

	function ask(submit) {
		submit.preventDefault();
		if (busy || !question.trim()) return;
		sendMessage({ text: question });
		setQuestion('');
		field.current.focus();
	}

	// useChat also calls `stop` when the chat is unmounted. So after this call alone, the transport waits for a second.
	function end() {
		transport.stop(id);
		stop();
		field.current.focus();
	}

	return (
		<>
			<main tabIndex={0} aria-label="Conversation">
				<div role="log" aria-busy={busy}>
					{messages.map((message) => <Message key={message.id} {...message} />)}
					{busy && <p className="busy">The assistant is answering.</p>}
					{error && <Failure error={error} />}
					{!busy && messages.length > 0 && <button onClick={() => regenerate()}>Try again</button>}
				</div>
			</main>
			<form onSubmit={ask}>
				<label htmlFor="question">Your question</label>
				<input id="question" ref={field} value={question} onChange={(input) => setQuestion(input.target.value)} autoComplete="off" autoFocus />
				<button disabled={busy || !question.trim()}>Send</button>
				<button type="button" disabled={!busy} onClick={end}>Stop</button>
			</form>
		</>
	);
}

// A hidden chat is unmounted, as after a change of route. If it is shown again within a second, its answer continues.
function Page() {
	const [shown, setShown] = useState(true);
	return (
		<>
			<header>
				<h1>Assistant</h1>
				<button aria-expanded={shown} onClick={() => setShown(!shown)}>{shown ? 'Hide' : 'Show'} the chat</button>
			</header>
			{shown && <Chat />}
		</>
	);
}

createRoot(document.getElementById('page')).render(<StrictMode><Page /></StrictMode>);
