/** How a call of a tool stands; `noResult` if the answer ended before it. @typedef {'running' | 'done' | 'noResult' | 'failed'} ToolState */

/** Usual names of well-known tools. */
const aliases = new Map(Object.entries({
	web_search: ['search_web', 'websearch', 'internet_search', 'google_search', 'bing_search', 'brave_search', 'tavily_search', 'web_search_preview'],
	read_url: ['fetch', 'fetch_url', 'web_fetch', 'url_context', 'read_page', 'read_webpage', 'open_page', 'open_url', 'browse', 'scrape', 'visit_url'],
	search_documents: ['file_search', 'document_search', 'knowledge_search', 'search_files', 'search_knowledge', 'search_knowledge_base', 'retrieval'],
	run_code: ['code', 'code_execution', 'code_interpreter', 'execute_code', 'python'],
	generate_image: ['create_image', 'image_generation'],
	calculator: ['calculate'],
}).flatMap(([name, others]) => others.map((other) => [other, name])));

/**
 * Says in words what a tool does or did. The words of a tool that the language does not know come from the tool's name:
 * `find_order` becomes "Using find order …".
 *
 * @param {import('./words.js').Words} words
 * @param {string} tool the tool's name
 * @param {ToolState} state
 */
export function describeTool(words, tool, state) {
	const name = tool.replace(/(\p{Ll}|\d)(\p{Lu})/gu, '$1_$2').toLowerCase().replace(/[^\p{L}\p{M}\p{N}]+/gu, '_').replace(/^_|_$/g, '');
	const known = words.tool(tool) ?? words.tool(name) ?? words.tool(aliases.get(name) ?? '');
	const plain = known?.name ?? (name.replaceAll('_', ' ') || tool);
	switch (state) {
		case 'running':
			return known?.running ?? words.say('toolRunning', { tool: plain });
		case 'done':
			return known?.done ?? words.say('toolDone', { tool: plain });
		case 'noResult':
			return words.say('toolNoResult', { tool: plain });
		case 'failed':
			return words.say('toolFailed', { tool: plain });
	}
}
