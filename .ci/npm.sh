# shellcheck shell=bash disable=SC2154 # tmp is lib.sh's.
# The npm packages: the one for pages, and what tests and examples need.

# install_npm installs what each package-lock.json lists, without the scripts of the packages. The package for pages comes
# first, because the examples link to its directory.
install_npm() {
	local directories directory
	mapfile -t directories < <(git ls-files --cached --others --exclude-standard -- '*package-lock.json' | xargs -n 1 dirname)
	npm_ci client
	for directory in "${directories[@]}"; do
		[[ $directory != client ]] || continue
		beside npm_ci "$directory"
	done
	await_all
}

# npm_ci DIRECTORY installs the packages of a directory.
npm_ci() {
	local directory=$1 log
	log=$tmp/npm-${directory//\//-}.log
	npm ci --ignore-scripts --no-audit --no-fund --prefer-offline --prefix "$directory" >"$log" 2>&1 || {
		cat "$log" >&2
		fail "npm ci fails in $directory"
	}
}
