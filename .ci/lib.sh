# shellcheck shell=bash
# How steps run, and the servers that they start.

tmp=$(mktemp -d)
bin=$tmp/bin
mkdir "$bin"
export TMPDIR=$tmp

current_step=""
servers=()
jobs=()

# step NAME COMMAND... runs a command under a name.
step() {
	current_step=$1
	shift
	printf '\n==> %s (after %d s)\n' "$current_step" "$SECONDS"
	"$@"
}

fail() {
	printf '%s\n' "$*" >&2
	exit 1
}

# quietly COMMAND... shows what a command prints only if it fails.
quietly() {
	"$@" >"$tmp/log" 2>&1 || {
		cat "$tmp/log" >&2
		fail "$* fails"
	}
}

# beside COMMAND... runs a command beside what follows, until await_all.
beside() {
	"$@" &
	jobs+=("$!")
}

# await_all waits until all commands of beside have ended, and fails if one has failed.
await_all() {
	local job failed=0
	for job in "${jobs[@]}"; do
		wait "$job" || failed=1
	done
	jobs=()
	((failed == 0)) || exit 1
}

finish() {
	local status=$?
	trap - EXIT
	stop_servers
	rm -rf "$tmp"
	((status == 0)) || printf '\nfailed: %s (after %d s)\n' "$current_step" "$SECONDS" >&2
	exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

install_packages() {
	local package missing=() sudo=()
	for package; do
		dpkg-query --show --showformat '${Status}' "$package" 2>/dev/null | grep -q ' installed$' || missing+=("$package")
	done
	((${#missing[@]} > 0)) || return 0

	((EUID == 0)) || sudo=(sudo)
	"${sudo[@]}" apt-get update
	"${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${missing[@]}"
}

# free_port prints a free port of the loopback interface, from a range that the kernel does not assign
# to other programs.
free_port() {
	local port
	while port=$((20000 + RANDOM % 10000)) && (: <"/dev/tcp/127.0.0.1/$port") 2>/dev/null; do :; done
	echo "$port"
}

# serve NAME URL COMMAND... starts a server and returns once URL answers.
serve() {
	local name=$1 url=$2 pid deadline=$((SECONDS + 30))
	shift 2
	# timeout also bounds how long the server may take to stop.
	timeout --kill-after=10 300 "$@" >"$tmp/$name.log" 2>&1 &
	pid=$!
	servers+=("$pid")
	until curl --silent --ipv4 --max-time 5 --output /dev/null "$url"; do
		if ! kill -0 "$pid" 2>/dev/null || ((SECONDS >= deadline)); then
			cat "$tmp/$name.log" >&2
			fail "$name does not answer at $url"
		fi
		sleep 0.1
	done
}

stop_servers() {
	local pid
	for pid in "${servers[@]}"; do
		kill "$pid" 2>/dev/null || true
		wait "$pid" || true
	done
	servers=()
}
