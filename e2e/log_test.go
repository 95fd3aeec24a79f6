package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// When a config loads, a setting that works but needs attention is logged once, and nothing else is.
func TestWarnings(t *testing.T) {
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	const oddToken = "odd-but-long-enough-to-be-one"
	t.Setenv("TEST_ODD_TOKEN", oddToken)
	const token, assistants = "token {env.ILLUMICHAT_API_TOKEN}", "assistants asst_demo\nlimit 20 1h"
	tests := map[string]struct {
		lines string
		want  string // a piece of the one warning; "" for none
		level string // "" for warn
	}{
		"a clean config":              {token + "\n" + assistants, "", ""},
		"a token in a file":           {"token {file.testdata/token}\n" + assistants, "", ""},
		"a literal token":             {"token " + sandbox.Token + "\n" + assistants, "the token is part of the config", ""},
		"a token of another form":     {"token {env.TEST_ODD_TOKEN}\n" + assistants, "documented form", ""},
		"no limit":                    {token + "\nassistants asst_demo\nmax_streams 10", "no limit is set", "info"},
		"a response_timeout":          {token + "\n" + assistants + "\nresponse_timeout 3m", "response_timeout is longer than max_duration", ""},
		"an endpoint without a path":  {token + "\n" + assistants + "\nendpoint https://chat.example.com", "no path", ""},
		"a swapped alias":             {token + "\n" + assistants + "\nalias asst_help support", "looks like an assistant's id", ""},
		"any assistant":               {token + "\nassistants *\nlimit 20 1h", "every assistant", ""},
		"an endpoint in the clear":    {token + "\n" + assistants + "\nendpoint http://chat.example.com/api/chat", "not encrypted", ""},
		"an endpoint on 127.0.0.1":    {token + "\n" + assistants + "\nendpoint http://127.0.0.1:8081/api/chat", "", ""},
		"an endpoint on 127.9.9.9":    {token + "\n" + assistants + "\nendpoint http://127.9.9.9/api/chat", "", ""},
		"an endpoint on ::1":          {token + "\n" + assistants + "\nendpoint http://[::1]:8081/api/chat", "", ""},
		"an endpoint on localhost":    {token + "\n" + assistants + "\nendpoint http://localhost:8081/api/chat", "", ""},
		"an endpoint in the network":  {token + "\n" + assistants + "\nendpoint http://10.0.0.1/api/chat", "not encrypted", ""},
		"an endpoint named localhost": {token + "\n" + assistants + "\nendpoint http://localhost.example.com/api/chat", "not encrypted", ""},
	}
	s := sitetest.Serve(t, "respond 404")
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			before := len(s.Log())
			s.Reload("illumichat /chat {\n" + test.lines + "\n}")
			var got []string
			for _, line := range logLines(t, s.Log()[before:]) {
				if line.Logger != "http.handlers.illumichat" {
					continue
				}
				got = append(got, line.Level+": "+line.Msg)
				if strings.Contains(line.raw, sandbox.Token) || strings.Contains(line.raw, oddToken) {
					t.Errorf("the log holds the token: %s", line.raw)
				}
			}
			got = slices.Compact(got) // the site has two servers
			switch {
			case test.want == "" && len(got) != 0:
				t.Errorf("got %q, want nothing", got)
			case test.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], cmp.Or(test.level, "warn")+": ") || !strings.Contains(got[0], test.want)):
				t.Errorf("got %q, want one warning with %q in it", got, test.want)
			}
		})
	}
}

// logLine is a line of Caddy's log.
type logLine struct {
	Level, Logger, Msg, Code, Hint, Cause, Error string

	Endpoint, Assistant, Token string
	Server                     string
	Hosts, Paths, Sites        []string
	Repeated                   int
	Lasted                     float64 // seconds

	raw string
}

func logLines(t *testing.T, log string) []logLine {
	t.Helper()
	var lines []logLine
	for line := range strings.Lines(log) {
		l := logLine{raw: line}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("reading the log: %v: %s", err, line)
		}
		lines = append(lines, l)
	}
	return lines
}

// wantTold checks how many lines of the module's log have the level and a message with piece in it. It returns those
// lines.
func wantTold(t *testing.T, s *sitetest.Site, level, piece string, want int) []logLine {
	t.Helper()
	told := slices.DeleteFunc(logLines(t, s.Log()), func(line logLine) bool {
		return line.Logger != "http.handlers.illumichat" || line.Level != level || !strings.Contains(line.Msg, piece)
	})
	if len(told) != want {
		t.Errorf("the log has %d lines of %s with %q, want %d: %+v", len(told), level, piece, want, told)
	}
	return told
}

// Each fault is logged once, at its level, with a hint at what to do, and with the site that it concerns.
func TestTroublesOfChats(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	for _, row := range []struct {
		name, command string
		level         string
		hint          string
	}{
		{"a token that is refused", "/status 401", "error", "token"},
		{"an upstream's fault", "/status 500", "error", "upstream"},
		{"an upstream that is busy", "/status 503", "error", "upstream"},
		{"no chat API", "/html", "error", "endpoint"},
		{"a redirect", "/redirect", "error", "endpoint"},
		{"a leak in a header", "/echo-token-header", "error", "revoke"},
		{"no event", "/hang", "error", "response_timeout"},
		{"no answer", "/reset 0", "error", "reach"},
		{"a cut", "/cut 2", "warn", "closes connections"},
		{"a stall", "/stall", "warn", "idle_timeout"},
		{"a leak", "/echo-token", "error", "revoke"},
		{"a limit of the upstream", "/status 429 1", "warn", "limit"},
		{"a request that the upstream refuses", "/status 400", "warn", "endpoint"},
		{"an unknown assistant", "/status 404", "warn", "assistant's id"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := sitetest.Serve(t, "log\n"+sitetest.ChatTo(server, "heartbeat off\nidle_timeout 100ms\nresponse_timeout 100ms\n"+sitetest.Once))
			for range 3 {
				sitetest.ReadAll(t, s.AskAs("", sitetest.Saying(row.command)))
			}
			var told []logLine
			for _, line := range logLines(t, s.Log()) {
				if line.Logger != "http.handlers.illumichat" || line.Level == "debug" || strings.Contains(line.Msg, "the token is part of") || line.Level == "info" {
					continue
				}
				told = append(told, line)
				if strings.Contains(line.raw, sandbox.Token) {
					t.Errorf("the log holds the token: %s", line.raw)
				}
			}
			switch {
			case len(told) != 1:
				t.Errorf("the operator is told %d times: %+v", len(told), told)
			case told[0].Level != row.level || !strings.Contains(told[0].Hint, row.hint):
				t.Errorf("got %s, want a %s with %q in its hint", told[0].raw, row.level, row.hint)
			case told[0].Endpoint != server.URL || told[0].Assistant != sandbox.Assistant || told[0].Token != "literal":
				t.Errorf("the line does not say which site it is about: %s", told[0].raw)
			}
		})
	}
}

// A visitor who does not read for write_timeout is logged as a warning, without their address.
func TestStalledVisitorsAreTold(t *testing.T) {
	upstream := sitetest.NewHandUpstream(t)
	s := sitetest.Serve(t, "log\n"+sitetest.ChatToURL(upstream.URL, "write_timeout 50ms\nheartbeat off"))
	conn := sitetest.SendRaw(t, s, sitetest.RawChat(sitetest.Hello))
	answer := upstream.Next(t)
	event := "data: " + strings.Repeat("x", 30_000) + "\n\n"
	go func() {
		for {
			select {
			case answer.Parts <- event:
			case <-answer.Over:
				return
			}
		}
	}()
	<-answer.Over
	line := nextRecord(t, s, 1)
	if line.Illumichat["cause"] != "stalled:visitor" || line.Illumichat["outcome"] != "left" {
		t.Errorf("got %s", line.raw)
	}
	for _, line := range wantTold(t, s, "warn", "a visitor did not read the answer", 1) {
		if strings.Contains(line.raw, conn.LocalAddr().String()) || !strings.Contains(line.Cause, "timeout") || !strings.Contains(line.Hint, "write_timeout") {
			t.Errorf("the line has the visitor's address, or not why, or not what to do: %s", line.raw)
		}
	}
	_, _ = io.Copy(io.Discard, conn)
}

// chatFor returns an illumichat directive for a site of its own: its path, its token's placeholder, its assistant and its
// endpoint.
func chatFor(path, token, assistant, endpoint string) string {
	return fmt.Sprintf("illumichat %s {\ntoken %s\nassistants %s\nendpoint %s\nheartbeat off\n%s\n}\n", path, token, assistant, endpoint, sitetest.Once)
}

// chatWith returns a chat with an assistant.
func chatWith(assistant, text string) string {
	return strings.Replace(sitetest.Saying(text), sandbox.Assistant, assistant, 1)
}

// askAt posts a chat to a path of the site, and reads the answer.
func askAt(t *testing.T, s *sitetest.Site, path, chat string) {
	t.Helper()
	req := sitetest.ChatRequest(t, s.Plain, chat)
	req.URL.Path = path
	_, _ = io.Copy(io.Discard, s.Send(sitetest.OneShot, req).Body)
}

// The log tells one of several sites from the others: by the endpoint without secrets, the assistant, the token's
// placeholder, the server, and the hosts and paths of the matchers.
func TestLogNamesTheSite(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Answering(500, ""))
	t.Setenv("TEST_SHOP_TOKEN", sandbox.Token)
	file := filepath.Join(t.TempDir(), "token")
	sitetest.WriteFile(t, file, sandbox.Token)
	const secret = "a-secret-key-of-the-endpoint"
	s := sitetest.Serve(t, `
		@shop {
			host 127.0.0.1 www.localhost
			path /shop*
		}
		handle @shop {
			`+chatFor("/shop/chat", "{env.TEST_SHOP_TOKEN}", "asst_shop", upstream.URL+"/shop?key="+secret)+`
		}
		handle /forum/* {
			`+chatFor("", "{file."+file+"}", "asst_forum", upstream.URL+"/forum")+`
		}`)
	askAt(t, s, "/shop/chat", chatWith("asst_shop", "Hello"))
	askAt(t, s, "/forum/chat", chatWith("asst_forum", "Hello"))
	var got []string
	lines := wantTold(t, s, "error", "the chat failed", 2)
	server := lines[0].Server
	if server == "" {
		t.Errorf("a line has no server: %s", lines[0].raw)
	}
	for _, line := range lines {
		endpoint, _, _ := strings.Cut(strings.TrimPrefix(line.Endpoint, upstream.URL), "?")
		got = append(got, fmt.Sprintf("%s %s %s %s %q %q", endpoint, line.Assistant, line.Token, line.Server, line.Hosts, line.Paths))
	}
	if want := []string{
		`/shop asst_shop {env.TEST_SHOP_TOKEN} ` + server + ` ["127.0.0.1" "www.localhost"] ["/shop/chat"]`,
		`/forum asst_forum {file.` + file + `} ` + server + ` ["127.0.0.1"] ["/forum/*"]`,
	}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, line := range logLines(t, s.Log()) {
		if line.Logger == "http.handlers.illumichat" && (strings.Contains(line.raw, secret) || strings.Contains(line.raw, sandbox.Token)) {
			t.Errorf("the line has a secret: %s", line.raw)
		}
	}
}

// What concerns many sites of a config alike is one line, which names them.
func TestOneLineNamesAllSites(t *testing.T) {
	t.Setenv("TEST_SHOP_TOKEN", sandbox.Token)
	s := sitetest.Serve(t, `
		@shop host shop.localhost www.localhost
		handle @shop {
			illumichat /chat {
				token {env.TEST_SHOP_TOKEN}
				assistants asst_shop
			}
		}
		@forum host forum.localhost
		handle @forum {
			illumichat {
				token {env.TEST_SHOP_TOKEN}
				assistants asst_forum
			}
		}
		@inner host inner.localhost
		handle @inner {
			handle_path /a/* {
				illumichat /chat {
					token {env.TEST_SHOP_TOKEN}
					assistants asst_inner
				}
			}
		}
		@pattern path_regexp ^/pattern$
		illumichat @pattern {
			token {env.TEST_SHOP_TOKEN}
			assistants asst_pattern
			limit 20 1h
		}
		intercept {
			@missing status 404
			handle_response @missing {
				illumichat /response {
					token {env.TEST_SHOP_TOKEN}
					assistants asst_response
					limit 20 1h
				}
			}
		}
		illumichat /limited {
			token {env.TEST_SHOP_TOKEN}
			assistants asst_limited
			limit 20 1h
		}`)
	for piece, want := range map[string][]string{
		// The site has two servers.
		"no limit is set": {
			"forum.localhost (srv0)", "forum.localhost (srv1)", "inner.localhost /a/* /chat (srv0)", "inner.localhost /a/* /chat (srv1)",
			"shop.localhost,www.localhost /chat (srv0)", "shop.localhost,www.localhost /chat (srv1)",
		},
		"no path is set": {"forum.localhost (srv0)", "forum.localhost (srv1)"},
	} {
		if line := wantTold(t, s, "info", piece, 1)[0]; !slices.Equal(line.Sites, want) {
			t.Errorf("%s: got the sites %q, want %q", piece, line.Sites, want)
		}
	}
}

// A config that is only validated logs its warnings, too.
func TestWarningsOfAValidation(t *testing.T) {
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	s := sitetest.Serve(t, "respond 404")
	if err := sitetest.Validate(t, s.Adapt(chatFor("/chat", "{env.ILLUMICHAT_API_TOKEN}", "*", "https://chat.example.com/api/chat"))); err != nil {
		t.Fatal(err)
	}
	if log := s.Log(); !strings.Contains(log, "every assistant") || !strings.Contains(log, "no limit is set") {
		t.Errorf("the log has no warning: %s", log)
	}
}

// A config that Caddy refuses for another reason logs no warnings, because it never answers a chat.
func TestRefusedConfigWarnsOfNothing(t *testing.T) {
	file := filepath.Join(t.TempDir(), "Caddyfile")
	validate := func(chats string) (log string, status int) {
		sitetest.WriteFile(t, file, ":80 {\n"+chats+"\n}")
		_, log, status = sitetest.Command(t, []string{"ILLUMICHAT_API_TOKEN=" + sandbox.Token}, "validate", "--config", file)
		return log, status
	}
	const endpoint = "https://chat.example.com/api/chat"
	first := chatFor("/chat", "{env.ILLUMICHAT_API_TOKEN}", "*", endpoint)
	if log, status := validate(first); status != 0 || !strings.Contains(log, "every assistant") {
		t.Fatalf("without the mistake, the exit status is %d and the log\n%s", status, log)
	}
	// The longer path is provisioned first.
	log, status := validate(first + chatFor("/z", "{env.TEST_NO_SUCH_TOKEN}", "asst_1", endpoint))
	if status == 0 || !strings.Contains(log, "the chat with asst_1: token: {env.TEST_NO_SUCH_TOKEN} is empty") {
		t.Errorf("the exit status is %d and the log\n%s", status, log)
	}
	if strings.Contains(log, "every assistant") || strings.Contains(log, "no limit is set") {
		t.Errorf("the log has a warning: %s", log)
	}
}

// An upstream that refuses an admitted chat is a warning that says what to check, once a minute. Only what the visitor
// causes is not told: too large, too often, and a chatId that the upstream does not know.
func TestRefusalsOfTheUpstreamAreTold(t *testing.T) {
	const words = "their-private-words"
	stated := func(status int, code string) http.HandlerFunc {
		return sitetest.Answering(status, `{"error":"`+words+`","code":"`+code+`"}`, "Content-Type", "application/json")
	}
	committed := make(chan struct{}, 1) // the visitor has the response headers
	late := func(code string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream")
			_ = http.NewResponseController(w).Flush()
			<-committed
			_, _ = io.WriteString(w, `data: {"error":"`+words+`","code":"`+code+"\"}\n\n")
		}
	}
	continued := strings.Replace(sitetest.Hello, "{", `{"chatId":"chat_1",`, 1)
	for _, row := range []struct {
		name   string
		answer http.HandlerFunc
		chat   string
		hint   string // a piece of the warning's; "": there must be none
	}{
		{"400", sitetest.Answering(400, words), sitetest.Hello, "endpoint"},
		{"400 of the API", stated(400, "bad_request:chat"), sitetest.Hello, "assistant's id"},
		{"400 to a chat that goes on", stated(400, "bad_request:chat"), continued, "assistant's id"},
		{"402", sitetest.Answering(402, words), sitetest.Hello, "account"},
		{"a plan that is not enough", stated(400, "plan_limit:chat"), sitetest.Hello, "account"},
		{"404", sitetest.Answering(404, words), sitetest.Hello, "endpoint"},
		{"404 of the API", stated(404, "not_found:assistant"), sitetest.Hello, "assistant's id"},
		{"405", sitetest.Answering(405, words), sitetest.Hello, "endpoint"},
		{"410", sitetest.Answering(410, words), sitetest.Hello, "endpoint"},
		{"422", sitetest.Answering(422, words), sitetest.Hello, "pass_fields"},
		{"a 200 that is a 400", stated(200, "bad_request:chat"), sitetest.Hello, "endpoint"},
		{"a 200 that is a 404", stated(200, "not_found:chat"), sitetest.Hello, "assistant's id"},
		{"a late 404", late("not_found:chat"), sitetest.Hello, "assistant's id"},

		{"404 to a chat that goes on", stated(404, "not_found:chat"), continued, ""},
		{"a 200 that is a 404, to a chat that goes on", stated(200, "not_found:chat"), continued, ""},
		{"a late 404 to a chat that goes on", late("not_found:chat"), continued, ""},
		{"413", sitetest.Answering(413, words), sitetest.Hello, ""},
		{"429", sitetest.Answering(429, words), sitetest.Hello, ""},
		{"a late 429", late("rate_limit:chat"), sitetest.Hello, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			upstream := sitetest.NewUpstream(t, row.answer)
			s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "commit_after 1ms\n"+sitetest.Once))
			before := len(s.Log())
			for range 3 {
				resp := s.Ask(row.chat)
				if resp.StatusCode == http.StatusOK {
					committed <- struct{}{}
				}
				sitetest.ReadAll(t, resp)
			}
			var told []logLine
			for _, line := range logLines(t, s.Log()[before:]) {
				if line.Logger == "http.handlers.illumichat" && line.Level != "debug" {
					told = append(told, line)
				}
				if strings.Contains(line.raw, words) {
					t.Errorf("the log has the upstream's words: %s", line.raw)
				}
			}
			switch {
			case row.hint == "" && len(told) != 0:
				t.Errorf("the operator is told %+v", told)
			case row.hint == "":
			case len(told) != 1 || told[0].Level != "warn" || !strings.Contains(told[0].Hint, row.hint):
				t.Errorf("got %+v, want one warning with %q in its hint", told, row.hint)
			}
		})
	}
}

// Within a minute, each cause and each assistant has a line: a fault must not hide another one.
func TestEachCauseIsTold(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(map[string]http.HandlerFunc{
		"page":   sitetest.Answering(200, "<html>", "Content-Type", "text/html"),
		"zipped": sitetest.Answering(200, "data: {}\n\n", "Content-Type", "text/event-stream", "Content-Encoding", "gzip"),
		"broken": sitetest.Answering(500, ""),
		"busy":   sitetest.Answering(503, ""),
		"torn":   sitetest.Breaking(sitetest.Answering(200, sitetest.Delta, "Content-Type", "text/event-stream")),
		"silent": sitetest.Stalling(sitetest.Answering(200, sitetest.Delta, "Content-Type", "text/event-stream")),
	}))
	s := sitetest.Serve(t, strings.Replace(sitetest.ChatToURL(upstream.URL, "idle_timeout 100ms\nheartbeat off\n"+sitetest.Once),
		"assistants asst_demo", "assistants asst_demo asst_other", 1))
	for range 2 {
		for _, text := range []string{"page", "zipped", "broken", "busy", "torn", "silent"} {
			askAt(t, s, sitetest.ChatPath, chatWith(sandbox.Assistant, text))
			askAt(t, s, sitetest.ChatPath, chatWith("asst_other", text))
		}
	}
	told := append(wantTold(t, s, "error", "the chat failed", 8), wantTold(t, s, "warn", "the answer broke off", 4)...)
	seen := make(map[string]int)
	for _, line := range told {
		seen[line.Assistant+": "+line.Code+", "+line.Cause]++
	}
	if len(seen) != 12 {
		t.Errorf("got %d different lines, want 12: %v", len(seen), seen)
	}
}

// The operator who mends the token's file sees each mistake at once, and one line when the file is well.
func TestMendingTheTokenIsTold(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	file := filepath.Join(t.TempDir(), "token")
	sitetest.WriteFile(t, file, sandbox.Token)
	s := sitetest.Serve(t, chatFor(sitetest.ChatPath, "{file."+file+"}", sandbox.Assistant, server.URL))
	ask := func() { askAt(t, s, sitetest.ChatPath, sitetest.Hello) }
	ask()
	for _, content := range []string{"", "short", "two words that are no token", "\"" + sandbox.Token + "\""} {
		sitetest.WriteFile(t, file, content)
		ask()
		ask()
	}
	told := wantTold(t, s, "error", "the chat failed", 4)
	for i, piece := range []string{"empty", "shorter", "space", "quotation marks"} {
		if i < len(told) && !strings.Contains(told[i].Cause, piece) {
			t.Errorf("the cause is %q, want %q in it", told[i].Cause, piece)
		}
	}
	wantTold(t, s, "info", "again", 0)
	sitetest.WriteFile(t, file, sandbox.Token)
	ask()
	ask()
	for _, line := range wantTold(t, s, "info", "again", 1) {
		if !strings.Contains(line.Msg, "token") || line.Repeated != 4 || line.Lasted <= 0 || line.Assistant != sandbox.Assistant {
			t.Errorf("the line does not say what works again, and how long it did not: %s", line.raw)
		}
	}
}

// If an upstream refuses chats because of the operator's account, the hint is about the account, whatever the status.
func TestHintAtTheAccountIsTold(t *testing.T) {
	const plan = `{"error":"Your plan does not include this","code":"plan_upgrade_required"}`
	const stated = `{"error":"Their words","code":"forbidden:plan"}`
	for name, answer := range map[string]http.HandlerFunc{
		"402":                       sitetest.Answering(402, ""),
		"403 of another form":       sitetest.Answering(403, plan),
		"403 of the API":            sitetest.Answering(403, stated),
		"a 200 that is a 403":       sitetest.Answering(200, stated, "Content-Type", "application/json"),
		"400 of another form":       sitetest.Answering(400, plan),
		"503 of another form":       sitetest.Answering(503, plan),
		"an error event, then none": sitetest.Answering(200, sitetest.Delta+`data: {"type":"error","error":"Their words","code":"plan_limit:chat"}`+"\n\n", "Content-Type", "text/event-stream"),
	} {
		t.Run(name, func(t *testing.T) {
			upstream := sitetest.NewUpstream(t, answer)
			s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, sitetest.Once))
			askAt(t, s, sitetest.ChatPath, sitetest.Hello)
			var told []logLine
			for _, line := range logLines(t, s.Log()) {
				if line.Hint != "" {
					told = append(told, line)
				}
			}
			if len(told) != 1 || !strings.Contains(told[0].Hint, "account") || strings.Contains(told[0].raw, "not include") {
				t.Errorf("got %+v, want one line with a hint at the account", told)
			}
		})
	}
}

// When an assistant that failed answers again, the log says so once, with the time and the failures that have no line.
// An answer of another assistant says nothing about it.
func TestAnswersAgainAreTold(t *testing.T) {
	for name, more := range map[string]string{"plain": "", "with resume": "resume"} {
		t.Run(name, func(t *testing.T) {
			server := sandboxtest.NewServer(t, sandbox.Options{Assistants: []string{sandbox.Assistant, "asst_other"}})
			s := sitetest.Serve(t, strings.Replace(sitetest.ChatTo(server, more+"\n"+sitetest.Once),
				"assistants asst_demo", "assistants asst_demo asst_other", 1))
			ask := func(assistant, text string) { askAt(t, s, sitetest.ChatPath, chatWith(assistant, text)) }
			again := func() int { return strings.Count(s.Log(), "is answered again") }

			ask(sandbox.Assistant, "Hello")
			for range 3 {
				ask(sandbox.Assistant, "/status 500")
			}
			ask("asst_other", "/status 500")
			wantTold(t, s, "error", "the chat failed", 2)
			ask(sandbox.Assistant, "/status 429") // no answer, and no fault
			if again() != 0 {
				t.Fatal("the log says that the chat is answered again, before it is")
			}
			ask(sandbox.Assistant, "Hello")
			sitetest.Eventually(t, "the log says that the chat is answered again", func() bool { return again() > 0 })
			for _, line := range wantTold(t, s, "info", "is answered again", 1) {
				if line.Assistant != sandbox.Assistant || line.Repeated != 2 || line.Lasted <= 0 || line.Endpoint != server.URL || line.Token != "literal" {
					t.Errorf("the line does not say which site is well, and how long it was not: %s", line.raw)
				}
			}
			// Within the same minute, a failure has no line, so its end has none.
			ask(sandbox.Assistant, "/status 500")
			ask(sandbox.Assistant, "Hello")
			ask("asst_other", "Hello")
			sitetest.Eventually(t, "the log says that the other assistant answers again", func() bool { return again() > 1 })
			told := wantTold(t, s, "info", "is answered again", 2)
			if last := told[len(told)-1]; last.Assistant != "asst_other" || last.Repeated != 0 {
				t.Errorf("got %s, want the other assistant", last.raw)
			}
		})
	}
}
