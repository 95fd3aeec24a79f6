/**
 * Where a conversation is kept over a reload, such as `sessionStorage` with its methods renamed.
 * @typedef {object} Store
 * @property {(key: string) => string | null | undefined} get
 * @property {(key: string, value: string) => void} set
 * @property {(key: string) => void} remove
 */

/** The storage of the tab. It throws where the visitor allows none. @type {Store} */
export const tabStore = {
	get: (key) => sessionStorage.getItem(key),
	set: (key, value) => sessionStorage.setItem(key, value),
	remove: (key) => sessionStorage.removeItem(key),
};

/** One value in a store. It belongs to one visitor of one chat, and nobody else reads it. */
export class Kept {
	#store;
	#key;
	#owner;

	/**
	 * @param {Store} store
	 * @param {string} key
	 * @param {unknown[]} owner whose value this is; a value of anybody else is removed
	 */
	constructor(store, key, owner) {
		this.#store = store;
		this.#key = key;
		this.#owner = JSON.stringify(owner);
	}

	/** @returns {any} undefined if there is nothing, or nothing of this owner */
	read() {
		try {
			const { owner, value } = JSON.parse(this.#store.get(this.#key) ?? '{}');
			if (owner === this.#owner) return value;
		} catch {
			// There is no storage, or something else is in it.
		}
		this.remove();
		return undefined;
	}

	/**
	 * @param {unknown} value
	 * @returns {boolean} whether there was room for it; if not, nothing is kept
	 */
	write(value) {
		try {
			this.#store.set(this.#key, JSON.stringify({ owner: this.#owner, value }));
			return true;
		} catch {
			this.remove();
			return false;
		}
	}

	remove() {
		try {
			this.#store.remove(this.#key);
		} catch {
			// There is no storage.
		}
	}
}
