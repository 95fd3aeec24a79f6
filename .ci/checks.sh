# shellcheck shell=bash disable=SC2154 # tmp and bin are lib.sh's, sandbox_token is smoke.sh's.
# Checks that need no running Caddy.

# check_secrets searches all files and all commits for tokens of the documented form and for private keys. A token counts as
# real unless its name shows that it is not.
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

# Checks that every Caddyfile is formatted, and that every example is a valid configuration.
check_caddyfiles() {
	local file files
	mapfile -t files < <(git ls-files --cached --others --exclude-standard -- '*Caddyfile' '*.caddyfile' 'example/*caddy.json')
	for file in "${files[@]}"; do
		echo "$file"
		[[ $file == *.json ]] || quietly "$bin/caddy" fmt --diff "$file"
		if [[ $file == example/* ]]; then
			# Caddy creates and stores a certificate authority for an example that needs one.
			ILLUMICHAT_API_TOKEN=$sandbox_token ILLUMICHAT_ASSISTANT=asst_demo XDG_DATA_HOME=$tmp/validated \
				quietly "$bin/caddy" validate --config "$file"
		fi
	done
}

# check_workflows checks the workflows for GitHub, without the programs that actionlint would run if they are installed.
check_workflows() {
	"$bin/actionlint" -shellcheck= -pyflakes=
}
