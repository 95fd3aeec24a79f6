#!/bin/sh
# Runs a cluster on this machine until you press Ctrl+C:
#
#	sh example/cluster/run.sh
#
# CADDY is a Caddy with the module. If it is not set, the script builds one. REDIS is the address of a Redis. If it is not set,
# the script starts one. ILLUMICHAT_API_TOKEN is the API token. If it is not set, a sandbox answers.
set -eu
cd "$(dirname "$0")/../.."

dir=$(mktemp -d)
pids=
finish() {
	trap - EXIT INT TERM
	[ -z "$pids" ] || kill $pids 2>/dev/null || true
	wait
	rm -rf "$dir"
}
trap finish EXIT
trap 'exit 0' INT TERM

# start runs a command in the background.
start() {
	"$@" &
	pids="$pids $!"
}

if [ -z "${CADDY:-}" ]; then
	CADDY=$dir/caddy
	go build -o "$CADDY" ./cmd/caddy
fi

if [ -z "${REDIS:-}" ]; then
	REDIS=$dir/redis
	start redis-server --port 0 --unixsocket "$REDIS" --save "" --loglevel warning
fi
export REDIS

if [ -z "${ILLUMICHAT_API_TOKEN:-}" ]; then
	# This token is public, and only a sandbox accepts it.
	export ILLUMICHAT_API_TOKEN=ic_sandbox000000000000000000000000000000000
	export ILLUMICHAT_ASSISTANT=asst_demo ILLUMICHAT_ENDPOINT=http://localhost:8090/api/chat
	start "$CADDY" run --config example/cluster/sandbox.Caddyfile --adapter caddyfile
fi

for PORT in 8081 8082 8083; do
	export PORT
	start "$CADDY" run --config example/cluster/Caddyfile
done
start "$CADDY" run --config example/cluster/balancer.Caddyfile --adapter caddyfile
wait
