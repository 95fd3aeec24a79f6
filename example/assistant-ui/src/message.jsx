import { ActionBarPrimitive, AuiIf, MessagePrimitive } from '@assistant-ui/react';

export function UserMessage() {
	return (
		<MessagePrimitive.Root asChild>
			<article className="user" aria-label="You">
				<MessagePrimitive.Parts components={{ Text }} />
			</article>
		</MessagePrimitive.Root>
	);
}

export function AssistantMessage() {
	return (
		<>
			<MessagePrimitive.Root asChild>
				<article aria-label="Assistant">
					<MessagePrimitive.Parts components={{ Text, tools: { Fallback: Tool } }} />
				</article>
			</MessagePrimitive.Root>
			<AuiIf condition={({ message }) => message.isLast}>
				<ActionBarPrimitive.Root hideWhenRunning>
					<ActionBarPrimitive.Reload>Try again</ActionBarPrimitive.Reload>
				</ActionBarPrimitive.Root>
			</AuiIf>
		</>
	);
}

function Text({ text }) {
	return <p dir="auto">{text}</p>;
}

function Tool({ toolName, status, args, result, isError }) {
	return (
		<details>
			<summary>{toolName}: {status.type === 'running' ? 'running' : isError ? 'failed' : 'done'}</summary>
			<pre>{JSON.stringify({ args, result }, null, 2)}</pre>
		</details>
	);
}

export function Failure({ error: { message, code, retryAfter } }) {
	return (
		<p role="alert">
			That did not work: {message} {code && <code>{code}</code>} {retryAfter > 0 && `Try again in ${retryAfter} seconds.`}
		</p>
	);
}
