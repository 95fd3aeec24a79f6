/** The chat speaks the language of its page, and the site's owner can change what it says. */
import assert from 'node:assert/strict';
import { cpSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';

import { explainLimit, explainWait } from '../element/explain.js';
import { describeTool } from '../element/tools.js';
import { loadWords } from '../element/words.js';

const tags = readdirSync(new URL('../element/lang', import.meta.url)).map((file) => file.replace('.js', ''));
const languages = await Promise.all(tags.map(async (tag) => [tag, (await import(`../element/lang/${tag}.js`)).default]));
const english = Object.fromEntries(languages).en;

/** All texts of a language by their paths, such as `messagesLeft.one`. */
function textsOf(strings) {
	return Object.entries(strings).flatMap(([key, value]) => typeof value === 'string' ? [[key, value]] : textsOf(value).map(([rest, text]) => [`${key}.${rest}`, text]));
}

const isPlural = (value) => typeof value === 'object' && 'other' in value;
const placeholders = (text) => (text.match(/\{\w+\}/g) ?? []).sort();

for (const [tag, strings] of languages) {
	test(`${tag} has each text of the chat`, () => {
		assert.deepEqual(Object.keys(strings), Object.keys(english));
		assert.deepEqual(Object.keys(strings.tools), Object.keys(english.tools));
		for (const lines of Object.values(strings.tools)) assert.deepEqual(Object.keys(lines), ['name', 'running', 'done']);
		for (const [path, text] of textsOf(strings)) {
			if (path === 'sentenceGap') continue;
			assert.notEqual(text, '', path);
			assert.equal(text, text.trim(), path);
		}
	});

	test(`${tag} has a form for each number`, () => {
		const categories = new Intl.PluralRules(tag).resolvedOptions().pluralCategories;
		for (const [key, forms] of Object.entries(strings).filter(([, value]) => isPlural(value))) {
			assert.deepEqual(Object.keys(forms).filter((form) => !categories.includes(form)), [], key);
			for (const n of [0, 1, 2, 3, 11, 100]) {
				assert.ok(forms[new Intl.PluralRules(tag).select(n)], `${key} for ${n}`);
			}
		}
	});

	test(`${tag} names the values of each text`, () => {
		for (const [key, value] of Object.entries(english)) {
			if (key === 'tools') continue;
			const want = placeholders(isPlural(value) ? value.other : value);
			if (!isPlural(value)) assert.deepEqual(placeholders(strings[key]), want, key);
			else assert.deepEqual(placeholders(strings[key].other), want, key);
		}
		// A form for one number may have the number in words.
		for (const [path, text] of textsOf(strings)) {
			const rest = text.replace(/\{(n|tool|time|message|send|newLine)\}/g, '');
			assert.doesNotMatch(rest, /[{}]/, path);
		}
	});

	if (tag !== 'en') {
		test(`${tag} is translated`, () => {
			// Some words are the same, but no line is. Some keyboards have English keys.
			const before = Object.fromEntries(textsOf(english));
			const same = textsOf(strings).filter(([path, text]) => /\s/.test(text.trim()) && text === before[path] && path !== 'newLineKey');
			assert.deepEqual(same, []);
		});
	}
}

test('the chat says each text somewhere', () => {
	const files = readdirSync(new URL('../element', import.meta.url)).filter((file) => file.endsWith('.js')).map((file) => `element/${file}`);
	const scripts = ['element.js', ...files].map((file) => readFileSync(new URL(`../${file}`, import.meta.url), 'utf8')).join('\n');
	const unused = Object.keys(english).filter((key) => key !== 'tools' && !scripts.includes(`'${key}'`));
	assert.deepEqual(unused, []);
});

for (const [tag, lang, dir, send] of [
	['de', 'de', 'ltr', 'Senden'],
	['de-AT', 'de-AT', 'ltr', 'Senden'],
	['fr_CA', 'fr-CA', 'ltr', 'Envoyer'],
	['ES', 'es', 'ltr', 'Enviar'],
	['ja-JP', 'ja-JP', 'ltr', '送信'],
	['ar', 'ar', 'rtl', 'إرسال'],
	['en-GB', 'en-GB', 'ltr', 'Send'],
	['nl', 'en', 'ltr', 'Send'],
	['he', 'en', 'ltr', 'Send'],
	['', 'en', 'ltr', 'Send'],
	['not a language', 'en', 'ltr', 'Send'],
	['constructor', 'en', 'ltr', 'Send'],
]) {
	test(`for a page in "${tag}", the chat speaks ${lang}`, async () => {
		const words = await loadWords(tag);
		assert.deepEqual([words.lang, words.dir, words.say('send')], [lang, dir, send]);
	});
}

test('a language that cannot be loaded leaves the chat in English', async (t) => {
	const folder = mkdtempSync(join(tmpdir(), 'words-'));
	t.after(() => rmSync(folder, { recursive: true }));
	cpSync(new URL('../element', import.meta.url), folder, { recursive: true });
	rmSync(join(folder, 'lang', 'ja.js'));
	const copy = await import(join(folder, 'words.js'));
	const words = await copy.loadWords('ja');
	assert.deepEqual([words.lang, words.say('send')], ['en', 'Send']);
});

test('the owner of a site can change a text, and not lose one', async () => {
	const words = await loadWords('de', { send: 'Los', stop: undefined });
	assert.deepEqual([words.say('send'), words.say('stop'), words.lang], ['Los', 'Anhalten', 'de']);
});

test('texts of another language have its direction and its forms', async () => {
	const own = { ...english, tools: undefined, send: 'שליחה', messagesLeft: { one: 'אחת', two: 'שתיים', other: '{n}' } };
	const words = await loadWords('he', own);
	assert.deepEqual([words.lang, words.dir, words.say('send'), words.say('messagesLeft', { n: 2 })], ['he', 'rtl', 'שליחה', 'שתיים']);
});

test('numbers choose their forms and are written as the language writes them', async () => {
	const left = async (tag, n) => (await loadWords(tag)).say('messagesLeft', { n });
	assert.equal(await left('en', 1), '1 message left for now.');
	assert.equal(await left('en', 1200), '1,200 messages left for now.');
	assert.equal(await left('de', 1200), 'Verbleibende Nachrichten: 1.200.');
	assert.equal(await left('fr', 0), 'Il vous reste 0 message pour le moment.');
	assert.equal(await left('ar', 2), 'تبقّت رسالتان في الوقت الحالي.');
	// French has a category for millions, which no text needs.
	assert.equal(await left('fr', 1_000_000), `Il vous reste ${new Intl.NumberFormat('fr').format(1_000_000)} messages pour le moment.`);
});

test('a text without its value shows the placeholder', async () => {
	assert.equal((await loadWords('en')).say('tryAgainIn'), 'Try again {time}.');
});

test('a value is not taken for a pattern', async () => {
	assert.equal((await loadWords('en')).say('didNotWork', { message: '$& {message}' }), 'That did not work: $& {message}');
});

test("in Arabic, the server's own words do not mix up the line", async () => {
	assert.equal((await loadWords('ar')).say('didNotWork', { message: 'no plan.' }), 'لم ينجح ذلك: \u2068no plan.\u2069');
});

test('a text comes in pieces, so that elements can stand in it', async () => {
	const key = { name: 'an element' };
	const words = await loadWords('de');
	assert.deepEqual(words.parts('keysHint', { send: key, newLine: 'X' }), [key, ' sendet, ', 'X', ' beginnt eine neue Zeile.']);
});

for (const [seconds, want] of [
	[0, 'in 1 second'],
	[0.2, 'in 1 second'],
	[42, 'in 42 seconds'],
	[119, 'in 119 seconds'],
	[120, 'in 2 minutes'],
	[3601, 'in 61 minutes'],
	[7200, 'in 2 hours'],
	[172_800, 'in 2 days'],
]) {
	test(`${seconds} seconds are "${want}"`, async () => {
		assert.equal((await loadWords('en')).fromNow(seconds), want);
	});
}

test('a wait ends when nothing is left of it', async () => {
	const words = await loadWords('en');
	assert.deepEqual([90, 1, 0, -1].map((seconds) => explainWait(words, seconds)),
		['Try again in 90 seconds.', 'Try again in 1 second.', 'You can ask again now.', 'You can ask again now.']);
});

test('what is left of a limit is said together with when there is more', async () => {
	assert.equal(explainLimit(await loadWords('en'), 3, 120), '3 messages left for now. You can send more in 2 minutes.');
	assert.equal(explainLimit(await loadWords('ja'), 3, 120), '今送信できるメッセージは残り 3 件です。2 分後にまた送信できるようになります。');
});

for (const [tool, want] of Object.entries({
	web_search: 'Searching the web …',
	WebSearch: 'Searching the web …',
	'brave-search': 'Searching the web …',
	fetch: 'Reading a page …',
	code_interpreter: 'Running code …',
	find_order: 'Using find order …',
	findOrder: 'Using find order …',
	'mcp.find-order2': 'Using mcp find order2 …',
	注文検索: 'Using 注文検索 …',
	constructor: 'Using constructor …',
	'***': 'Using *** …',
	'': 'Using  …',
})) {
	test(`the tool "${tool}" is described in words`, async () => {
		assert.equal(describeTool(await loadWords('en'), tool, 'running'), want);
	});
}

test('each state of a tool has a line', async () => {
	const words = await loadWords('de');
	const lines = (tool) => ['running', 'done', 'noResult', 'failed'].map((state) => describeTool(words, tool, state));
	assert.deepEqual(lines('web_search'), ['Suche im Web …', 'Im Web gesucht', 'Websuche: kein Ergebnis', 'Websuche: fehlgeschlagen']);
	assert.deepEqual(lines('find_order'), ['„find order“ wird verwendet …', '„find order“ verwendet', 'find order: kein Ergebnis', 'find order: fehlgeschlagen']);
});

test('the owner of a site can say what tools do', async () => {
	const words = await loadWords('en', { tools: { find_order: { running: 'Looking for your order …' }, web_search: { name: 'Catalogue', running: 'Reading the catalogue …' } } });
	const lines = (tool) => ['running', 'done', 'noResult'].map((state) => describeTool(words, tool, state));
	assert.deepEqual(lines('find_order'), ['Looking for your order …', 'Used find order', 'find order: no result']);
	assert.deepEqual(lines('findOrder'), lines('find_order'));
	assert.deepEqual(lines('google_search'), ['Reading the catalogue …', 'Searched the web', 'Catalogue: no result']);
	assert.deepEqual(lines('read_url'), ['Reading a page …', 'Read a page', 'Reading a page: no result']);
});
