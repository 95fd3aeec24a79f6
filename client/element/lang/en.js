/**
 * Forms of a text for its number `{n}`, by the plural category of the language.
 * @typedef {Partial<Record<Intl.LDMLPluralRule, string>> & { other: string }} Plural
 */

/**
 * The chat's words for a tool: a name for it, and a line while it runs and when it is done.
 * @typedef {{ name: string, running: string, done: string }} ToolStrings
 */

/**
 * The texts of the chat. `{name}` stands for a value.
 * @typedef {typeof strings} Strings
 */

const strings = {
	// The page
	title: 'Assistant',
	greeting: 'Ask a question. The answer appears here as it is written.',
	suggestions: 'Suggestions',
	newChat: 'New chat',
	newChatStarted: 'A new chat has started.',
	openChat: 'Open the chat',
	closeChat: 'Close the chat',

	// The box for the question
	yourMessage: 'Your message',
	placeholder: 'Ask a question',
	send: 'Send',
	stop: 'Stop',
	keysHint: '{send} sends, {newLine} makes a new line.',
	sendKey: 'Enter',
	newLineKey: 'Shift + Enter',
	editing: 'You are editing your last question.',
	cancelEdit: 'Cancel',

	// The conversation
	conversation: 'Conversation',
	you: 'You',
	assistant: 'Assistant',
	answering: 'The assistant is answering.',
	answerDone: 'The answer is complete.',
	newMessage: 'New message',
	jumpToNewest: 'Jump to the newest message',
	shortened: 'This conversation is long. The assistant sees only the last part of it.',

	// Buttons for a question and its answer
	copy: 'Copy',
	copied: 'Copied',
	copyFailed: 'Copying failed',
	copyAnswer: 'Copy the answer',
	askAgain: 'Ask again',
	edit: 'Edit',
	editQuestion: 'Edit the question',
	tryAgain: 'Try again',
	helpful: 'Helpful',
	notHelpful: 'Not helpful',
	thanks: 'Thank you for your feedback.',
	sources: 'Sources',

	// Parts of an answer
	code: 'Code',
	copyCode: 'Copy the code',
	table: 'Table',
	image: 'Image',

	// Tools
	toolRunning: 'Using {tool} …',
	toolDone: 'Used {tool}',
	toolNoResult: '{tool}: no result',
	toolFailed: '{tool}: failed',
	arguments: 'Arguments',
	result: 'Result',
	tools: /** @type {Record<string, ToolStrings>} */ ({
		web_search: { name: 'Web search', running: 'Searching the web …', done: 'Searched the web' },
		read_url: { name: 'Reading a page', running: 'Reading a page …', done: 'Read a page' },
		search_documents: { name: 'Document search', running: 'Searching the documents …', done: 'Searched the documents' },
		run_code: { name: 'Running code', running: 'Running code …', done: 'Ran code' },
		generate_image: { name: 'Creating an image', running: 'Creating an image …', done: 'Created an image' },
		calculator: { name: 'Calculator', running: 'Calculating …', done: 'Calculated' },
	}),

	// How an answer ended
	stopped: 'Stopped.',
	stoppedElsewhere: 'Stopped elsewhere.',
	emptyAnswer: 'The assistant sent an empty answer.',
	lengthReached: 'The answer ends here because it reached its maximum length.',
	filtered: 'The answer ends here because of a content filter.',
	stepMissing: 'The assistant ended before its answer was complete.',
	maybeUnsent: 'This message may not have been sent.',

	// Errors
	unreachable: 'The assistant cannot be reached at the moment.',
	notAllowed: 'This chat is not set up correctly. Please tell the owner of the site.',
	tooSlow: 'The assistant took too long.',
	tooMany: 'Too many messages for now.',
	busy: 'The assistant is busy.',
	tooLong: 'This message is too long for the assistant. Send a shorter one.',
	answerTooLarge: 'The answer is too large for this page.',
	blocked: 'The assistant does not accept this message. Try other words.',
	brokeOff: 'The connection to the assistant broke off.',
	sendingTooSlow: 'Sending the message took too long.',
	siteUnreachable: 'The site cannot be reached. Check your connection.',
	signedOut: 'You are not signed in any more. Reload the page to sign in again.',
	foreign: 'Something between this page and the assistant answered instead of it, such as a firewall or a sign-in page. Reload the page.',
	pageFailed: 'Something went wrong on this page.',
	didNotWork: 'That did not work: {message}',

	// Waiting
	tryAgainIn: 'Try again {time}.',
	tryAgainAuto: 'Send it again when the time is up',
	canAskNow: 'You can ask again now.',
	tryingAgainIn: 'Trying again {time}.',
	tryingAgain: 'Trying again.',
	connectionLost: 'The connection was lost.',
	reconnectingIn: 'Reconnecting {time}.',
	reconnecting: 'Reconnecting.',
	offlineUnsent: 'You are offline. The message is sent as soon as you are back online.',
	offlineAnswer: 'You are offline. The answer continues as soon as you are back online.',
	messagesLeft: /** @type {Plural} */ ({
		one: '{n} message left for now.',
		other: '{n} messages left for now.',
	}),
	moreMessagesIn: 'You can send more {time}.',

	// Stands between two sentences
	sentenceGap: ' ',
};

export default strings;
