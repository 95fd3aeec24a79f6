import { MarkdownView, renderMarkdown } from '/markdown.js';

const answer = document.querySelector('#answer');

/** What the page's Content-Security-Policy has forbidden. */
globalThis.violations = [];
document.addEventListener('securitypolicyviolation', ({ violatedDirective, blockedURI }) => {
	violations.push(`${violatedDirective}: ${blockedURI}`);
});

/** Begins an answer. */
globalThis.begin = () => {
	answer.replaceChildren();
	globalThis.view = new MarkdownView(answer);
};

/** Shows a text in pieces. */
globalThis.stream = (text, length) => {
	begin();
	for (let pos = 0; pos < text.length; pos += length) view.append(text.slice(pos, pos + length));
	view.end();
};

/** Shows a text at once. */
globalThis.show = (text) => answer.replaceChildren(renderMarkdown(text));

/** Returns what in the answer must not be there. */
globalThis.faults = () => Array.from(answer.querySelectorAll('*')).flatMap((element) => {
	const faults = element.getAttributeNames().filter((name) => name.startsWith('on') || name === 'id' || name === 'name' || name === 'style');
	if (!/^(A|BLOCKQUOTE|BR|BUTTON|CODE|DEL|DIV|EM|H[3-6]|HR|LI|OL|P|PRE|SPAN|STRONG|TABLE|TBODY|TD|TH|THEAD|TR|UL)$/.test(element.tagName)) faults.push('element');
	if (element.href !== undefined && !/^(https?|mailto):$/.test(element.protocol)) faults.push(element.href);
	return faults.map((fault) => `<${element.localName}>: ${fault}`);
});
