export function Message({ role, parts }) {
	return (
		<article className={role} aria-label={role === 'user' ? 'You' : 'Assistant'}>
			{parts.map((part, n) => {
				if (part.type === 'text') return <p key={n} dir="auto">{part.text}</p>;
				if (part.type === 'dynamic-tool') return <Tool key={n} {...part} />;
				return null;
			})}
		</article>
	);
}

const progress = { 'output-available': 'done', 'output-error': 'failed' };

function Tool({ toolName, state, input, output, errorText }) {
	return (
		<details>
			<summary>{toolName}: {progress[state] ?? 'running'}</summary>
			<pre>{JSON.stringify({ input, output, errorText }, null, 2)}</pre>
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
