# shellcheck shell=bash disable=SC2154 # tmp and bin are lib.sh's, sandbox_token is smoke.sh's.
# What is checked without asking the module anything.

# check_secrets looks for tokens of the documented form and for private keys, in all files and in all that ever was in
# one. A token counts as real unless its name says that it is not.
check_secrets() {
	local found secret='\bic_[A-Za-z0-9]{40}\b|-----BEGIN [A-Z ]*PRIVATE KEY-----' fake='ic_(sandbox|test|demo|example)[A-Za-z0-9]*$'
	found=$(git grep --untracked -noIE "$secret" | grep -vE ":$fake" | cut -d: -f1,2) || true
	[[ -z $found ]] || fail "these lines hold what looks like a real secret:"$'\n'"$found"
	found=$(git log --all --patch --format='commit %h' | grep -oE "^commit .*|$secret" | awk '/^commit / { commit = $2; next } { print commit ": " $0 }' |
		grep -vE ": $fake" | cut -d: -f1 | sort -u) || true
	[[ -z $found ]] || fail "these commits hold what looks like a real secret:"$'\n'"$found"
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

check_vet() {
	go vet ./...
	(cd tools && go vet ./...)
}

build_tools() {
	(cd tools && go build -o "$bin/" tool)
}

# Every Caddyfile is formatted, and every example makes a valid configuration.
check_caddyfiles() {
	local file files
	mapfile -t files < <(git ls-files --cached --others --exclude-standard -- '*Caddyfile' '*.caddyfile' 'example/*caddy.json')
	for file in "${files[@]}"; do
		echo "$file"
		[[ $file == *.json ]] || quietly "$bin/caddy" fmt --diff "$file"
		if [[ $file == example/* ]]; then
			# Caddy makes and stores a certificate authority for an example that uses its own.
			ILLUMICHAT_API_TOKEN=$sandbox_token ILLUMICHAT_ASSISTANT=asst_demo XDG_DATA_HOME=$tmp/validated \
				quietly "$bin/caddy" validate --config "$file"
		fi
	done
}
