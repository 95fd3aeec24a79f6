# shellcheck shell=bash disable=SC2154 # tmp is lib.sh's.
# The Go tests.

# A skipped test proves nothing, so none may be skipped here, except that of Valkey, which this Debian does not have. The
# soak test is the whole one. The suites that run a whole Caddy come last and one at a time: some of their tests look at the
# time, and another suite beside them would disturb that.
test_race() {
	local units suites
	suites=$(go list ./e2e/...)
	units=$(go list ./... | grep -vxF "$suites")
	# shellcheck disable=SC2086 # these are words
	go_test_race units $units
	# shellcheck disable=SC2086
	ILLUMICHAT_TEST_SOAK=10000 go_test_race suites -p 1 $suites
}

# go_test_race NAME ARGUMENTS... runs tests with the race detector, and fails if one fails or is skipped.
go_test_race() {
	local log=$tmp/$1.log
	shift
	if ! go test -race -count=1 -timeout 30m -v "$@" >"$log" 2>&1; then
		grep -vE '^(=== |PASS$| *--- PASS)' "$log"
		fail "go test -race fails"
	fi
	grep -E '^(ok|\?)' "$log"
	if grep -E '^ *--- SKIP' "$log" | grep -v TestValkey; then
		fail "these tests were skipped"
	fi
}

# fuzz gives each fuzz target a short run on top of its seeds, which are tests already.
fuzz() {
	local package target targets
	go test -list '^Fuzz' ./... >"$tmp/fuzz.list"
	# go lists the targets of a package, and then names the package.
	mapfile -t targets < <(awk '/^Fuzz/ { names[++n] = $1 } /^ok/ { for (i = 1; i <= n; i++) print $2, names[i]; n = 0 }' "$tmp/fuzz.list")
	for target in "${targets[@]}"; do
		read -r package target <<<"$target"
		fuzz_target "$package" "$target"
	done
}

fuzz_target() {
	local package=$1 target=$2 log=$tmp/fuzz.log
	echo "$package $target"
	if ! go test -run '^$' -fuzz "^$target\$" -fuzztime 10s "$package" >"$log" 2>&1; then
		# The end of the time can be taken for a failure of the target (golang/go#75804); a real
		# one names its input.
		if grep -q 'Failing input written' "$log" || ! grep -qx ' *context deadline exceeded' "$log"; then
			cat "$log"
			fail "fuzzing finds a failure"
		fi
	fi
	grep '^fuzz: elapsed' "$log" | tail -n 1 || fail "nothing was fuzzed"
}
