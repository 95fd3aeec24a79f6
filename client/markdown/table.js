/** @typedef {'' | 'left' | 'center' | 'right'} Align */

const delimiterRow = /^\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$/;

/**
 * Reads the row between a table's header and its body.
 *
 * @param {string} line
 * @returns {Align[] | undefined} each column's alignment
 */
export function readDelimiterRow(line) {
	if (!/[|:]/.test(line) || !delimiterRow.test(line)) return undefined;
	return splitRow(line).map((cell) => {
		const [left, right] = [cell.startsWith(':'), cell.endsWith(':')];
		if (left && right) return 'center';
		if (right) return 'right';
		return left ? 'left' : '';
	});
}

/**
 * Splits a row at its pipes. A pipe behind a backslash belongs to a cell, even in code.
 *
 * @param {string} line
 * @returns {string[]}
 */
export function splitRow(line) {
	line = line.trim();
	const cells = [];
	let start = line.startsWith('|') ? 1 : 0;
	for (let pos = start; pos < line.length; pos++) {
		if (line[pos] === '\\') pos++;
		else if (line[pos] === '|') {
			cells.push(line.slice(start, pos));
			start = pos + 1;
		}
	}
	if (start < line.length) cells.push(line.slice(start));
	return cells.map((cell) => cell.replaceAll('\\|', '|').trim());
}
