package e2e

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// wantLetIn checks that a chat is answered, and that its RateLimit field is left; "" for none.
func wantLetIn(t *testing.T, resp *http.Response, left string) {
	t.Helper()
	if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK {
		t.Errorf("got status %d: %s", resp.StatusCode, body)
	}
	wantLeft(t, resp, left)
}

// wantUsedUp checks that a limit refuses a chat, and returns its Retry-After in seconds.
func wantUsedUp(t *testing.T, resp *http.Response, left string) int {
	t.Helper()
	sitetest.WantError(t, resp, http.StatusTooManyRequests, "rate_limit:chat")
	wantLeft(t, resp, left)
	wait, err := strconv.Atoi(resp.Header.Get("Retry-After"))
	if err != nil || wait < 1 {
		t.Errorf("got Retry-After: %q", resp.Header.Get("Retry-After"))
	}
	return wait
}

var afterHowLong = regexp.MustCompile(`;t=[1-9][0-9]*\b`)

// wantLeft checks a RateLimit field without its seconds, which depend on the time.
func wantLeft(t *testing.T, resp *http.Response, want string) {
	t.Helper()
	got := strings.Join(resp.Header.Values("RateLimit"), " + ")
	if got := afterHowLong.ReplaceAllString(got, ";t=_"); got != want {
		t.Errorf("got RateLimit: %s, want %s", got, want)
	}
	if policy := resp.Header.Get("RateLimit-Policy"); (policy == "") != (want == "") {
		t.Errorf("got RateLimit-Policy: %s", policy)
	}
}

// A limit counts the chats of each client. The RateLimit fields say how many are left, and a refusal says when there is
// room.
func TestLimit(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.ServeWith(t, sitetest.BehindProxy, sitetest.ChatToURL(upstream.URL, "limit 3 1h"))

	first := s.AskAs("192.0.2.1", sitetest.Hello)
	if got, want := first.Header.Get("RateLimit-Policy"), `"client";q=3;w=3600`; got != want {
		t.Errorf("got RateLimit-Policy: %s, want %s", got, want)
	}
	wantLetIn(t, first, `"client";r=2;t=_`)
	wantLetIn(t, s.AskAs("192.0.2.1", sitetest.Hello), `"client";r=1;t=_`)
	wantLetIn(t, s.AskAs("192.0.2.1", sitetest.Hello), `"client";r=0;t=_`)
	for range 3 {
		resp := s.AskAs("192.0.2.1", sitetest.Hello)
		// A third of the next hour has to pass.
		if wait := wantUsedUp(t, resp, `"client";r=0;t=_`); wait < 1200 || wait > 4800 {
			t.Errorf("got Retry-After: %d", wait)
		}
		if got, want := resp.Header.Get("RateLimit"), `"client";r=0;t=`+resp.Header.Get("Retry-After"); got != want {
			t.Errorf("got RateLimit: %s, want %s", got, want)
		}
	}
	wantLetIn(t, s.AskAs("192.0.2.2", sitetest.Hello), `"client";r=2;t=_`)
	if got := len(upstream.Take()); got != 4 {
		t.Errorf("the upstream was asked %d times, want 4", got)
	}
	for _, line := range logLines(t, s.Log()) {
		if strings.Contains(line.Msg, "used up") {
			t.Errorf("one client's limit is told as if it were the site's: %s", line.raw)
		}
		if line.Logger == "http.handlers.illumichat" && strings.Contains(line.raw, "192.0.2.") {
			t.Errorf("the log has the client's address: %s", line.raw)
		}
	}
}

// Visitors are not shown what is left of a limit that they all share. When it is used up, the log says so.
func TestLimitOfTheSite(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.ServeWith(t, sitetest.BehindProxy, sitetest.ChatToURL(upstream.URL, "limit 2 1h site"))
	wantLetIn(t, s.AskAs("192.0.2.1", sitetest.Hello), "")
	wantLetIn(t, s.AskAs("192.0.2.2", sitetest.Hello), "")
	wantUsedUp(t, s.AskAs("192.0.2.3", sitetest.Hello), "")
	wantUsedUp(t, s.AskAs("192.0.2.1", sitetest.Hello), "")
	wantTold(t, s, "warn", "is used up", 1)
}

// A chat counts in all of its limits or in none.
func TestLimits(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.ServeWith(t, sitetest.BehindProxy, sitetest.ChatToURL(upstream.URL, "limit 5 1h\nlimit 3 1h site\nlimit 4 90s"))
	first := s.AskAs("192.0.2.1", sitetest.Hello)
	if got, want := first.Header.Get("RateLimit-Policy"), `"client";q=5;w=3600, "client-2";q=4;w=90`; got != want {
		t.Errorf("got RateLimit-Policy: %s, want %s", got, want)
	}
	wantLetIn(t, first, `"client";r=4;t=_, "client-2";r=3;t=_`)
	wantLetIn(t, s.AskAs("192.0.2.1", sitetest.Hello), `"client";r=3;t=_, "client-2";r=2;t=_`)
	wantLetIn(t, s.AskAs("192.0.2.1", sitetest.Hello), `"client";r=2;t=_, "client-2";r=1;t=_`)
	for range 3 {
		wantUsedUp(t, s.AskAs("192.0.2.1", sitetest.Hello), `"client";r=2;t=_, "client-2";r=1;t=_`)
	}
	wantUsedUp(t, s.AskAs("192.0.2.2", sitetest.Hello), `"client";r=5, "client-2";r=4`)
	// A higher limit for the site does not change the other counts.
	s.Reload(sitetest.ChatToURL(upstream.URL, "limit 5 1h\nlimit 9 1h site\nlimit 4 90s"))
	wantLetIn(t, s.AskAs("192.0.2.1", sitetest.Hello), `"client";r=1;t=_, "client-2";r=0;t=_`)
	// Retry-After is the longest wait.
	if wait := wantUsedUp(t, s.AskAs("192.0.2.1", sitetest.Hello), `"client";r=1;t=_, "client-2";r=0;t=_`); wait > 180 {
		t.Errorf("got Retry-After: %d", wait)
	}
}

// All spellings of a key share one count, and each key has its own.
func TestKeys(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "limit 1 1h {http.request.header.X-Key}"))
	ask := func(key string) *http.Response {
		req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
		if key != "" {
			req.Header.Set("X-Key", key)
		}
		return s.Send(sitetest.OneShot, req)
	}
	long := strings.Repeat("x", 256)
	for _, keys := range [][]string{ // each group has one count
		{"", ""},
		{"anna", "anna"},
		{"Anna"},
		{"{env.HOME}", "{env.HOME}"},
		{"192.0.2.1", "::ffff:192.0.2.1", "::ffff:c000:201", "::FFFF:192.0.2.1%eth0"},
		{"192.0.2.2"},
		{"192.0.2.01"}, // not an address
		{"2001:db8::1", "2001:db8::2", "2001:DB8:0:0::", "2001:db8::ffff:ffff:ffff:ffff", "2001:db8::1%eth0"},
		{"2001:db8:0:1::1"},
		{"fe80::1%eth0", "fe80::1%eth1"},
		{"::1", "::1%lo"},
		{long, long},
		{long + "y", long + "y"},
		{long + "z"},
	} {
		wantLetIn(t, ask(keys[0]), "")
		for _, key := range keys[1:] {
			wantUsedUp(t, ask(key), "")
		}
	}
}

// A fixed word that reads like a client would be one count for all clients, so it is refused. The error says what to
// write instead.
func TestFixedWordsThatLookLikeClientsAreRefused(t *testing.T) {
	for key, instead := range map[string]string{
		"client": "leave the key out", "IP": "leave the key out", "Visitor": "leave the key out", "client_ip": "leave the key out",
		"remote_host": "leave the key out", "REMOTE_HOST": "leave the key out", "user": "{http.auth.user.id}", "http.auth.user.id": "{http.auth.user.id}",
		"sites/a": "everyone", "per-client": "leave the key out", "each-ip": "leave the key out", "per-user": "{http.auth.user.id}", "peruser": "{http.auth.user.id}",
		"remote-addr": "leave the key out", "remoteaddr": "leave the key out", "ipaddress": "leave the key out", "$client": "leave the key out", "each": "everyone",
		"perclient": "leave the key out", "perip": "leave the key out", "user-count": "{http.auth.user.id}", "Each-Visitor": "leave the key out",
	} {
		err := loadError(t, ":80 {\nillumichat {\ntoken "+sandbox.Token+"\nassistants asst_demo\nlimit 2 1m "+key+"\n}\n}")
		if err == nil || !strings.Contains(err.Error(), "'"+key+"'") || !strings.Contains(err.Error(), instead) {
			t.Errorf("%s: got %v, want it to say %s", key, err, instead)
		}
	}
}

// A word for all of them is a label.
func TestFixedWordsForEverybodyAreAccepted(t *testing.T) {
	for _, key := range []string{"all-clients", "all-users", "everyone", "every-visitor", "everybody", "site", "members", "performance", "eachother", "all"} {
		if err := loadError(t, ":80 {\nillumichat {\ntoken "+sandbox.Token+"\nassistants asst_demo\nlimit 2 1m "+key+"\n}\n}"); err != nil {
			t.Errorf("%s: %v", key, err)
		}
	}
}

// A limit whose key has another value for each request would never be reached.
func TestFleetingKeysAreRefused(t *testing.T) {
	for _, key := range []string{
		"{time.now}", "{time.now.unix}", "{http.request.uuid}", "{http.request.duration}", "{http.request.remote}", "{remote_port}", "{http.request.body}",
		`"{client_ip} {time.now.http}"`,
	} {
		err := loadError(t, ":80 {\nillumichat {\ntoken "+sandbox.Token+"\nassistants asst_demo\nlimit 2 1m "+key+"\n}\n}")
		if err == nil || !strings.Contains(err.Error(), "leave it out") {
			t.Errorf("%s: got %v", key, err)
		}
	}
}

// A key that does not tell visitors apart is a count of many: when it is used up, the log says so, and no visitor sees
// how much is left.
func TestKeysOfManyVisitorsAreTold(t *testing.T) {
	t.Setenv("TEST_SITE", "acme")
	for key, told := range map[string]int{
		"everyone": 1, "{env.TEST_SITE}": 1, "{host}": 1, `"{scheme} {http.request.uri.path}"`: 1, "{http.request.header.X-Key}": 0, `"{host} {client_ip}"`: 0,
	} {
		upstream := sitetest.NewUpstream(t, sitetest.Finishing)
		s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "limit 1 1h "+key))
		for range 2 {
			req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
			req.Header.Set("X-Key", "anna")
			resp := s.Send(sitetest.OneShot, req)
			wantLeft(t, resp, "")
			sitetest.ReadAll(t, resp)
		}
		wantTold(t, s, "warn", "a limit of many visitors together is used up", told)
		if err := caddy.Stop(); err != nil {
			t.Fatal(err)
		}
	}
}

// A key of several placeholders counts apart each combination of values. A visitor cannot forge the key of another. If
// any value is empty, the chats share one count. Addresses are normalized.
func TestCompositeKeys(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, `limit 1 1h "{http.request.header.X-A}{http.request.header.X-B}"`))
	ask := func(a, b string) *http.Response {
		req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
		for name, value := range map[string]string{"X-A": a, "X-B": b} {
			if value != "" {
				req.Header.Set(name, value)
			}
		}
		return s.Send(sitetest.OneShot, req)
	}
	long := strings.Repeat("x", 200)
	for _, pairs := range [][][2]string{ // each group has one count
		{{"", ""}, {"anna", ""}, {"", "anna"}, {"bert", ""}},
		{{"anna", "site"}, {"anna", "site"}},
		{{"annas", "ite"}},
		{{"{env.HOME}", "{env.HOME}"}, {"{env.HOME}", "{env.HOME}"}},
		{{"site", "192.0.2.1"}, {"site", "::ffff:192.0.2.1"}, {"site", "::FFFF:192.0.2.1%eth0"}},
		{{"site", "192.0.2.2"}},
		{{"2001:db8::1", "site"}, {"2001:DB8::2", "site"}, {"2001:db8::ffff:ffff:ffff:ffff%eth0", "site"}},
		{{"2001:db8:0:1::1", "site"}},
		{{long, long}, {long, long}},
		{{long, long + "y"}},
	} {
		wantLetIn(t, ask(pairs[0][0], pairs[0][1]), "")
		for _, pair := range pairs[1:] {
			wantUsedUp(t, ask(pair[0], pair[1]), "")
		}
	}
	for _, line := range wantTold(t, s, "warn", "is used up", 1) {
		if !strings.Contains(line.raw, `"key_is_empty":true`) || !strings.Contains(line.Hint, "placeholders") {
			t.Errorf("the log does not say why: %s", line.raw)
		}
	}
}

// Without trusted_proxies, X-Forwarded-For does not change who the client is.
func TestClientIsNotWhoItSaysToBe(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "limit 1 1h"))
	wantLetIn(t, s.AskAs("192.0.2.1", sitetest.Hello), `"client";r=0;t=_`)
	wantUsedUp(t, s.AskAs("192.0.2.2", sitetest.Hello), `"client";r=0;t=_`)
}

// A chat that fails before it reaches the upstream does not count against a limit.
func TestWhatDoesNotCount(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	tokenFile := filepath.Join(t.TempDir(), "token")
	writeToken := func(token string) {
		t.Helper()
		if err := os.WriteFile(tokenFile, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	writeToken(sandbox.Token)
	directive := func(endpoint string) string {
		return fmt.Sprintf("illumichat %s {\ntoken {file.%s}\nassistants asst_demo\nendpoint %s\nlimit 3 1h\nmax_body_size 1KiB\nmax_streams_per_client 1\n%s\n}",
			sitetest.ChatPath, tokenFile, endpoint, sitetest.Once)
	}
	s := sitetest.Serve(t, directive(server.URL))
	wantLetIn(t, s.AskAs("", sitetest.Hello), `"client";r=2;t=_`)

	refused := func(status int, code string, change func(*http.Request)) {
		t.Helper()
		req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
		change(req)
		sitetest.WantError(t, s.Send(sitetest.OneShot, req), status, code)
	}
	body := func(text string) func(*http.Request) {
		return func(req *http.Request) {
			*req = *sitetest.ChatRequest(t, s.Plain, text)
		}
	}
	for range 3 {
		refused(405, "method_not_allowed:chat", func(req *http.Request) { req.Method = http.MethodPut })
		refused(403, "forbidden:origin", func(req *http.Request) { req.Header.Set("Sec-Fetch-Site", "cross-site") })
		refused(415, "unsupported_media_type:chat", func(req *http.Request) { req.Header.Set("Content-Type", "text/plain") })
		refused(413, "too_large:chat", body(sitetest.Saying(strings.Repeat("x", 2000))))
		refused(400, "bad_request:chat", body("{}"))
		refused(403, "forbidden:assistant", body(strings.Replace(sitetest.Hello, "asst_demo", "asst_other", 1)))
		writeToken("")
		refused(502, "unauthorized:upstream", body(sitetest.Hello))
		wantLeft(t, s.AskAs("", sitetest.Hello), `"client";r=2;t=_`)
		writeToken(sandbox.Token)
	}
	// A second stream of the client, while one is open.
	slow := s.AskAs("", sitetest.Saying("/endless"))
	second := s.AskAs("", sitetest.Hello)
	sitetest.WantError(t, second, 429, "rate_limit:chat")
	wantLeft(t, second, `"client";r=1;t=_`)
	slow.Body.Close()
	sitetest.Eventually(t, "the stream's slot is free", func() bool { return takenSlots() == 0 })
	wantLetIn(t, s.AskAs("", sitetest.Hello), `"client";r=0;t=_`)
	wantUsedUp(t, s.AskAs("", sitetest.Hello), `"client";r=0;t=_`)
	// A fault in the request is reported first, also to clients whose limit is used up.
	refused(403, "forbidden:origin", func(req *http.Request) { req.Header.Set("Sec-Fetch-Site", "cross-site") })
	refused(413, "too_large:chat", body("["+sitetest.Saying(strings.Repeat("x", 2000))))
	refused(400, "bad_request:chat", body("{}"))
	refused(403, "forbidden:assistant", body(strings.Replace(sitetest.Hello, "asst_demo", "asst_other", 1)))
	if got := len(server.Requests()); got != 3 {
		t.Errorf("the upstream was asked %d times, want 3", got)
	}

	// An upstream that cannot be reached.
	nobody := fmt.Sprintf("http://127.0.0.1:%d", localhost.Port(t))
	s.Reload(directive(nobody))
	for range 5 {
		resp := s.AskAs("", sitetest.Hello)
		sitetest.WantError(t, resp, 502, "bad_gateway:upstream")
		wantLeft(t, resp, `"client";r=3`)
	}

	// A chat that the upstream answers 429 counts once. Chats that are refused during the cool-down do not count.
	limited := sandboxtest.NewServer(t, sandbox.Options{})
	s.Reload(directive(limited.URL))
	sitetest.WantError(t, s.AskAs("", sitetest.Saying("/status 429 1")), 429, "rate_limit:chat")
	for range 5 {
		resp := s.AskAs("", sitetest.Hello)
		sitetest.WantError(t, resp, 429, "rate_limit:chat")
		wantLeft(t, resp, "")
	}
	sitetest.Eventually(t, "the cool-down is over", func() bool { return s.AskAs("", sitetest.Hello).StatusCode == http.StatusOK })
	sitetest.Eventually(t, "the answer's slot is free", func() bool { return takenSlots() == 0 })
	wantLetIn(t, s.AskAs("", sitetest.Hello), `"client";r=0;t=_`)
	wantUsedUp(t, s.AskAs("", sitetest.Hello), `"client";r=0;t=_`)
}

// Handlers with the same endpoint and token share their counts, which survive reloads.
func TestLimitsAreShared(t *testing.T) {
	t.Setenv("TEST_TOKEN", sandbox.Token)
	t.Setenv("TEST_TOKEN_2", sandbox.Token)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	at := func(path, token, endpoint, limits string) string {
		return fmt.Sprintf("handle %s {\nillumichat {\ntoken %s\nassistants asst_demo\nendpoint %s\n%s\n}\n}\n", path, token, endpoint, limits)
	}
	first := func(limits string) string { return at("/first", "{env.TEST_TOKEN}", server.URL, limits) }
	s := sitetest.Serve(t, first("limit 3 1h\nlimit 100 1h site")+
		at("/same", "{env.TEST_TOKEN}", server.URL, "limit 3 1h")+
		at("/more", "{env.TEST_TOKEN}", server.URL, "limit 5 60m {client_ip}")+
		at("/window", "{env.TEST_TOKEN}", server.URL, "limit 3 2h")+
		at("/token", "{env.TEST_TOKEN_2}", server.URL, "limit 3 1h")+
		at("/endpoint", "{env.TEST_TOKEN}", server.URL+"/2", "limit 3 1h"))
	ask := func(path string) *http.Response {
		t.Helper()
		req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
		req.URL.Path = path
		return s.Send(sitetest.OneShot, req)
	}
	left := func(path, want string) {
		t.Helper()
		wantLetIn(t, ask(path), want)
	}
	left("/first", `"client";r=2;t=_`)
	left("/same", `"client";r=1;t=_`)
	left("/more", `"client";r=2;t=_`)
	left("/window", `"client";r=2;t=_`)
	left("/token", `"client";r=2;t=_`)
	left("/endpoint", `"client";r=2;t=_`)

	s.Reload(first("limit 10 1h\nlimit 100 1h site"))
	left("/first", `"client";r=6;t=_`)
	// A config that fails to load takes a reference to the counts as well, and releases only its own.
	faulty := strings.Replace(string(s.Adapt(first("limit 10 1h\nlimit 100 1h site"))), `"requests":100`, `"requests":-1`, 1)
	if err := caddy.Load([]byte(faulty), true); err == nil {
		t.Fatal("the config was loaded")
	}
	left("/first", `"client";r=5;t=_`)
	s.Reload(first("limit 10 1h\nlimit 5 2h"))
	left("/first", `"client";r=4;t=_, "client-2";r=4;t=_`) // no config in between had the 2h window, so it starts anew
	s.Reload(first("limit 2 1h"))
	wantUsedUp(t, ask("/first"), `"client";r=0;t=_`)
}

// max_streams bounds the chats that are open at once, those of replaced configs included. A refused chat does not count
// against a limit.
func TestMaxStreams(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	config := func(subdirectives string) string { return sitetest.ChatToURL(u.URL, subdirectives) }
	s := sitetest.ServeWith(t, "", config("max_streams 3\nlimit 100 1h")) // a grace period would end the HTTP/3 stream
	streams := sitetest.ConverseOverAll(t, s, u)

	full := func(what string) {
		t.Helper()
		for range 2 {
			resp := s.AskAs("", sitetest.Hello)
			sitetest.WantError(t, resp, http.StatusServiceUnavailable, "overloaded:chat")
			sitetest.CheckRetryAfter(t, resp.Header, []int{1, 1})
			wantLeft(t, resp, `"client";r=97;t=_`) // a refused chat does not count
			if t.Failed() {
				t.Fatal(what)
			}
		}
	}
	full("three streams are open")
	s.Reload(config("max_streams 3\nlimit 100 1h"))
	full("three streams of the config before are open")
	if n := strings.Count(s.Log(), "max_streams is reached"); n < 2 || n > 5 { // a warning for each config, and debug lines
		t.Errorf("the log tells %d times that there are too many", n)
	}
	for _, line := range wantTold(t, s, "warn", "the chat failed", 2) { // once for each config
		if line.Code != "overloaded:chat" || !strings.Contains(line.Hint, "max_streams") {
			t.Errorf("the log does not say what to do: %s", line.raw)
		}
	}

	streams["HTTP/2.0"].Finish(t)
	<-streams["HTTP/2.0"].Upstream.Over
	sitetest.Eventually(t, "a slot is free", func() bool { return takenSlots() == 2 })
	next := sitetest.Converse(t, u, sitetest.Protocols(t)["HTTP/1.1"], sitetest.ChatRequest(t, s.Secure, sitetest.Hello))
	if resp := s.AskAs("", sitetest.Hello); resp.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("got status %d while three streams are open", resp.StatusCode)
	}
	s.Reload(config("max_streams 4\nlimit 100 1h"))
	streams["HTTP/2.0"] = sitetest.Converse(t, u, sitetest.Protocols(t)["HTTP/1.1"], sitetest.ChatRequest(t, s.Secure, sitetest.Hello))
	for _, stream := range streams {
		stream.Finish(t)
	}
	next.Finish(t)
}

// max_streams_per_client bounds the chats that one client has open at once. All addresses of an IPv6 /64 are one
// client.
func TestMaxStreamsPerClient(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.ServeWith(t, sitetest.BehindProxy, sitetest.ChatTo(server, "max_streams_per_client 2\nmax_streams 5"))
	open := func(client string) *http.Response {
		t.Helper()
		resp := s.AskAs(client, sitetest.Saying("/endless"))
		if resp.StatusCode != http.StatusOK {
			t.Fatalf("got status %d", resp.StatusCode)
		}
		return resp
	}
	tooMany := func(client string) {
		t.Helper()
		resp := s.AskAs(client, sitetest.Hello)
		sitetest.WantError(t, resp, http.StatusTooManyRequests, "rate_limit:chat")
		sitetest.CheckRetryAfter(t, resp.Header, []int{1, 1})
	}
	one, two := open("2001:db8::1"), open("2001:db8::2")
	tooMany("2001:db8::3")
	other := open("192.0.2.1")
	one.Body.Close()
	sitetest.Eventually(t, "a slot is free", func() bool { return takenSlots() == 2 })
	three := open("2001:db8::3")
	tooMany("2001:db8::1")
	s.Reload(sitetest.ChatTo(server, "max_streams_per_client 2\nmax_streams 5"))
	tooMany("2001:db8::1")
	for _, resp := range []*http.Response{two, other, three} {
		resp.Body.Close()
	}
	sitetest.Eventually(t, "all slots are free", func() bool { return takenSlots() == 0 })
	wantLetIn(t, s.AskAs("2001:db8::1", sitetest.Hello), "")
	sitetest.Eventually(t, "all slots are free", func() bool { return takenSlots() == 0 })
}

// However many chats come at once, no more are let in than the limits allow. Each chat that is let in gets a different
// number of chats left.
func TestAdmissionsAtOnce(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	const requests, limit = 200, 50
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, fmt.Sprintf("limit %d 24h\nlimit %d 12h site", limit, limit+10)))
	transport := &http.Transport{MaxConnsPerHost: 20}
	t.Cleanup(transport.CloseIdleConnections)
	var mu sync.Mutex
	var left []string
	var wg sync.WaitGroup
	for range requests {
		wg.Go(func() {
			resp, err := transport.RoundTrip(sitetest.ChatRequest(t, s.Plain, sitetest.Hello))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			sitetest.ReadAll(t, resp)
			if resp.StatusCode == http.StatusOK {
				mu.Lock()
				defer mu.Unlock()
				left = append(left, afterHowLong.ReplaceAllString(resp.Header.Get("RateLimit"), ""))
			}
		})
	}
	wg.Wait()
	slices.Sort(left)
	if len(left) != limit || len(slices.Compact(left)) != limit {
		t.Errorf("%d were let in, want %d: %q", len(left), limit, left)
	}
	if got := len(upstream.Take()); got != limit {
		t.Errorf("the upstream was asked %d times, want %d", got, limit)
	}
}

// A chat counts once the upstream has it, even if the visitor leaves before there is an answer.
func TestLeavingCounts(t *testing.T) {
	for _, upstream := range sitetest.WireUpstreams {
		t.Run(upstream.Proto, func(t *testing.T) {
			asked := make(chan *sitetest.Wire)
			u := upstream.Start(t, func(w *sitetest.Wire) {
				asked <- w
				w.Stall()
			})
			s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, upstream.Transport+"\nlimit 3 1h"))
			for range 3 {
				conn := sitetest.SendRaw(t, s, sitetest.RawChat(sitetest.Hello))
				w := <-asked
				conn.Close()
				<-w.Gone
				sitetest.Eventually(t, "the slot is free", func() bool { return takenSlots() == 0 })
			}
			wantUsedUp(t, s.AskAs("", sitetest.Hello), `"client";r=0;t=_`)
		})
	}
}

// An open stream keeps its slot and the counts, even while a config without the chat runs.
func TestOpenStreamsKeepTheState(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	config := sitetest.ChatToURL(u.URL, "max_streams 1\nlimit 3 1h")
	s := sitetest.Serve(t, config)
	stream := sitetest.Converse(t, u, http.DefaultTransport, sitetest.ChatRequest(t, s.Plain, sitetest.Hello))
	s.Reload("respond 204")
	s.Reload(config)
	resp := s.AskAs("", sitetest.Hello)
	sitetest.WantError(t, resp, http.StatusServiceUnavailable, "overloaded:chat")
	wantLeft(t, resp, `"client";r=2;t=_`)
	stream.Finish(t)
	sitetest.Eventually(t, "the slot is free", func() bool { return takenSlots() == 0 })
}

// A request that is still at the handler of a replaced config shares its counts with the new config, and releases none
// of them.
func TestLateRequestsLeaveTheStateAlone(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	config := sitetest.ChatToURL(upstream.URL, "limit 3 1h")
	s := sitetest.ServeWith(t, "", config) // without a grace period, Caddy waits for the late request
	late := dial(t, s, fmt.Sprintf("Content-Length: %d", len(sitetest.Hello)))
	if _, err := io.WriteString(late, sitetest.Hello[:10]); err != nil {
		t.Fatal(err)
	}
	sitetest.ReadAll(t, s.AskAs("", sitetest.Hello)) // once this is answered, the late request has surely arrived
	s.Reload(config)
	sitetest.Eventually(t, "the old config is gone", func() bool { return len(adminStatus()) == 2 }) // the site has two servers
	if _, err := io.WriteString(late, sitetest.Hello[10:]); err != nil {
		t.Fatal(err)
	}
	wantLetIn(t, readResponse(t, late), `"client";r=1;t=_`)
	sitetest.Eventually(t, "the chat is over", func() bool { return takenSlots() == 0 && ours() == "" })
	wantLetIn(t, s.AskAs("", sitetest.Hello), `"client";r=0;t=_`)
	wantUsedUp(t, s.AskAs("", sitetest.Hello), `"client";r=0;t=_`) // the late chat counted together with the others
}

// When a limit is used up whose placeholder is empty, the log says that the key is empty.
func TestEmptyKeysAreTold(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "limit 1 1h {http.nonsense}"))
	wantLetIn(t, s.AskAs("", sitetest.Hello), "")
	wantUsedUp(t, s.AskAs("", sitetest.Hello), "")
	wantUsedUp(t, s.AskAs("", sitetest.Hello), "")
	for _, line := range wantTold(t, s, "warn", "is used up", 1) {
		if !strings.Contains(line.raw, "{http.nonsense}") || !strings.Contains(line.raw, `"key_is_empty":true`) {
			t.Errorf("the log does not say why: %s", line.raw)
		}
	}
}
