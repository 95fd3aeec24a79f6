# shellcheck shell=bash disable=SC2154 # tmp is lib.sh's.
# The Go tests.

# A skipped test proves nothing, so it fails this step. The exception is the test of Valkey, which this Debian does not have. The
# soak test runs at full size.
test_race() {
	step "unit tests with the race detector"
	# shellcheck disable=SC2046 # these are words
	go_test_race units $(go list ./... | grep -vE '/(e2e|redisstore)(/|$)')

	# The tests of Redis wait for five minutes in all, and use the processor for two.
	step "tests of Redis, tests of the examples, fuzzing"
	beside go_test_race redis -skip "$redis_alone" ./store/redisstore
	beside test_examples_and_fuzz
	await_all
	go_test_race redis-alone -run "$redis_alone" ./store/redisstore

	step "tests of a whole Caddy"
	test_in_halves ./e2e "$e2e_alone" "$e2e_long"

	step "tests in browsers"
	# Chromium uses both processors, so halves would only disturb each other.
	go_test_race browsers ./e2e/page
}

test_examples_and_fuzz() {
	go_test_race examples -p 1 ./e2e/doctor ./e2e/example
	fuzz
}

# redis_alone matches the tests of Redis with thousands of visitors, who use the whole processor.
redis_alone='InACrowd|CrowdOfGETs|ManyListeners|MemoryOf|TestSoak'

# e2e_alone matches the tests of e2e that bound short times, or that need most of the machine.
e2e_alone='Soak|AnswersAreWholeUnderLoad|LossesCostNothing|ResumesAtRandom|ResumeAtRandom|StreamMemory|EventsArriveSoon|StillReads'
e2e_alone+='|AskedDoesNotRead|WriteBlocks|ListenerHasASlot$|NothingIsLeft|BeginAfterAReload|BodysDeadline|SlowHandlerBefore'

# e2e_long matches two long tests of e2e. They run in the first half, so that both halves take equally long.
e2e_long='^Test(Troubleshooting|CheckAgreesWithCaddy)$'

# test_in_halves PACKAGE ALONE LONG runs the tests of a package in two processes side by side, because a process can run only one
# Caddy and mostly waits for it. Those whose names match LONG are in the first one. Then it runs those that match ALONE, one at a
# time.
test_in_halves() {
	local package=$1 alone=$2 long=$3 name program tests half
	name=${package//[.\/]/}
	program=$tmp/$name.test
	go test -race -c -o "$program" "$package"
	mapfile -t tests < <("$program" -test.list '^Test')
	((${#tests[@]} > 0)) || fail "$package has no tests"
	for half in 0 1; do
		beside run_tests "$name-$half" "$program" -test.v -test.paniconexit0 -test.timeout 30m \
			-test.run "$(printf '%s\n' "${tests[@]}" | grep -vE "$alone" | awk -v long="$long" "(\$0 ~ long ? 0 : NR % 2) == $half" | only)"
	done
	await_all
	ILLUMICHAT_TEST_SOAK=10000 run_tests "$name-alone" "$program" -test.v -test.paniconexit0 -test.timeout 30m \
		-test.run "$(printf '%s\n' "${tests[@]}" | grep -E "$alone" | only)"
	rm "$program"
}

# only reads names of tests, and prints the regular expression that matches these alone.
only() {
	paste -sd '|' | sed 's/.*/^(&)$/'
}

# bench runs each benchmark, and the test of a stream's memory, which the race detector would disturb.
bench() {
	# shellcheck disable=SC2046 # these are words
	go test -run '^TestStreamMemory$' -bench . -benchtime 10x $(packages_with 'Benchmark|TestStreamMemory\(')
}

# packages_with PATTERN prints the packages with a test function whose name matches, because to compile and link the tests of
# all packages takes a minute.
packages_with() {
	git grep --untracked -lE "^func ($1)" -- '*_test.go' | xargs -n 1 dirname | sort -u | sed 's|^|./|'
}

# go_test_race NAME ARGUMENTS... runs tests with the race detector, and fails if one fails or is skipped.
go_test_race() {
	local name=$1
	shift
	run_tests "$name" go test -race -count=1 -timeout 30m -v "$@"
}

# run_tests NAME COMMAND... runs a command that prints what each test does, and fails if one fails or is skipped.
run_tests() {
	local name=$1 log=$tmp/$1.log began=$SECONDS
	shift
	if ! "$@" >"$log" 2>&1; then
		grep -vE '^(=== |PASS$| *--- PASS)' "$log"
		fail "tests fail: $name"
	fi
	grep -E '^(ok|\?)' "$log" || true
	printf '%s: %d tests in %d s\n' "$name" "$(grep -cE '^--- PASS' "$log")" "$((SECONDS - began))"
	if grep -E '^ *--- SKIP' "$log" | grep -v TestValkey; then
		fail "these tests were skipped"
	fi
}

# fuzz gives each fuzz target a short run on top of its seeds, which are tests already. It leaves the processor to what runs
# beside it.
fuzz() {
	local package target targets
	# shellcheck disable=SC2046 # these are words
	go test -list '^Fuzz' $(packages_with Fuzz) >"$tmp/fuzz.list"
	# go lists the targets of a package, and then the name of the package.
	mapfile -t targets < <(awk '/^Fuzz/ { names[++n] = $1 } /^ok/ { for (i = 1; i <= n; i++) print $2, names[i]; n = 0 }' "$tmp/fuzz.list")
	for target in "${targets[@]}"; do
		read -r package target <<<"$target"
		fuzz_target "$package" "$target"
	done
}

fuzz_target() {
	local package=$1 target=$2 log=$tmp/fuzz.log
	echo "$package $target"
	if ! nice -n 19 go test -run '^$' -fuzz "^$target\$" -fuzztime 10s -parallel 1 "$package" >"$log" 2>&1; then
		# Go can report the end of the time as a failure of the target (golang/go#75804). A real failure
		# names its input.
		if grep -q 'Failing input written' "$log" || ! grep -qx ' *context deadline exceeded' "$log"; then
			cat "$log"
			fail "fuzzing finds a failure"
		fi
	fi
	grep '^fuzz: elapsed' "$log" | tail -n 1 || fail "nothing was fuzzed"
}
