import english from './lang/en.js';

/** @typedef {import('./lang/en.js').Strings} Strings */
/** @typedef {import('./lang/en.js').Plural} Plural */
/** @typedef {import('./lang/en.js').ToolStrings} ToolStrings */

/** The key of a text. @typedef {Exclude<keyof Strings, 'tools'>} Key */

/**
 * Texts of a site owner's own, instead of those of the language.
 * @typedef {Partial<Omit<Strings, 'tools'>> & { tools?: Record<string, Partial<ToolStrings>> }} Overrides
 */

/** The languages besides English. A page loads only its own. @type {Record<string, () => Promise<{ default: Strings }>>} */
const languages = {
	ar: () => import('./lang/ar.js'),
	de: () => import('./lang/de.js'),
	es: () => import('./lang/es.js'),
	fr: () => import('./lang/fr.js'),
	ja: () => import('./lang/ja.js'),
};

/** The scripts that are written from right to left. */
const rightToLeft = new Set(['Adlm', 'Arab', 'Hebr', 'Mand', 'Nkoo', 'Rohg', 'Samr', 'Syrc', 'Thaa']);

/** The texts of the chat, in one language. */
export class Words {
	/** The language, as a BCP 47 tag. */
	lang;

	/** The direction of its script. @type {'ltr' | 'rtl'} */
	dir;

	#language;
	#strings;
	#number;
	#plural;
	#relative;

	/**
	 * @param {Intl.Locale} locale the language of the texts, and the region whose formats are used
	 * @param {Required<Overrides>} strings
	 */
	constructor(locale, strings) {
		this.lang = locale.toString();
		this.#language = locale.language;
		this.dir = rightToLeft.has(locale.maximize().script ?? '') ? 'rtl' : 'ltr';
		this.#strings = strings;
		this.#number = new Intl.NumberFormat(locale);
		this.#plural = new Intl.PluralRules(locale);
		this.#relative = new Intl.RelativeTimeFormat(locale);
	}

	/**
	 * Returns a text. If it has plural forms, the number `n` chooses one.
	 *
	 * @param {Key} key
	 * @param {Record<string, string | number>} [values] for the text's placeholders
	 */
	say(key, values) {
		return this.parts(key, values).join('');
	}

	/**
	 * Returns a text in pieces, so that a value can be an element, such as a `<kbd>`.
	 *
	 * @template {string | number | Node} T
	 * @param {Key} key
	 * @param {Record<string, T>} [values]
	 * @returns {(string | Exclude<T, number>)[]}
	 */
	parts(key, values = {}) {
		const pieces = this.#form(this.#strings[key], values.n).split(/\{(\w+)\}/);
		return pieces.map((piece, i) => i % 2 === 0 ? piece : this.#value(piece, values[piece])).filter((piece) => piece !== '');
	}

	/**
	 * Returns what the chat says about a tool, if it knows the tool's name.
	 *
	 * @param {string} name
	 * @returns {Partial<ToolStrings> | undefined}
	 */
	tool(name) {
		return Object.hasOwn(this.#strings.tools, name) ? this.#strings.tools[name] : undefined;
	}

	/**
	 * Reports whether the texts are in a language.
	 *
	 * @param {string} lang a BCP 47 tag
	 */
	isIn(lang) {
		return localeOf(lang).language === this.#language;
	}

	/** @param {number} value */
	number(value) {
		return this.#number.format(value);
	}

	/**
	 * Says how far away a time is, such as "in 5 seconds". The unit is the largest one that is still precise enough.
	 *
	 * @param {number} seconds
	 */
	fromNow(seconds) {
		if (seconds < 120) return this.#relative.format(Math.max(1, Math.ceil(seconds)), 'second');
		if (seconds < 120 * 60) return this.#relative.format(Math.ceil(seconds / 60), 'minute');
		if (seconds < 48 * 60 * 60) return this.#relative.format(Math.ceil(seconds / 3600), 'hour');
		return this.#relative.format(Math.ceil(seconds / 86_400), 'day');
	}

	/**
	 * @param {string | Plural} text
	 * @param {unknown} n
	 */
	#form(text, n) {
		if (typeof text === 'string') return text;
		return (typeof n === 'number' && text[this.#plural.select(n)]) || text.other;
	}

	/**
	 * @template {string | number | Node} T
	 * @param {string} name
	 * @param {T | undefined} value
	 */
	#value(name, value) {
		if (value === undefined) return `{${name}}`;
		if (typeof value === 'number') return this.number(value);
		// The server's text may be in another script. Isolated, it leaves the order of the words around it alone.
		if (typeof value === 'string' && this.dir === 'rtl') return `\u2068${value}\u2069`;
		return /** @type {Exclude<T, number>} */ (value);
	}
}

/**
 * Loads what the chat says in a language. It is English if the language is unknown or cannot be loaded.
 *
 * @param {string} lang a BCP 47 tag, such as `de-AT`
 * @param {Overrides} [overrides] With all texts, they may be of a language that is not here.
 * @returns {Promise<Words>}
 */
export async function loadWords(lang, overrides = {}) {
	const own = Object.fromEntries(Object.entries(overrides).filter(([, text]) => text != null));
	const wanted = localeOf(lang);
	const loaded = Object.hasOwn(languages, wanted.language) ? await load(wanted.language) : undefined;
	const strings = loaded ?? english;
	const isKnown = loaded || wanted.language === 'en' || Object.keys(english).every((key) => key === 'tools' || key in own);
	return new Words(isKnown ? wanted : new Intl.Locale('en'), { ...strings, ...own, tools: mergeTools(strings.tools, overrides.tools) });
}

/**
 * Adds the lines of a site owner's own to those of the language, line by line.
 *
 * @param {Strings['tools']} tools
 * @param {Overrides['tools']} [own]
 */
function mergeTools(tools, own = {}) {
	return Object.fromEntries(Object.keys({ ...tools, ...own }).map((name) => [name, { ...tools[name], ...own[name] }]));
}

/**
 * A chat in English is better than none, so a file that cannot be loaded is no error.
 *
 * @param {string} language
 */
function load(language) {
	return languages[language]().then((module) => module.default, () => undefined);
}

/** @param {string} lang */
function localeOf(lang) {
	try {
		return new Intl.Locale(lang.replaceAll('_', '-'));
	} catch {
		return new Intl.Locale('en');
	}
}
