/** @type {import('./en.js').Strings} */
const strings = {
	// La página
	title: 'Asistente',
	greeting: 'Haz una pregunta. La respuesta aparece aquí a medida que se escribe.',
	suggestions: 'Sugerencias',
	newChat: 'Nuevo chat',
	newChatStarted: 'Ha empezado un chat nuevo.',
	openChat: 'Abrir el chat',
	closeChat: 'Cerrar el chat',

	// El cuadro de la pregunta
	yourMessage: 'Tu mensaje',
	placeholder: 'Haz una pregunta',
	send: 'Enviar',
	stop: 'Detener',
	keysHint: '{send} para enviar, {newLine} para una línea nueva.',
	sendKey: 'Intro',
	newLineKey: 'Mayús + Intro',
	editing: 'Estás editando tu última pregunta.',
	cancelEdit: 'Cancelar',

	// La conversación
	conversation: 'Conversación',
	you: 'Tú',
	assistant: 'Asistente',
	answering: 'El asistente está respondiendo.',
	answerDone: 'La respuesta está completa.',
	newMessage: 'Mensaje nuevo',
	jumpToNewest: 'Ir al mensaje más reciente',
	shortened: 'Esta conversación es larga. El asistente solo ve la última parte.',

	// Lo que se puede hacer con una pregunta y su respuesta
	copy: 'Copiar',
	copied: 'Copiado',
	copyFailed: 'No se pudo copiar',
	copyAnswer: 'Copiar la respuesta',
	askAgain: 'Volver a preguntar',
	edit: 'Editar',
	editQuestion: 'Editar la pregunta',
	tryAgain: 'Reintentar',
	helpful: 'Útil',
	notHelpful: 'Poco útil',
	thanks: 'Gracias por tu opinión.',
	sources: 'Fuentes',

	// Las partes de una respuesta
	code: 'Código',
	copyCode: 'Copiar el código',
	table: 'Tabla',
	image: 'Imagen',

	// Las herramientas
	toolRunning: 'Usando «{tool}»…',
	toolDone: 'Herramienta usada: {tool}',
	toolNoResult: '{tool}: sin resultado',
	toolFailed: '{tool}: error',
	arguments: 'Parámetros',
	result: 'Resultado',
	tools: {
		web_search: { name: 'Búsqueda en la web', running: 'Buscando en la web…', done: 'Búsqueda en la web realizada' },
		read_url: { name: 'Lectura de una página', running: 'Leyendo una página…', done: 'Página leída' },
		search_documents: { name: 'Búsqueda en los documentos', running: 'Buscando en los documentos…', done: 'Búsqueda en los documentos realizada' },
		run_code: { name: 'Ejecución de código', running: 'Ejecutando código…', done: 'Código ejecutado' },
		generate_image: { name: 'Creación de una imagen', running: 'Creando una imagen…', done: 'Imagen creada' },
		calculator: { name: 'Calculadora', running: 'Calculando…', done: 'Cálculo realizado' },
	},

	// Cómo terminó una respuesta
	stopped: 'Respuesta detenida.',
	stoppedElsewhere: 'Respuesta detenida desde otro lugar.',
	emptyAnswer: 'El asistente envió una respuesta vacía.',
	lengthReached: 'La respuesta termina aquí porque alcanzó su longitud máxima.',
	filtered: 'La respuesta termina aquí por un filtro de contenido.',
	stepMissing: 'El asistente terminó antes de completar la respuesta.',
	maybeUnsent: 'Es posible que este mensaje no se haya enviado.',

	// Lo que salió mal
	unreachable: 'No se puede contactar con el asistente en este momento.',
	notAllowed: 'Este chat no está bien configurado. Avisa al responsable del sitio.',
	tooSlow: 'El asistente tardó demasiado.',
	tooMany: 'Demasiados mensajes por ahora.',
	busy: 'El asistente está ocupado.',
	tooLong: 'Este mensaje es demasiado largo para el asistente. Envía uno más corto.',
	answerTooLarge: 'La respuesta es demasiado grande para esta página.',
	blocked: 'El asistente no acepta este mensaje. Prueba con otras palabras.',
	brokeOff: 'Se cortó la conexión con el asistente.',
	sendingTooSlow: 'El envío del mensaje tardó demasiado.',
	siteUnreachable: 'No se puede acceder al sitio. Comprueba tu conexión.',
	signedOut: 'Tu sesión ha terminado. Recarga la página para volver a iniciarla.',
	foreign: 'Algo respondió en lugar del asistente, como un cortafuegos o una página de inicio de sesión. Recarga la página.',
	pageFailed: 'Algo salió mal en esta página.',
	didNotWork: 'No ha funcionado: {message}',

	// La espera
	tryAgainIn: 'Inténtalo de nuevo {time}.',
	tryAgainAuto: 'Volver a enviarlo cuando pase ese tiempo',
	canAskNow: 'Ya puedes volver a preguntar.',
	tryingAgainIn: 'Nuevo intento {time}.',
	tryingAgain: 'Intentándolo de nuevo.',
	connectionLost: 'Se perdió la conexión.',
	reconnectingIn: 'Se volverá a conectar {time}.',
	reconnecting: 'Conectando de nuevo.',
	offlineUnsent: 'No tienes conexión. El mensaje se enviará en cuanto la recuperes.',
	offlineAnswer: 'No tienes conexión. La respuesta continuará en cuanto la recuperes.',
	messagesLeft: {
		one: 'Te queda {n} mensaje por ahora.',
		other: 'Te quedan {n} mensajes por ahora.',
	},
	moreMessagesIn: 'Podrás enviar más {time}.',

	sentenceGap: ' ',
};

export default strings;
