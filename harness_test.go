package illumichat

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// patience bounds a wait for what is expected to come soon.
const patience = 10 * time.Second

// chatPath is where the tests' sites have their chat.
const chatPath = "/api/chat-proxy"

// hello is a chat that the sandbox answers with every type of event.
const hello = `{"assistantId":"asst_demo","messages":[{"role":"user","content":"Hello"}]}`

// requirePackages has a test run only where npm has installed what is in testdata/clients.
func requirePackages(tb testing.TB) {
	tb.Helper()
	_, err := os.Stat("testdata/clients/node_modules/.package-lock.json") // npm writes it last
	require.That(tb, "npm", "the npm packages of testdata/clients (npm ci --ignore-scripts --prefix testdata/clients)", err)
}

// site is a site that a real Caddy serves, over plain HTTP/1.1 and over TLS with HTTP/1.1, 2 and 3.
type site struct {
	plain  string // http://127.0.0.1:PORT
	secure string // https://localhost:PORT
	logs   string // the file with all that Caddy logs, from debug on

	tb      testing.TB
	global  string
	storage string
	tls     string // the files of the certificate and its key
}

// serve runs Caddy with a site of the given directives until the test ends. There can be one at a time.
func serve(tb testing.TB, directives string) *site {
	tb.Helper()
	return serveWith(tb, "grace_period 1ms", directives)
}

// serveWith is serve with global options.
func serveWith(tb testing.TB, global, directives string) *site {
	tb.Helper()
	s := newSite(tb, global)
	tb.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			tb.Errorf("stopping Caddy: %v", err)
		}
	})
	s.reload(directives)
	return s
}

// newSite is a site that is not served yet.
func newSite(tb testing.TB, global string) *site {
	tb.Helper()
	certFile, keyFile := localhost.Certificate(tb)
	ports := localhost.Ports(tb, 2)
	return &site{
		plain:   fmt.Sprintf("http://127.0.0.1:%d", ports[0]),
		secure:  fmt.Sprintf("https://localhost:%d", ports[1]),
		logs:    filepath.Join(tb.TempDir(), "caddy.log"),
		tb:      tb,
		global:  global,
		storage: tb.TempDir(),
		tls:     certFile + " " + keyFile,
	}
}

// reload replaces the site's directives.
func (s *site) reload(directives string) {
	s.tb.Helper()
	load(s.tb, s.adapt(directives))
	// A connection that the old config's listener has taken and not accepted is reset when it closes.
	for _, url := range []string{s.plain, s.secure} {
		port := url[strings.LastIndex(url, ":")+1:]
		eventually(s.tb, "the old listener is closed", func() bool {
			return caddy.ListenerUsage("tcp", "127.0.0.1:"+port) <= 1 && listeners(port) <= 1
		})
	}
}

// listeners returns how many sockets listen at a TCP port, where the system is Linux: Caddy stops to count a
// listener just before it closes it.
func listeners(port string) int {
	sockets, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(port)
	return strings.Count(string(sockets), fmt.Sprintf(" 0100007F:%04X 00000000:0000 0A ", n))
}

func (s *site) adapt(directives string) []byte {
	s.tb.Helper()
	return matchLoaded(s.tb, adapt(s.tb, fmt.Sprintf(`{
		admin off
		persist_config off
		skip_install_trust
		default_bind 127.0.0.1
		auto_https disable_redirects
		storage file_system %s
		log {
			output file %s
			level DEBUG
		}
		%s
	}
	(site) {
		%s
	}
	%s {
		import site
	}
	%s {
		tls %s
		import site
	}
	`, s.storage, s.logs, s.global, directives, s.plain, s.secure, s.tls)))
}

// adapt turns a Caddyfile into JSON.
func adapt(tb testing.TB, caddyfile string) []byte {
	tb.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		tb.Fatalf("adapting the Caddyfile: %v", err)
	}
	return config
}

// log returns what Caddy has logged.
func (s *site) log() string {
	s.tb.Helper()
	log, err := os.ReadFile(s.logs)
	if err != nil {
		s.tb.Fatal(err)
	}
	return string(log)
}

// chatTo is an illumichat directive that asks server, with further subdirectives.
func chatTo(server *sandboxtest.Server, subdirectives string) string {
	return chatToURL(server.URL, subdirectives)
}

// chatToURL is chatTo for an upstream that is no sandbox.
func chatToURL(endpoint, subdirectives string) string {
	return fmt.Sprintf(`illumichat %s {
		token %s
		assistants %s
		endpoint %s
		%s
	}`, chatPath, sandbox.Token, sandbox.Assistant, endpoint, subdirectives)
}

// once is the subdirective for a test of what becomes of one try.
const once = "retry {\nattempts 1\n}"

// saying is a chat with one message; the sandbox takes one that begins with a slash as a command.
func saying(text string) string {
	message, err := json.Marshal(text)
	if err != nil {
		panic(err) // a string always can be marshalled
	}
	return fmt.Sprintf(`{"assistantId":"asst_demo","messages":[{"role":"user","content":%s}]}`, message)
}

// ask posts a chat to the site and returns the answer, whose body the test's end closes.
func (s *site) ask(chat string) *http.Response {
	s.tb.Helper()
	return s.send(http.DefaultTransport, chatRequest(s.tb, s.plain, chat))
}

func chatRequest(tb testing.TB, origin, chat string) *http.Request {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, origin+chatPath, strings.NewReader(chat))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	return req
}

func (s *site) send(transport http.RoundTripper, req *http.Request) *http.Response {
	s.tb.Helper()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		s.tb.Fatalf("sending the request: %v", err)
	}
	s.tb.Cleanup(func() { resp.Body.Close() })
	return resp
}

// protocols are the ways that visitors come. Each call makes new connections.
func protocols(tb testing.TB) map[string]http.RoundTripper {
	tb.Helper()
	insecure := &tls.Config{InsecureSkipVerify: true}
	h1 := &http.Transport{TLSClientConfig: insecure.Clone(), TLSNextProto: map[string]func(string, *tls.Conn) http.RoundTripper{}}
	h2 := &http.Transport{TLSClientConfig: insecure.Clone(), ForceAttemptHTTP2: true}
	h3 := &http3.Transport{TLSClientConfig: insecure.Clone()}
	tb.Cleanup(func() {
		h1.CloseIdleConnections()
		h2.CloseIdleConnections()
		h3.Close()
	})
	return map[string]http.RoundTripper{"HTTP/1.1": h1, "HTTP/2.0": h2, "HTTP/3.0": h3}
}

// readAll reads an answer to its end.
func readAll(tb testing.TB, resp *http.Response) string {
	tb.Helper()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatalf("reading the answer: %v", err)
	}
	return string(body)
}

// chatEvent is an event as a page sees it.
type chatEvent struct {
	Type         string `json:"type"`
	TextDelta    string `json:"textDelta"`
	FinishReason string `json:"finishReason"`
	Error        string `json:"error"`
	Code         string `json:"code"`
}

// decodeEvents reads the events of a whole stream.
func decodeEvents(tb testing.TB, stream string) []chatEvent {
	tb.Helper()
	var events []chatEvent
	for _, data := range slowEvents(stream) {
		var e chatEvent
		if err := json.Unmarshal([]byte(data), &e); err != nil {
			e.Type = "not JSON: " + data
		}
		events = append(events, e)
	}
	return events
}

// onlyFinish returns the finish of a stream, which must be its last event and the only one.
func onlyFinish(tb testing.TB, stream string) chatEvent {
	tb.Helper()
	events := decodeEvents(tb, stream)
	finishes := 0
	for _, e := range events {
		if e.Type == typeFinish {
			finishes++
		}
	}
	if finishes != 1 {
		tb.Fatalf("the stream has %d finishes, want 1: %.1000q", finishes, stream)
	}
	last := events[len(events)-1]
	if last.Type != typeFinish {
		tb.Fatalf("the last event is %q, want the finish: %.1000q", last.Type, stream)
	}
	return last
}

// wantError checks an answer against a row of the error table and returns its text.
func wantError(tb testing.TB, resp *http.Response, status int, code string) string {
	tb.Helper()
	body := readAll(tb, resp)
	if resp.StatusCode != status {
		tb.Errorf("got status %d, want %d: %s", resp.StatusCode, status, body)
	}
	var e struct{ Error, Code string }
	if err := json.Unmarshal([]byte(body), &e); err != nil {
		tb.Fatalf("the answer is not of the documented shape: %v: %q", err, body)
	}
	if e.Code != code {
		tb.Errorf("got code %q, want %q: %s", e.Code, code, body)
	}
	if e.Error == "" {
		tb.Errorf("the answer has no text: %s", body)
	}
	if got := resp.Header.Get("Content-Type"); got != "application/json" {
		tb.Errorf("got Content-Type %q", got)
	}
	if got := resp.Header.Get("Cache-Control"); got != "no-store" {
		tb.Errorf("got Cache-Control %q", got)
	}
	return e.Error
}

// nextEvent reads a stream up to the next blank line.
func nextEvent(tb testing.TB, stream *bufio.Reader) string {
	tb.Helper()
	var event []byte
	for {
		line, err := stream.ReadBytes('\n')
		event = append(event, line...)
		if err != nil {
			tb.Fatalf("reading the next event: %v after %q", err, event)
		}
		if len(bytes.TrimRight(line, "\r\n")) == 0 {
			return string(event)
		}
	}
}

// eventually waits for a condition.
func eventually(tb testing.TB, what string, condition func() bool) {
	tb.Helper()
	within(tb, patience, what, condition)
}

// within waits for a condition that may take longer than others.
func within(tb testing.TB, limit time.Duration, what string, condition func() bool) {
	tb.Helper()
	ctx, cancel := context.WithTimeout(tb.Context(), limit)
	defer cancel()
	for !condition() {
		select {
		case <-ctx.Done():
			tb.Fatalf("this did not happen in %s: %s", limit, what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
