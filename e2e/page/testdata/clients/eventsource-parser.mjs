/** Reads answers with eventsource-parser, as its documentation shows. */
import { EventSourceParserStream } from 'eventsource-parser/stream';
import { addEvent, checkHead, visit } from './visits.mjs';

await visit(async ({ url, body }, view) => {
	const response = await fetch(url, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body });
	await checkHead(response, view);
	const events = response.body.pipeThrough(new TextDecoderStream()).pipeThrough(
		new EventSourceParserStream({
			onError: 'terminate',
			onRetry: (interval) => { view.retry = interval; },
			onComment: () => { view.comments++; },
		}),
	);
	for await (const event of events) addEvent(view, event);
});
