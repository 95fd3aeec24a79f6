/**
 * Drives a Firefox with one tab. Its arguments are the program, and a script to run in each page before the page's own. It reads
 * commands, each a line of JSON with one name and value, and prints a line of JSON for each: `value`, or the `error` of the
 * command.
 */
import { readFile } from 'node:fs/promises';
import { createInterface } from 'node:readline';

import puppeteer from 'puppeteer-core';

const browser = await puppeteer.launch({ browser: 'firefox', executablePath: process.argv[2] });
const page = await browser.newPage();
await page.evaluateOnNewDocument(await readFile(process.argv[3], 'utf8'));

/** The exceptions of the pages, and what they have written to the console as an error. */
const wrongs = [];
page.on('pageerror', (err) => wrongs.push(String(err)));
page.on('console', (message) => {
	if (message.type() === 'error') wrongs.push(message.text());
});

const commands = {
	open: async (url) => { await page.goto(url); },
	reload: async () => { await page.reload(); },
	back: async () => { await page.goBack(); },
	offline: async (is) => { await page.setOfflineMode(is); },
	run: (script) => page.evaluate(script),
	wrongs: () => wrongs,
};

for await (const line of createInterface({ input: process.stdin })) {
	const [[name, value]] = Object.entries(JSON.parse(line));
	try {
		console.log(JSON.stringify({ value: await commands[name](value) }));
	} catch (err) {
		console.log(JSON.stringify({ error: String(err) }));
	}
}
await browser.close();
