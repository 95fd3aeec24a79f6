import { createInterface } from 'node:readline';

/**
 * Lets a test lead a client through one answer. Each line of the input is a command in JSON, and each gets a view of the
 * events that the client has seen so far, as a line of JSON:
 *
 * - `{ "open": … }` opens the answer. `open` gets the value, a function for each event's data, and one for the end.
 * - `{ "hidden": … }` hides the page's tab, or shows it.
 * - `{ "wait": n }` waits until the client has seen n events.
 * - `{ "wait": "end" }` waits until the client needs no more connections.
 */
export async function lead(open, setHidden) {
	const view = { events: [], end: '' };
	let changed = () => {};
	const change = (apply) => (value) => {
		apply(value);
		changed();
	};
	const onData = change((data) => view.events.push(JSON.parse(data)));
	const onEnd = change((end) => { view.end ||= String(end); });

	for await (const line of createInterface({ input: process.stdin })) {
		const command = JSON.parse(line);
		if (command.open) open(command.open, onData, onEnd);
		if (command.hidden !== undefined) setHidden(command.hidden);
		if (command.wait) {
			const over = () => view.end || view.events.length >= command.wait;
			while (!over()) await new Promise((resolve) => { changed = resolve; });
		}
		console.log(JSON.stringify(view));
	}
}
