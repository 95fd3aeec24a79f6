import { createInterface } from 'node:readline';

/**
 * Has a client ask for answers. Requests are lines of JSON, each with the url and the body that is posted to it.
 * For each, what the client tells of the answer is printed as one more line: ask is given it to fill it in.
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

/** Notes the head of an answer, and throws if no events follow it. */
export async function checkHead(response, view) {
	view.status = response.status;
	view.contentType = response.headers.get('content-type');
	if (view.contentType === 'text/event-stream') return;
	view.code = (await response.json()).code;
	throw new Error(`no event stream, but status ${response.status}`);
}

/** Notes an event. As in a browser's EventSource, the last id stays. */
export function addEvent(view, { event, id, data }) {
	view.events.push({ type: event || 'message', id: id || (view.events.at(-1)?.id ?? ''), data });
}
