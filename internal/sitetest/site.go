package sitetest

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
)

// Site is a site that a real Caddy serves, over plain HTTP/1.1 and over TLS with HTTP/1.1, 2 and 3.
type Site struct {
	Plain  string // http://127.0.0.1:PORT
	Secure string // https://localhost:PORT
	logs   string // the file with all that Caddy logs, from debug on

	tb      testing.TB
	Global  string
	storage string
	TLS     string // the files of the certificate and its key
}

// Serve runs Caddy with a site of the given directives until the test ends. There can be one at a time.
func Serve(tb testing.TB, directives string) *Site {
	tb.Helper()
	return ServeWith(tb, "grace_period 1ms", directives)
}

// ServeWith is serve with global options.
func ServeWith(tb testing.TB, global, directives string) *Site {
	tb.Helper()
	s := New(tb, global)
	tb.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			tb.Errorf("stopping Caddy: %v", err)
		}
	})
	s.Reload(directives)
	return s
}

// New is a site that is not served yet.
func New(tb testing.TB, global string) *Site {
	tb.Helper()
	certFile, keyFile := localhost.Certificate(tb)
	ports := localhost.Ports(tb, 2)
	return &Site{
		Plain:   fmt.Sprintf("http://127.0.0.1:%d", ports[0]),
		Secure:  fmt.Sprintf("https://localhost:%d", ports[1]),
		logs:    filepath.Join(tb.TempDir(), "caddy.log"),
		tb:      tb,
		Global:  global,
		storage: tb.TempDir(),
		TLS:     certFile + " " + keyFile,
	}
}

// Reload replaces the site's directives.
func (s *Site) Reload(directives string) {
	s.tb.Helper()
	Load(s.tb, s.Adapt(directives))
	// A connection that the old config's listener has taken and not accepted is reset when it closes.
	for _, url := range []string{s.Plain, s.Secure} {
		port := url[strings.LastIndex(url, ":")+1:]
		Eventually(s.tb, "the old listener is closed", func() bool {
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

func (s *Site) Adapt(directives string) []byte {
	s.tb.Helper()
	return matchLoaded(s.tb, Adapt(s.tb, fmt.Sprintf(`{
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
	`, s.storage, s.logs, s.Global, directives, s.Plain, s.Secure, s.TLS)))
}

// Log returns what Caddy has logged.
func (s *Site) Log() string {
	s.tb.Helper()
	log, err := os.ReadFile(s.logs)
	if err != nil {
		s.tb.Fatal(err)
	}
	return string(log)
}

// Ask posts a chat to the site and returns the answer, whose body the test's end closes.
func (s *Site) Ask(chat string) *http.Response {
	s.tb.Helper()
	return s.Send(http.DefaultTransport, ChatRequest(s.tb, s.Plain, chat))
}

func (s *Site) Send(transport http.RoundTripper, req *http.Request) *http.Response {
	s.tb.Helper()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		s.tb.Fatalf("sending the request: %v", err)
	}
	s.tb.Cleanup(func() { resp.Body.Close() })
	return resp
}

// AskAs sends a chat, on a connection of its own, to a site that is behindProxy.
func (s *Site) AskAs(client, chat string) *http.Response {
	s.tb.Helper()
	req := ChatRequest(s.tb, s.Plain, chat)
	req.Header.Set("X-Forwarded-For", client)
	return s.Send(OneShot, req)
}

// OneShot keeps no connection that a reload may close.
var OneShot = &http.Transport{DisableKeepAlives: true}

// BehindProxy has the sites of a test believe the test when it says which client it is.
const BehindProxy = "grace_period 1ms\nservers {\ntrusted_proxies static 127.0.0.1/32\ntrusted_proxies_strict\n}"
