/** @type {import('./en.js').Strings} */
const strings = {
	// Die Seite
	title: 'Assistent',
	greeting: 'Stellen Sie eine Frage. Die Antwort erscheint hier, während sie geschrieben wird.',
	suggestions: 'Vorschläge',
	newChat: 'Neuer Chat',
	newChatStarted: 'Ein neuer Chat hat begonnen.',
	openChat: 'Chat öffnen',
	closeChat: 'Chat schließen',

	// Das Feld für die Frage
	yourMessage: 'Ihre Nachricht',
	placeholder: 'Frage eingeben',
	send: 'Senden',
	stop: 'Anhalten',
	keysHint: '{send} sendet, {newLine} beginnt eine neue Zeile.',
	sendKey: 'Enter',
	newLineKey: 'Umschalt + Enter',
	editing: 'Sie bearbeiten Ihre letzte Frage.',
	cancelEdit: 'Abbrechen',

	// Die Unterhaltung
	conversation: 'Unterhaltung',
	you: 'Sie',
	assistant: 'Assistent',
	answering: 'Der Assistent antwortet.',
	answerDone: 'Die Antwort ist vollständig.',
	newMessage: 'Neue Nachricht',
	jumpToNewest: 'Zur neuesten Nachricht springen',
	shortened: 'Diese Unterhaltung ist lang. Der Assistent sieht nur ihren letzten Teil.',

	// Was man mit einer Frage und ihrer Antwort tun kann
	copy: 'Kopieren',
	copied: 'Kopiert',
	copyFailed: 'Kopieren fehlgeschlagen',
	copyAnswer: 'Antwort kopieren',
	askAgain: 'Noch einmal fragen',
	edit: 'Bearbeiten',
	editQuestion: 'Frage bearbeiten',
	tryAgain: 'Noch einmal versuchen',
	helpful: 'Hilfreich',
	notHelpful: 'Nicht hilfreich',
	thanks: 'Vielen Dank für Ihre Rückmeldung.',
	sources: 'Quellen',

	// Teile einer Antwort
	code: 'Code',
	copyCode: 'Code kopieren',
	table: 'Tabelle',
	image: 'Bild',

	// Werkzeuge
	toolRunning: '„{tool}“ wird verwendet …',
	toolDone: '„{tool}“ verwendet',
	toolNoResult: '{tool}: kein Ergebnis',
	toolFailed: '{tool}: fehlgeschlagen',
	arguments: 'Eingaben',
	result: 'Ergebnis',
	tools: {
		web_search: { name: 'Websuche', running: 'Suche im Web …', done: 'Im Web gesucht' },
		read_url: { name: 'Seite lesen', running: 'Eine Seite wird gelesen …', done: 'Eine Seite gelesen' },
		search_documents: { name: 'Dokumentensuche', running: 'Suche in den Dokumenten …', done: 'In den Dokumenten gesucht' },
		run_code: { name: 'Code ausführen', running: 'Code wird ausgeführt …', done: 'Code ausgeführt' },
		generate_image: { name: 'Bild erstellen', running: 'Ein Bild wird erstellt …', done: 'Ein Bild erstellt' },
		calculator: { name: 'Rechner', running: 'Berechnung läuft …', done: 'Berechnet' },
	},

	// Wie eine Antwort endete
	stopped: 'Angehalten.',
	stoppedElsewhere: 'An anderer Stelle angehalten.',
	emptyAnswer: 'Der Assistent hat eine leere Antwort gesendet.',
	lengthReached: 'Die Antwort endet hier, weil sie ihre Höchstlänge erreicht hat.',
	filtered: 'Die Antwort endet hier wegen eines Inhaltsfilters.',
	stepMissing: 'Der Assistent hat aufgehört, bevor die Antwort vollständig war.',
	maybeUnsent: 'Diese Nachricht wurde möglicherweise nicht gesendet.',

	// Was nicht geklappt hat
	unreachable: 'Der Assistent ist zurzeit nicht erreichbar.',
	notAllowed: 'Dieser Chat ist nicht richtig eingerichtet. Bitte geben Sie dem Betreiber der Website Bescheid.',
	tooSlow: 'Der Assistent hat zu lange gebraucht.',
	tooMany: 'Das waren vorerst zu viele Nachrichten.',
	busy: 'Der Assistent ist gerade ausgelastet.',
	tooLong: 'Diese Nachricht ist zu lang für den Assistenten. Bitte senden Sie eine kürzere.',
	answerTooLarge: 'Die Antwort ist zu groß für diese Seite.',
	blocked: 'Der Assistent nimmt diese Nachricht nicht an. Bitte formulieren Sie sie anders.',
	brokeOff: 'Die Verbindung zum Assistenten ist abgebrochen.',
	sendingTooSlow: 'Das Senden der Nachricht hat zu lange gedauert.',
	siteUnreachable: 'Die Website ist nicht erreichbar. Bitte prüfen Sie Ihre Verbindung.',
	signedOut: 'Sie sind nicht mehr angemeldet. Laden Sie die Seite neu, um sich wieder anzumelden.',
	foreign: 'Statt des Assistenten hat etwas anderes geantwortet, zum Beispiel eine Firewall oder eine Anmeldeseite. Bitte laden Sie die Seite neu.',
	pageFailed: 'Auf dieser Seite ist etwas schiefgegangen.',
	didNotWork: 'Das hat nicht geklappt: {message}',

	// Warten
	tryAgainIn: 'Bitte {time} noch einmal versuchen.',
	tryAgainAuto: 'Nach Ablauf der Zeit noch einmal senden',
	canAskNow: 'Sie können jetzt wieder fragen.',
	tryingAgainIn: 'Neuer Versuch {time}.',
	tryingAgain: 'Neuer Versuch läuft.',
	connectionLost: 'Die Verbindung wurde unterbrochen.',
	reconnectingIn: 'Sie wird {time} wiederhergestellt.',
	reconnecting: 'Die Verbindung wird wiederhergestellt.',
	offlineUnsent: 'Sie sind offline. Die Nachricht wird gesendet, sobald Sie wieder online sind.',
	offlineAnswer: 'Sie sind offline. Die Antwort geht weiter, sobald Sie wieder online sind.',
	messagesLeft: {
		one: 'Verbleibende Nachrichten: {n}.',
		other: 'Verbleibende Nachrichten: {n}.',
	},
	moreMessagesIn: 'Weitere sind {time} möglich.',

	sentenceGap: ' ',
};

export default strings;
