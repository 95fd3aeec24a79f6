package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// askedWith returns the token that the n-th request brought upstream, from 0.
func askedWith(t *testing.T, server *sandboxtest.Server, n int) string {
	t.Helper()
	token, ok := strings.CutPrefix(server.Request(t, n).Header.Get("Authorization"), "Bearer ")
	if !ok {
		t.Errorf("request %d has no bearer token", n)
	}
	return token
}

// fileSite serves a site whose token is in a file, and returns the path of the file.
func fileSite(t *testing.T, server *sandboxtest.Server) (s *sitetest.Site, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "token")
	sitetest.WriteFile(t, file, sandbox.Token+"\n")
	return sitetest.Serve(t, fmt.Sprintf(`illumichat %s {
		token {file.%s}
		assistants %s
		endpoint %s
	}`, sitetest.ChatPath, file, sandbox.Assistant, server.URL)), file
}

// A request uses the token that the file holds at that moment, without a reload.
func TestRotatedTokenNeedsNoReload(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s, file := fileSite(t, server)
	tokens := []string{sandbox.Token, sitetest.FakeToken("1"), sitetest.FakeToken("2"), sandbox.Token}
	for n, token := range tokens {
		if n%2 == 0 {
			sitetest.WriteFile(t, file, token+"\n")
		} else { // as secret stores do it
			next := file + ".next"
			sitetest.WriteFile(t, next, token)
			if err := os.Rename(next, file); err != nil {
				t.Fatal(err)
			}
		}
		resp := s.Ask(sitetest.Hello)
		if token == sandbox.Token {
			sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp))
		} else {
			sitetest.WantError(t, resp, http.StatusBadGateway, "unauthorized:upstream") // the sandbox accepts only its own
		}
		if got := askedWith(t, server, n); got != token {
			t.Errorf("request %d was sent with %q, want %q", n, got, token)
		}
	}
	if got := len(server.Requests()); got != len(tokens) {
		t.Errorf("the upstream got %d requests, want %d", got, len(tokens))
	}
}

// A site whose token file does not exist yet loads, and the log says so. Its chat works as soon as the file is there.
func TestTokenFileComesLater(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	file := filepath.Join(t.TempDir(), "token")
	s := sitetest.Serve(t, fmt.Sprintf(`illumichat %s {
		token {file.%s}
		assistants %s
		endpoint %s
	}`, sitetest.ChatPath, file, sandbox.Assistant, server.URL))
	lines := logLines(t, s.Log())
	if !slices.ContainsFunc(lines, func(l logLine) bool {
		return l.Level == "error" && strings.Contains(l.raw, "there is no token, so") && strings.Contains(l.raw, file)
	}) {
		t.Errorf("the log does not say that there is no token: %+v", lines)
	}
	sitetest.WantError(t, s.Ask(sitetest.Hello), http.StatusBadGateway, "unauthorized:upstream")
	sitetest.WriteFile(t, file, sandbox.Token)
	sitetest.OnlyFinish(t, sitetest.ReadAll(t, s.Ask(sitetest.Hello)))
}

// If the token file cannot be used, no older token takes its place, and the upstream is not asked. The log says so
// once.
func TestUnusableTokenFile(t *testing.T) {
	for what, breakIt := range map[string]func(file string){
		"removed":     func(string) {},
		"a directory": func(file string) { mkdir(t, file) },
		"empty":       func(file string) { sitetest.WriteFile(t, file, "") },
		"a line end":  func(file string) { sitetest.WriteFile(t, file, "\n") },
		"too short":   func(file string) { sitetest.WriteFile(t, file, "ic_sandbox\n") },
		"two lines":   func(file string) { sitetest.WriteFile(t, file, sandbox.Token+"\n"+sitetest.FakeToken("1")+"\n") },
		"two words":   func(file string) { sitetest.WriteFile(t, file, sandbox.Token+" "+sitetest.FakeToken("1")) },
	} {
		t.Run(what, func(t *testing.T) {
			server := sandboxtest.NewServer(t, sandbox.Options{})
			s, file := fileSite(t, server)
			sitetest.OnlyFinish(t, sitetest.ReadAll(t, s.Ask(sitetest.Hello)))
			server.Request(t, 0).Wait(t)

			remove(t, file)
			breakIt(file)
			var answers sync.WaitGroup
			for range 5 {
				answers.Go(func() {
					resp, err := http.DefaultTransport.RoundTrip(sitetest.ChatRequest(t, s.Plain, sitetest.Hello))
					if err != nil {
						t.Error(err)
						return
					}
					defer resp.Body.Close()
					text := sitetest.WantError(t, resp, http.StatusBadGateway, "unauthorized:upstream")
					if strings.Contains(text, "token") || strings.Contains(text, file) {
						t.Errorf("the visitor is told %q", text)
					}
				})
			}
			answers.Wait()
			if got := len(server.Requests()); got != 1 {
				t.Errorf("the upstream got %d requests without a usable token", got-1)
			}
			var told []logLine
			for _, line := range logLines(t, s.Log()) {
				if line.Level == "error" && line.Logger == "http.handlers.illumichat" {
					told = append(told, line)
				}
				if strings.Contains(line.raw, "ic_sandbox") {
					t.Errorf("the log holds the token: %s", line.raw)
				}
			}
			if len(told) != 1 {
				t.Errorf("the log has %d lines of errors, want 1: %+v", len(told), told)
			} else if told[0].Code != "unauthorized:upstream" || !strings.Contains(told[0].Hint, "file") || told[0].Cause == "" {
				t.Errorf("the log does not say what to do: %+v", told[0])
			}

			remove(t, file)
			sitetest.WriteFile(t, file, sitetest.FakeToken("2"))
			sitetest.WantError(t, s.Ask(sitetest.Hello), http.StatusBadGateway, "unauthorized:upstream") // the sandbox accepts only its own
			if got := askedWith(t, server, 1); got != sitetest.FakeToken("2") {
				t.Errorf("with the file back, the upstream was asked with %q", got)
			}
			sitetest.WriteFile(t, file, sandbox.Token)
			sitetest.OnlyFinish(t, sitetest.ReadAll(t, s.Ask(sitetest.Hello)))
		})
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.RemoveAll(path); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, path string) {
	t.Helper()
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

// leakRequests returns chats that end in every possible way.
func leakRequests(t *testing.T, s *sitetest.Site) []*http.Request {
	t.Helper()
	var requests []*http.Request
	for _, chat := range []string{
		sitetest.Hello, "{", `{"messages":[]}`, `{"assistantId":"asst_other","messages":[{"role":"user","content":"Hello"}]}`,
		`{"assistantId":"asst_demo","chatId":"unknown","messages":[{"role":"user","content":"Hello"}]}`,
		sitetest.Saying("/status 400"), sitetest.Saying("/status 401"), sitetest.Saying("/status 403"), sitetest.Saying("/status 404"), sitetest.Saying("/status 407"), sitetest.Saying("/status 429"),
		sitetest.Saying("/status 500"), sitetest.Saying("/status 503"), sitetest.Saying("/reset 0"), sitetest.Saying("/reset"), sitetest.Saying("/cut 0"), sitetest.Saying("/cut"), sitetest.Saying("/torn"),
		sitetest.Saying("/bad-json"), sitetest.Saying("/gzip"), sitetest.Saying("/html"), sitetest.Saying("/json"), sitetest.Saying("/redirect"), sitetest.Saying("/no-content"), sitetest.Saying("/silent"), sitetest.Saying("/stall"),
		sitetest.Saying("/echo-token"), sitetest.Saying("/echo-token-header"), sitetest.Saying("/echo-token-error"), sitetest.Saying("/echo-token-json"),
		sitetest.Saying("/status 429 7"), sitetest.Hello, // during a cool-down
	} {
		requests = append(requests, sitetest.ChatRequest(t, s.Plain, chat))
	}
	foreign := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
	foreign.Header.Set("Origin", "https://elsewhere.example")
	foreign.Header.Set("Sec-Fetch-Site", "cross-site")
	text := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
	text.Header.Set("Content-Type", "text/plain")
	get := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
	get.Method = http.MethodGet
	return append(requests, foreign, text, get)
}

// No answer, log line, adapted config or answer of the admin API holds the token, even with Caddy's most verbose
// options.
func TestTokenLeaksNowhere(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	sitetest.WriteFile(t, file, sandbox.Token+"\n")
	t.Setenv("TEST_TOKEN", sandbox.Token)
	const options = `grace_period 1ms
		debug
		servers {
			trace
			log_credentials
		}`
	for what, token := range map[string]string{"environment": "{env.TEST_TOKEN}", "file": "{file." + file + "}"} {
		t.Run(what, func(t *testing.T) {
			server := sandboxtest.NewServer(t, sandbox.Options{})
			directives := fmt.Sprintf(`log
				illumichat %s {
					token %s
					assistants %s
					endpoint %s
					response_timeout 300ms
					idle_timeout 300ms
					retry {
						backoff 1ms 10ms
					}
				}`, sitetest.ChatPath, token, sandbox.Assistant, server.URL)
			s := sitetest.ServeWith(t, options, directives)
			hides := func(where, text string) {
				t.Helper()
				if strings.Contains(text, sandbox.Token) {
					t.Errorf("%s holds the token: %s", where, text)
				}
			}
			hides("the adapted config", string(s.Adapt(directives)))

			requests := leakRequests(t, s)
			for _, req := range requests {
				resp := s.Send(http.DefaultTransport, req)
				answer, err := httputil.DumpResponse(resp, true)
				if err != nil {
					t.Fatal(err)
				}
				hides("the answer", string(answer))
			}
			sitetest.Eventually(t, "all requests are in the access log", func() bool {
				return strings.Count(s.Log(), `"msg":"handled request"`) == len(requests)
			})
			for _, line := range logLines(t, s.Log()) {
				hides("the log", line.raw)
			}
			if !strings.Contains(s.Log(), `"token":"`+token+`"`) {
				t.Error("the option trace has not logged the handler")
			}

			hides("the admin API", adminConfig(t, s.Adapt(directives)))
		})
	}
}

// adminConfig loads a config with an admin API, returns what that shows of the config, and loads the config without it
// again.
func adminConfig(t *testing.T, config []byte) string {
	t.Helper()
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(config, &fields); err != nil {
		t.Fatal(err)
	}
	address := fmt.Sprintf("127.0.0.1:%d", localhost.Port(t))
	fields["admin"] = json.RawMessage(fmt.Sprintf(`{"listen": %q, "config": {"persist": false}}`, address))
	withAdmin, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	sitetest.Load(t, withAdmin)
	defer sitetest.Load(t, config)
	resp, err := http.Get("http://" + address + "/config/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(body), `"handler":"illumichat"`) {
		t.Fatalf("the admin API does not show the config: %d %s", resp.StatusCode, body)
	}
	return string(body)
}

// A literal token is part of the config, and so of what Caddy logs when the config loads. The trace line of a request
// redacts it.
func TestTraceRedactsALiteralToken(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.ServeWith(t, "grace_period 1ms\nservers {\ntrace\n}",
		fmt.Sprintf("illumichat %s {\ntoken %s\nassistants %s\nendpoint %s\n}", sitetest.ChatPath, sandbox.Token, sandbox.Assistant, server.URL))
	before := len(s.Log())
	sitetest.OnlyFinish(t, sitetest.ReadAll(t, s.Ask(sitetest.Hello)))
	log := s.Log()[before:]
	if !strings.Contains(log, `"token":"REDACTED"`) {
		t.Errorf("there is no redacted token in the log: %s", log)
	}
	if strings.Contains(log, "ic_sandbox") {
		t.Errorf("the log holds the token: %s", log)
	}
}
