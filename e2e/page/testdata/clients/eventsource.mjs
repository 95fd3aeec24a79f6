/** Reads an answer with the `eventsource` package, which comes back with the header `Last-Event-ID`. */
import { EventSource } from 'eventsource';
import { lead } from './comeback.mjs';

await lead(({ url }, onData, onEnd) => {
	const source = new EventSource(url);
	source.onmessage = ({ data }) => onData(data);
	source.onerror = ({ code }) => {
		if (source.readyState === EventSource.CLOSED) onEnd(code);
	};
});
