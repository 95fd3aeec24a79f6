package sitetest

import (
	"bytes"
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
	logs   string // the file of Caddy's log, at level DEBUG

	tb      testing.TB
	Global  string // the global options
	storage string
	TLS     string // the paths of the certificate and its key, separated by a space
}

// Serve runs Caddy with a site of the given directives until the test ends. The Caddy is that of this process, so only one site
// can be served at a time.
func Serve(tb testing.TB, directives string) *Site {
	tb.Helper()
	return ServeWith(tb, "grace_period 1ms", directives)
}

// ServeWith is like Serve, with other global options than a grace period of 1 ms.
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

// New returns a site with the given global options, which is not served yet.
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

// Reload serves the site with these directives instead of the previous ones. It waits until the old listeners are closed.
func (s *Site) Reload(directives string) {
	s.tb.Helper()
	Load(s.tb, s.Adapt(directives))
	// When the old config's listener closes, it resets the connections that are queued and not accepted yet.
	for _, url := range []string{s.Plain, s.Secure} {
		port := url[strings.LastIndex(url, ":")+1:]
		Eventually(s.tb, "the old listener is closed", func() bool {
			return caddy.ListenerUsage("tcp", "127.0.0.1:"+port) <= 1 && listeners(port) <= 1
		})
	}
}

// listeners returns how many sockets listen on a TCP port of 127.0.0.1, or 0 if the system is not Linux. It is needed because
// Caddy stops counting a listener just before closing it.
func listeners(port string) int {
	sockets, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(port)
	return strings.Count(string(sockets), fmt.Sprintf(" 0100007F:%04X 00000000:0000 0A ", n))
}

// Adapt returns the JSON config of the site with the given directives.
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

// Log returns the lines that Caddy has logged. It omits a line that is being written.
func (s *Site) Log() string {
	s.tb.Helper()
	log, err := os.ReadFile(s.logs)
	if err != nil {
		s.tb.Fatal(err)
	}
	return string(log[:bytes.LastIndexByte(log, '\n')+1])
}

// Ask posts a chat to the site over plain HTTP and returns the answer, whose body is closed when the test ends.
func (s *Site) Ask(chat string) *http.Response {
	s.tb.Helper()
	return s.Send(http.DefaultTransport, ChatRequest(s.tb, s.Plain, chat))
}

// Send sends req over transport and returns the answer, whose body is closed when the test ends.
func (s *Site) Send(transport http.RoundTripper, req *http.Request) *http.Response {
	s.tb.Helper()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		s.tb.Fatalf("sending the request: %v", err)
	}
	s.tb.Cleanup(func() { resp.Body.Close() })
	return resp
}

// AskAs posts a chat as the client with the given address, on a connection of its own. The site has to be served with
// BehindProxy.
func (s *Site) AskAs(client, chat string) *http.Response {
	s.tb.Helper()
	req := ChatRequest(s.tb, s.Plain, chat)
	req.Header.Set("X-Forwarded-For", client)
	return s.Send(OneShot, req)
}

// OneShot is a transport that keeps no connections, because a reload may close them.
var OneShot = &http.Transport{DisableKeepAlives: true}

// BehindProxy has the global options that make a site trust the client's address in a test's X-Forwarded-For, and a grace
// period of 1 ms.
const BehindProxy = "grace_period 1ms\nservers {\ntrusted_proxies static 127.0.0.1/32\ntrusted_proxies_strict\n}"
