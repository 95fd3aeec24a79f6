import { createInterface } from 'node:readline';

/**
 * Lets a client ask for answers. It reads requests, each a line of JSON with a url and the body to post to it.
 * For each request, `ask` fills in a view: what the client reports about the answer. Each view is printed as a line
 * of JSON.
 */
export async function visit(ask) {
	for await (const line of createInterface({ input: process.stdin })) {
		const view = { status: 0, contentType: '', code: '', events: [], comments: 0, retry: 0, error: '' };
		try {
			await ask(JSON.parse(line), view);
		} catch (err) {
			view.error = err.message;
		}
		console.log(JSON.stringify(view));
	}
}

/** Records the status and the content type of an answer, and throws if it is no event stream. */
export async function checkHead(response, view) {
	view.status = response.status;
	view.contentType = response.headers.get('content-type');
	if (view.contentType === 'text/event-stream') return;
	view.code = (await response.json()).code;
	throw new Error(`no event stream, but status ${response.status}`);
}

/** Records an event. As in a browser's EventSource, an event without an id has that of the event before. */
export function addEvent(view, { event, id, data }) {
	view.events.push({ type: event || 'message', id: id || (view.events.at(-1)?.id ?? ''), data });
}
