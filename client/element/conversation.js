import { ChatError } from '../illumichat.js';
import { button, create, picture } from './dom.js';
import { endingOf } from './ending.js';
import { explainPause, explainReconnect } from './explain.js';
import { pacer } from './frames.js';
import { TurnView } from './turn.js';

/** @typedef {import('../illumichat.js').Chat} Chat */
/** @typedef {import('../illumichat.js').Turn} Turn */
/** @typedef {import('../illumichat.js').SendOptions} SendOptions */

/**
 * @typedef {object} ConversationOptions
 * @property {import('./words.js').Words} words
 * @property {string} [lang] the language of questions and answers, if it is not that of the words
 * @property {(text: string) => void} announce
 * @property {() => void} onChange is called when an answer begins or ends, and when there is something to show
 * @property {() => void} onAgain is called when the visitor wants to ask the last question again
 * @property {(text: string) => void} onEdit lets the visitor edit the last question
 * @property {(name: string, detail: object) => void} emit tells the page
 */

/** Shows a chat in a log, and asks its questions. */
export class Conversation {
	/** The log is silent while it grows: the announcer says each sentence once it is complete. */
	element = create('div', { id: 'log', role: 'log', 'aria-live': 'off' });

	/** Whether an answer is on its way. */
	answering = false;

	#chat;
	#options;

	/** Closes the connection of the latest answer. */
	#reading = new AbortController();

	/** @type {TurnView | undefined} */
	#last;

	/**
	 * @param {Chat} chat
	 * @param {ConversationOptions} options
	 */
	constructor(chat, options) {
		this.#chat = chat;
		this.#options = options;
	}

	/** Whether nothing was asked. */
	get isEmpty() {
		return this.element.childElementCount === 0;
	}

	/** Shows what was said before, and continues the answer that was being written. */
	async showEarlier() {
		const mine = this.#readAnother();
		const open = this.#chat.openQuestion !== undefined ? this.#chat.turns.at(-1) : undefined;
		const pace = pacer();
		for (const turn of this.#chat.turns) {
			if (turn === open) continue;
			await this.#showKept(turn);
			await pace();
			if (mine.signal.aborted) return;
		}
		if (open) this.#read(textOf(open), (options) => this.#chat.resume(options), open.events);
	}

	/** @param {string} content */
	ask(content) {
		this.#options.emit('question', { content });
		this.#read(content, (options) => this.#chat.send(content, options));
	}

	/**
	 * Asks the last question again.
	 *
	 * @param {string} [content] another question instead
	 */
	askAgain(content) {
		const turn = this.#chat.turns.at(-1);
		if (!turn || this.answering) return;
		const question = content ?? textOf(turn);
		this.#forgetLast()?.element.remove();
		this.#options.emit('question', { content: question });
		this.#read(question, (options) => this.#chat.retry({ ...options, content }));
	}

	/** Leaves the answer, which goes on for a while at a site with `resume`. */
	leave() {
		this.#forgetLast();
		this.#reading.abort();
		this.#chat.close();
	}

	/** Begins a new conversation. */
	clear() {
		this.#readAnother();
		this.#forgetLast();
		this.#chat.reset();
		this.element.replaceChildren();
		this.#setAnswering(false);
	}

	/** Takes away what can be done with the last turn, such as a countdown that would ask again. */
	#forgetLast() {
		const last = this.#last;
		this.#last = undefined;
		last?.retire();
		return last;
	}

	/** Closes the connection of the latest answer, which may be open after its finish, and returns the controller of the next. */
	#readAnother() {
		this.#reading.abort();
		this.#reading = new AbortController();
		return this.#reading;
	}

	/**
	 * Shows a question, and its answer until it ends.
	 *
	 * @param {string} content
	 * @param {(options: SendOptions) => ReturnType<Chat['send']>} ask asks the question
	 * @param {readonly import('../illumichat.js').ChatEvent[]} known what is known of the answer, which is about to come again
	 */
	async #read(content, ask, known = []) {
		const { words, announce } = this.#options;
		const view = this.#addTurn(content, known.length === 0);
		for (const event of known) view.answer.show(event);
		let next = known.length > 0 ? view.newAnswer() : view.answer;

		const mine = this.#readAnother();
		this.#setAnswering(true);
		announce(words.say('answering'));

		let settled = false;

		/** @param {unknown} [thrown] */
		const settle = async (thrown) => {
			// The page may have begun to show the conversation anew.
			if (settled || mine.signal.aborted) return;
			settled = true;
			if (next !== view.answer && next.text) view.replace(next);
			const turn = /** @type {Turn} */ (this.#chat.turns.at(-1));
			this.#setAnswering(false);
			announce(await this.#end(view, turn, thrown) || words.say('answerDone'));
			this.#options.emit('answer', { turn });
		};

		/** @type {SendOptions['onRetry']} */
		const onRetry = (err, wait) => {
			const { why, then } = explainPause(words, err, wait);
			view.answer.wait(why, wait, then);
			announce(why);
		};

		/** @type {SendOptions['onReconnect']} */
		const onReconnect = (_err, wait) => {
			const { why, then } = explainReconnect(words, wait);
			// There may be many attempts, too many to be read out.
			if (!view.answer.waits) announce(why);
			view.answer.wait(why, wait, then);
		};

		const onShorten = () => {
			// From then on it holds for each question.
			if (this.element.querySelector('.note')) return;
			view.answer.note(words.say('shortened'));
			announce(words.say('shortened'));
		};

		try {
			for await (const event of ask({ signal: mine.signal, onRetry, onReconnect, onShorten })) {
				if (settled) continue;
				view.answer.stopWaiting();
				next.show(event);
				// An answer that comes again replaces what is shown when it has come as far.
				if (next !== view.answer && next.text.length >= view.answer.text.length) view.replace(next);
				// After a finish that ends only a step, the turn is still open.
				if (event.type === 'finish' && this.#chat.turns.at(-1)?.state !== 'open') settle();
			}
			settle();
		} catch (err) {
			if (!mine.signal.aborted && !(err instanceof ChatError)) console.error(err);
			settle(err);
		}
	}

	/**
	 * Shows a turn of before.
	 *
	 * @param {Turn} kept
	 */
	async #showKept(kept) {
		const view = this.#addTurn(textOf(kept), false);
		for (const event of kept.events) view.answer.show(event);
		await this.#end(view, kept);
	}

	/**
	 * Adds a turn to the log. Only the latest question can be asked again.
	 *
	 * @param {string} content
	 * @param {boolean} live
	 */
	#addTurn(content, live) {
		this.#last?.retire();
		this.#last = new TurnView(content, this.#options, live);
		this.element.append(this.#last.element);
		return this.#last;
	}

	/**
	 * Shows how an answer ended, and returns what a screen reader says about it.
	 *
	 * @param {TurnView} view
	 * @param {Turn} turn
	 * @param {unknown} [thrown] the exception that ended it, if that is known
	 */
	async #end(view, turn, thrown) {
		const { words, emit, onChange } = this.#options;
		const ending = endingOf(words, turn, thrown);
		await view.end(ending, {
			again: () => this.#options.onAgain(),
			feedback: (helpful) => emit('feedback', { turn, helpful }),
		});
		if (view === this.#last) {
			view.allowEdit(button('edit', words.say('editQuestion'), () => this.#options.onEdit(textOf(turn)), picture('edit')));
		} else {
			view.retire();
		}
		onChange();
		return ending.line;
	}

	/** @param {boolean} answering */
	#setAnswering(answering) {
		this.answering = answering;
		this.element.setAttribute('aria-busy', String(answering));
		this.#options.onChange();
	}
}

/**
 * Returns the text of a question. This page asks nothing else.
 *
 * @param {Turn} turn
 */
function textOf({ content }) {
	return typeof content === 'string' ? content : JSON.stringify(content);
}
