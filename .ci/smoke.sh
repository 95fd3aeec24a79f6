# shellcheck shell=bash disable=SC2154 # tmp and bin are lib.sh's.
# Runs whole servers, and sends them requests as a visitor does.

# It has the documented form of a token, and its name shows that it is not real.
sandbox_token=ic_sandbox000000000000000000000000000000000

# One command without any environment variables serves the page and answers a chat.
smoke_quick_start() {
	local port
	port=$(free_port)
	serve_example quick-start "$port" "$bin/caddy"

	curl --silent --show-error --fail --ipv4 --max-time 10 "http://localhost:$port/" >"$tmp/page"
	grep -qi '<!doctype html>' "$tmp/page" || fail "GET / is not the page"
	chat "http://localhost:$port/api/chat-proxy"
	stop_servers
}

# Checks the passwords of the login example, which are too slow for the race detector.
smoke_login() {
	local port sites commands command status
	cp example/login/Caddyfile "$tmp/login.Caddyfile"
	for port in 8080 8081 9091; do
		sed -i "s/:$port\b/:$(free_port)/" "$tmp/login.Caddyfile"
	done
	mapfile -t sites < <(grep -oE '^http://localhost:[0-9]+' "$tmp/login.Caddyfile")
	mapfile -t commands < <(sed -n 's/^#\t\(curl .*\)/\1/p' "$tmp/login.Caddyfile")
	((${#sites[@]} == 2 && ${#commands[@]} == 2)) || fail "example/login/Caddyfile is not as this step knows it"

	serve_caddy login "${sites[0]}" "$bin/caddy"
	for command in "${commands[@]}" "${commands[0]/alice:wonderland/bob:builder}"; do
		sh -c "$command" >"$tmp/answer" 2>"$tmp/log" || true
		grep -qF '"finishReason":"stop"' "$tmp/answer" || {
			cat "$tmp/log" "$tmp/answer"
			fail "no answer to $command"
		}
		status=$(sh -c "${command/-u /-o /dev/null -sw '%{http_code}' -u wrong-}")
		[[ $status == 401 ]] || fail "a wrong name gets $status"
	done
	stop_servers
}

# Builds Caddy with xcaddy. The modules come from Go's cache, so Go does not look for a published version of this module.
# With xcaddy's own options, Go would compile all packages again, which takes five minutes. Without -trimpath and with cgo, it uses
# the packages that the step "build" has compiled.
build_xcaddy() {
	local caddy_version
	caddy_version=$(go list -m -f '{{.Version}}' github.com/caddyserver/caddy/v2)
	# A download of all modules adds to go.sum, so it gets a copy. It may fail for a module that no build
	# needs. If the build needs the module, the build fails.
	cp go.mod go.sum "$tmp"
	go mod download -modfile="$tmp/go.mod" all || true
	CGO_ENABLED=1 XCADDY_GO_BUILD_FLAGS="-ldflags=-s" GOPROXY="file://$(go env GOMODCACHE)/cache/download" GOSUMDB=off \
		quietly "$bin/xcaddy" build "$caddy_version" --with "$(go list -m)=." --with "$(go list -m)/store/redisstore" --output "$bin/xcaddy-caddy"
	"$bin/xcaddy-caddy" version
}

smoke_xcaddy() {
	local port sandbox
	"$bin/xcaddy-caddy" list-modules >"$tmp/modules"
	grep -qx 'http.handlers.illumichat' "$tmp/modules" || fail "the build lacks the module"
	grep -qx 'http.handlers.illumichat.stores.redis' "$tmp/modules" || fail "the build lacks the store"
	! grep 'sandbox' "$tmp/modules" || fail "the build has the sandbox in it"

	sandbox=http://127.0.0.1:$(free_port)
	cat >"$tmp/sandbox.Caddyfile" <<-EOF
		$sandbox {
			bind 127.0.0.1
			illumichat_sandbox {
				token $sandbox_token
			}
		}
	EOF
	# With a token in its environment, this server does not start a second sandbox.
	ILLUMICHAT_API_TOKEN=$sandbox_token serve_caddy sandbox "$sandbox" "$bin/caddy"

	port=$(free_port)
	ILLUMICHAT_API_TOKEN=$sandbox_token ILLUMICHAT_ASSISTANT=asst_demo ILLUMICHAT_ENDPOINT=$sandbox/api/chat \
		serve_example xcaddy "$port" "$bin/xcaddy-caddy"
	chat "http://localhost:$port/api/chat-proxy"

	# The build also has the command.
	quietly "$bin/xcaddy-caddy" illumichat check "http://localhost:$port/api/chat-proxy"
	ILLUMICHAT_API_TOKEN=$sandbox_token ILLUMICHAT_ASSISTANT=asst_demo \
		quietly "$bin/xcaddy-caddy" illumichat check --config "$tmp/xcaddy.Caddyfile" --adapter caddyfile
	stop_servers
}

# serve_example NAME PORT CADDY runs example/Caddyfile with another port.
serve_example() {
	local name=$1 port=$2 caddy=$3
	sed "s|^http://localhost:8080 {\$|http://localhost:$port {\n\tbind 127.0.0.1|" example/Caddyfile >"$tmp/$name.Caddyfile"
	grep -q "localhost:$port" "$tmp/$name.Caddyfile" || fail "example/Caddyfile has no site http://localhost:8080"
	serve_caddy "$name" "http://localhost:$port" "$caddy"
}

# serve_caddy NAME URL CADDY runs the Caddyfile of that name, separate from any other Caddy on this machine.
serve_caddy() {
	local name=$1 url=$2 caddy=$3
	serve "$name" "$url" env CADDY_ADMIN="unix/$tmp/$name.sock" XDG_CONFIG_HOME="$tmp/$name" XDG_DATA_HOME="$tmp/$name" \
		"$caddy" run --config "$tmp/$name.Caddyfile" --adapter caddyfile
}

# chat URL asks a question, and fails unless the answer streams in up to its finish, with all four
# types of event.
chat() {
	local url=$1 got want
	got=$(curl --no-buffer --silent --show-error --ipv4 --max-time 60 \
		--dump-header "$tmp/head" --output "$tmp/answer" --write-out '%{http_code} %{content_type}' \
		--header 'Content-Type: application/json' \
		--data '{"assistantId":"asst_demo","messages":[{"role":"user","content":"What can you do?"}]}' "$url")
	if [[ $got != "200 text/event-stream"* ]]; then
		cat "$tmp/answer"
		fail "the answer is $got"
	fi
	for want in '"type":"text-delta"' '"type":"tool-call"' '"type":"tool-result"' '"type":"finish"' '"finishReason":"stop"'; do
		grep -qF "$want" "$tmp/answer" || {
			cat "$tmp/answer"
			fail "the answer has no $want"
		}
	done
	! grep -qE 'ic_[A-Za-z0-9]{40}' "$tmp/head" "$tmp/answer" || fail "the answer holds a token"
	printf 'an answer of %d events\n' "$(grep -c '^data:' "$tmp/answer")"
}
