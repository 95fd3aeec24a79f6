/** Writes the trees of the Markdown parser as HTML, as the parsers do with which it is compared. */
import { Blocks } from '../markdown/blocks.js';
import { decode } from '../markdown/entities.js';
import { parseInlines } from '../markdown/inlines.js';

/**
 * Returns the HTML of a text.
 *
 * @param {string} text
 * @param {{ bareLinks?: boolean }} [options] whether URLs and addresses that stand in the text as they are are links
 */
export function toHtml(text, { bareLinks = true } = {}) {
	const blocks = new Blocks();
	blocks.push(text);
	blocks.end();
	return blocks.root.children.map((block) => blockToHtml(block, { definitions: blocks.definitions, bareLinks })).join('');
}

function blockToHtml(block, context) {
	const children = () => block.children.map((child) => blockToHtml(child, context)).join('');
	switch (block.type) {
	case 'quote':
		return `<blockquote>\n${children()}</blockquote>\n`;
	case 'list': {
		const tag = block.start === undefined ? 'ul' : 'ol';
		const start = block.start === undefined || block.start === 1 ? '' : ` start="${block.start}"`;
		return `<${tag}${start}>\n${children()}</${tag}>\n`;
	}
	case 'item':
		return itemToHtml(block, context);
	case 'heading':
		return `<h${block.level}>${textOf(block, context)}</h${block.level}>\n`;
	case 'code': {
		const language = block.info.split(/\s/)[0];
		const attribute = language ? ` class="language-${escape(decode(language))}"` : '';
		return `<pre><code${attribute}>${escape(block.parts.join(''))}</code></pre>\n`;
	}
	case 'rule':
		return '<hr />\n';
	case 'table': {
		const [head, ...rows] = block.children;
		const body = rows.length === 0 ? '' : `<tbody>\n${rows.map((row) => rowToHtml(row, 'td', block, context)).join('')}</tbody>\n`;
		return `<table>\n<thead>\n${rowToHtml(head, 'th', block, context)}</thead>\n${body}</table>\n`;
	}
	}
	return `<p>${textOf(block, context)}</p>\n`;
}

function itemToHtml(item, context) {
	let html = '<li>';
	const box = item.checked === undefined ? '' : `<input ${item.checked ? 'checked="" ' : ''}disabled="" type="checkbox"> `;
	for (const [i, child] of item.children.entries()) {
		const text = i === 0 ? box : '';
		if (child.type === 'paragraph' && item.parent.tight) {
			html += text + textOf(child, context) + (i < item.children.length - 1 ? '\n' : '');
		} else {
			if (i === 0) html += '\n';
			html += blockToHtml(child, context).replace(/^<p>/, '<p>' + text);
		}
	}
	return html + '</li>\n';
}

function rowToHtml(row, tag, table, context) {
	const cells = table.aligns.map((align, i) => {
		const cell = row.children[i];
		return `<${tag}${align ? ` align="${align}"` : ''}>${cell ? textOf(cell, context) : ''}</${tag}>\n`;
	});
	return `<tr>\n${cells.join('')}</tr>\n`;
}

function textOf(block, { definitions, bareLinks }) {
	return parseInlines(block.parts.join(''), { definitions }).nodes.map((node) => inlineToHtml(node, !bareLinks)).join('');
}

function inlineToHtml(node, inLink) {
	const children = () => node.children.map((child) => inlineToHtml(child, inLink || node.type === 'link')).join('');
	switch (node.type) {
	case 'text':
		return escape(node.text);
	case 'code':
		return `<code>${escape(node.text)}</code>`;
	case 'break':
		return '<br />\n';
	case 'link':
		if (node.bare && inLink) return children();
		return `<a href="${escape(encode(node.href))}"${titleOf(node)}>${children()}</a>`;
	case 'image':
		return `<img src="${escape(encode(node.href))}" alt="${escape(plain(node))}"${titleOf(node)} />`;
	}
	return `<${node.type}>${children()}</${node.type}>`;
}

function titleOf({ title }) {
	return title ? ` title="${escape(title)}"` : '';
}

function plain(node) {
	return node.text ?? node.children?.map(plain).join('') ?? '';
}

function escape(text) {
	return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;').replaceAll('"', '&quot;');
}

/** Encodes a URL as CommonMark's examples have it. */
function encode(url) {
	return url.replaceAll(/%[\da-f]{2}|[^]/giu, (c) => c.length === 3 && c[0] === '%' || /[-\w;/?:@&=+$,.!~*'()#]/.test(c) ? c : encodeURIComponent(c.isWellFormed() ? c : '\ufffd'));
}
