import { leadOutside, safeUrl } from '../markdown/inline-nodes.js';
import { create } from './dom.js';

/** A page that an answer names as its source. @typedef {{ url: string, title: string }} Source */

/**
 * Returns the sources that an event carries. The API does not document such events: these are the AI SDK's `source-url`, and
 * lists under `sources`, as other assistants send them.
 *
 * @param {any} event
 * @returns {Source[]}
 */
export function sourcesOf(event) {
	const found = event.type === 'source' || event.type === 'source-url' ? [event.source ?? event] : event.sources;
	if (!Array.isArray(found)) return [];
	return found.flatMap((source) => {
		const url = safeUrl(String(source?.url ?? source));
		if (!url) return [];
		return { url, title: typeof source.title === 'string' && source.title.trim() ? source.title : new URL(url).host || url };
	});
}

/**
 * Shows the sources of an answer, each once.
 *
 * @param {string} title
 * @param {Source[]} sources
 */
export function listSources(title, sources) {
	const byUrl = new Map(sources.map((source) => [source.url, source]));
	const links = Array.from(byUrl.values(), ({ url, title }) => {
		const link = create('a', { href: url, dir: 'auto' }, title);
		leadOutside(link);
		return create('li', {}, link);
	});
	return create('div', { class: 'sources' }, create('p', { class: 'label' }, title), create('ol', {}, ...links));
}
