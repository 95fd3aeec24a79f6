/** @type {import('./en.js').Strings} */
const strings = {
	// La page
	title: 'Assistant',
	greeting: 'Posez une question. La réponse s’affiche ici au fur et à mesure.',
	suggestions: 'Suggestions',
	newChat: 'Nouvelle conversation',
	newChatStarted: 'Une nouvelle conversation a commencé.',
	openChat: 'Ouvrir la conversation',
	closeChat: 'Fermer la conversation',

	// Le champ de la question
	yourMessage: 'Votre message',
	placeholder: 'Posez une question',
	send: 'Envoyer',
	stop: 'Arrêter',
	keysHint: '{send} pour envoyer, {newLine} pour aller à la ligne.',
	sendKey: 'Entrée',
	newLineKey: 'Maj + Entrée',
	editing: 'Vous modifiez votre dernière question.',
	cancelEdit: 'Annuler',

	// La conversation
	conversation: 'Conversation',
	you: 'Vous',
	assistant: 'Assistant',
	answering: 'L’assistant répond.',
	answerDone: 'La réponse est terminée.',
	newMessage: 'Nouveau message',
	jumpToNewest: 'Aller au dernier message',
	shortened: 'Cette conversation est longue. L’assistant n’en voit que la fin.',

	// Ce que l’on peut faire d’une question et de sa réponse
	copy: 'Copier',
	copied: 'Copié',
	copyFailed: 'Échec de la copie',
	copyAnswer: 'Copier la réponse',
	askAgain: 'Reposer la question',
	edit: 'Modifier',
	editQuestion: 'Modifier la question',
	tryAgain: 'Réessayer',
	helpful: 'Utile',
	notHelpful: 'Pas utile',
	thanks: 'Merci pour votre avis.',
	sources: 'Sources',

	// Les éléments d’une réponse
	code: 'Code',
	copyCode: 'Copier le code',
	table: 'Tableau',
	image: 'Image',

	// Les outils
	toolRunning: 'Utilisation de « {tool} »…',
	toolDone: 'Outil utilisé : {tool}',
	toolNoResult: '{tool} : aucun résultat',
	toolFailed: '{tool} : échec',
	arguments: 'Paramètres',
	result: 'Résultat',
	tools: {
		web_search: { name: 'Recherche sur le Web', running: 'Recherche sur le Web…', done: 'Recherche sur le Web effectuée' },
		read_url: { name: 'Lecture d’une page', running: 'Lecture d’une page…', done: 'Page lue' },
		search_documents: { name: 'Recherche dans les documents', running: 'Recherche dans les documents…', done: 'Recherche dans les documents effectuée' },
		run_code: { name: 'Exécution de code', running: 'Exécution de code…', done: 'Code exécuté' },
		generate_image: { name: 'Création d’une image', running: 'Création d’une image…', done: 'Image créée' },
		calculator: { name: 'Calculatrice', running: 'Calcul en cours…', done: 'Calcul effectué' },
	},

	// Comment une réponse s’est terminée
	stopped: 'Réponse arrêtée.',
	stoppedElsewhere: 'Réponse arrêtée depuis un autre endroit.',
	emptyAnswer: 'L’assistant a envoyé une réponse vide.',
	lengthReached: 'La réponse s’arrête ici, car elle a atteint sa longueur maximale.',
	filtered: 'La réponse s’arrête ici à cause d’un filtre de contenu.',
	stepMissing: 'L’assistant s’est arrêté avant la fin de sa réponse.',
	maybeUnsent: 'Ce message n’a peut-être pas été envoyé.',

	// Ce qui n’a pas marché
	unreachable: 'L’assistant est injoignable pour le moment.',
	notAllowed: 'Ce chat n’est pas configuré correctement. Merci de prévenir le responsable du site.',
	tooSlow: 'L’assistant a mis trop de temps à répondre.',
	tooMany: 'Trop de messages pour le moment.',
	busy: 'L’assistant est très sollicité.',
	tooLong: 'Ce message est trop long pour l’assistant. Envoyez un message plus court.',
	answerTooLarge: 'La réponse est trop volumineuse pour cette page.',
	blocked: 'L’assistant n’accepte pas ce message. Essayez de le formuler autrement.',
	brokeOff: 'La connexion à l’assistant a été interrompue.',
	sendingTooSlow: 'L’envoi du message a pris trop de temps.',
	siteUnreachable: 'Le site est injoignable. Vérifiez votre connexion.',
	signedOut: 'Vous n’êtes plus connecté. Rechargez la page pour vous reconnecter.',
	foreign: 'Autre chose a répondu à la place de l’assistant, par exemple un pare-feu ou une page de connexion. Rechargez la page.',
	pageFailed: 'Un problème est survenu sur cette page.',
	didNotWork: 'Cela n’a pas fonctionné : {message}',

	// L’attente
	tryAgainIn: 'Réessayez {time}.',
	tryAgainAuto: 'Renvoyer à la fin du délai',
	canAskNow: 'Vous pouvez à nouveau poser votre question.',
	tryingAgainIn: 'Nouvelle tentative {time}.',
	tryingAgain: 'Nouvelle tentative en cours.',
	connectionLost: 'La connexion a été perdue.',
	reconnectingIn: 'Reconnexion {time}.',
	reconnecting: 'Reconnexion en cours.',
	offlineUnsent: 'Vous êtes hors ligne. Le message sera envoyé dès que vous serez de nouveau en ligne.',
	offlineAnswer: 'Vous êtes hors ligne. La réponse reprendra dès que vous serez de nouveau en ligne.',
	messagesLeft: {
		one: 'Il vous reste {n} message pour le moment.',
		other: 'Il vous reste {n} messages pour le moment.',
	},
	moreMessagesIn: 'Vous pourrez en envoyer d’autres {time}.',

	sentenceGap: ' ',
};

export default strings;
