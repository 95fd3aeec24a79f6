# shellcheck shell=bash disable=SC2154 # tmp and bin are lib.sh's, sandbox_token is smoke.sh's.
# What is checked without asking the module anything.

# A token of the documented form counts as real unless its name says that it is not.
check_secrets() {
	local found
	found=$(git grep --untracked -noIE '\bic_[A-Za-z0-9]{40}\b' | grep -vE ':ic_(sandbox|test|demo|example)[A-Za-z0-9]*$' | cut -d: -f1,2) || true
	[[ -z $found ]] || fail "these lines hold what looks like a real token:"$'\n'"$found"
}

check_gofmt() {
	local unformatted
	unformatted=$(gofmt -l .)
	[[ -z $unformatted ]] || fail "gofmt would change:"$'\n'"$unformatted"
}

check_modules() {
	go mod tidy -diff
	(cd tools && go mod tidy -diff)
}

build_tools() {
	(cd tools && go build -o "$bin/" tool)
}

# Every Caddyfile is formatted, and every example makes a valid configuration.
check_caddyfiles() {
	local file files
	mapfile -t files < <(git ls-files --cached --others --exclude-standard -- '*Caddyfile' '*.caddyfile')
	for file in "${files[@]}"; do
		echo "$file"
		quietly "$bin/caddy" fmt --diff "$file"
		if [[ $file == example/* ]]; then
			ILLUMICHAT_API_TOKEN=$sandbox_token ILLUMICHAT_ASSISTANT=asst_demo \
				quietly "$bin/caddy" adapt --validate --config "$file" --adapter caddyfile
		fi
	done
}
