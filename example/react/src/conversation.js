// The tab keeps the conversation, so that a reload of the page does not lose it. The transport keeps the
// answer that is not complete.

const key = 'conversation';

let conversation;

export function load() {
	return conversation ??= stored() ?? { id: crypto.randomUUID(), messages: [] };
}

export function save(changed) {
	conversation = changed;
	try {
		sessionStorage.setItem(key, JSON.stringify(changed));
	} catch {
		// Without enough storage, the conversation ends with the page.
	}
}

function stored() {
	try {
		return JSON.parse(sessionStorage.getItem(key));
	} catch {
		return null;
	}
}
