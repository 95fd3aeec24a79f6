/** Reads an answer with event-source-polyfill, which comes back with `lastEventId` in the query. */
import { lead } from './comeback.mjs';

globalThis.window = globalThis; // the library looks there for what a browser has
const { EventSourcePolyfill } = (await import('event-source-polyfill')).default;

await lead(({ url }, onData, onEnd) => {
	const source = new EventSourcePolyfill(url);
	source.onmessage = ({ data }) => {
		onData(data);
		// The library takes a 204 for a failure, and would ask for the rest again and again.
		if (JSON.parse(data).type !== 'finish') return;
		source.close();
		onEnd('closed');
	};
});
