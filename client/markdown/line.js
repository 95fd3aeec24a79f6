/** A line of Markdown while its blocks take what is theirs from its start. A tab reaches to the next multiple of 4 columns. */
export class Line {
	/** Where the first character is that is neither space nor tab. */
	next = 0;

	/** How many columns of space are before it. */
	indent = 0;

	#pos = 0;
	#column = 0;

	/** Whether a part of the tab at #pos is taken. */
	#inTab = false;

	/** @param {string} text without its line end */
	constructor(text) {
		this.text = text;
		this.#measure();
	}

	/** Whether nothing but space is left. */
	get blank() {
		return this.next === this.text.length;
	}

	/** Returns the rest of the line. A tab that is taken in part leaves spaces. */
	get rest() {
		if (!this.#inTab) return this.text.slice(this.#pos);
		return ' '.repeat(4 - this.#column % 4) + this.text.slice(this.#pos + 1);
	}

	/** Returns the rest of the line, without the space before it. */
	get content() {
		return this.text.slice(this.next);
	}

	/**
	 * Matches a sticky expression after the space.
	 *
	 * @param {RegExp} expression
	 */
	match(expression) {
		expression.lastIndex = this.next;
		return expression.exec(this.text);
	}

	/**
	 * Takes columns of space, as far as there are any.
	 *
	 * @param {number} columns
	 */
	takeSpace(columns) {
		columns = Math.min(columns, this.indent);
		while (columns > 0) {
			const width = this.text[this.#pos] === '\t' ? 4 - this.#column % 4 : 1;
			this.#inTab = width > columns;
			if (!this.#inTab) this.#pos++;
			this.#column += Math.min(width, columns);
			columns -= width;
		}
		this.#measure();
	}

	/**
	 * Takes the space, and characters after it.
	 *
	 * @param {number} count
	 */
	take(count) {
		this.takeSpace(this.indent);
		this.#pos += count;
		this.#column += count;
		this.#measure();
	}

	#measure() {
		let column = this.#column;
		for (this.next = this.#pos; ; this.next++) {
			const c = this.text[this.next];
			if (c === ' ') column++;
			else if (c === '\t') column += 4 - column % 4;
			else break;
		}
		this.indent = column - this.#column;
	}
}
