package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// loggedRequest is a request in the access log, as far as these tests need it.
type loggedRequest struct {
	Status     int
	Illumichat struct {
		Outcome string
		Cause   string
	}
	Request struct{ Method, Proto string }
}

// loggedRequests returns the requests in the access log. The site must have the directive log.
func loggedRequests(t *testing.T, s *sitetest.Site) []loggedRequest {
	t.Helper()
	var all []loggedRequest
	for line := range strings.Lines(s.Log()) {
		if !strings.Contains(line, `"logger":"http.log.access`) || !strings.HasSuffix(line, "\n") {
			continue
		}
		var r loggedRequest
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("reading the log: %v: %s", err, line)
		}
		all = append(all, r)
	}
	return all
}

// wantCause checks that the access log has n requests, all with an answer that broke off for the given cause.
func wantRecordedCause(t *testing.T, s *sitetest.Site, n int, cause string) {
	t.Helper()
	sitetest.Eventually(t, "the requests are logged", func() bool { return len(loggedRequests(t, s)) >= n })
	for _, r := range loggedRequests(t, s) {
		if r.Illumichat.Outcome != "broken" || r.Illumichat.Cause != cause {
			t.Errorf("the access log has %+v", r)
		}
	}
}

// serveWithDeadline serves a site whose server of the secure site has a hard write deadline.
func serveWithDeadline(t *testing.T, timeouts, directives string) *sitetest.Site {
	t.Helper()
	s := sitetest.New(t, "")
	_, port, err := net.SplitHostPort(strings.TrimPrefix(s.Secure, "https://"))
	if err != nil {
		t.Fatal(err)
	}
	s.Global = fmt.Sprintf("grace_period 1ms\nservers 127.0.0.1:%s {\ntimeouts {\n%s\n}\n}", port, timeouts)
	t.Cleanup(func() {
		if err := caddy.Stop(); err != nil {
			t.Errorf("stopping Caddy: %v", err)
		}
	})
	s.Reload(directives)
	return s
}

// longAnswer returns a complete answer that a visitor who reads slowly needs seconds for. It is not made when the program starts,
// because each Caddy process of a test is the same program, and 64 MB cost it more than everything else does.
var longAnswer = sync.OnceValue(func() string {
	return strings.Repeat(`data: "`+strings.Repeat("x", 8000)+"\"\n\n", 8000) + sitetest.Finish
})

// The access log does not blame a visitor whose stream the server's deadline cuts, even if no finish could be sent.
func TestWhoIsBlamed(t *testing.T) {
	upstream := serveAnswer(t, longAnswer())
	for name, subdirectives := range map[string]string{"": "", "with resume": resumeLong} {
		t.Run(name, func(t *testing.T) {
			s := serveWithDeadline(t, "write 1s", "log\n"+sitetest.ChatToURL(upstream, subdirectives))
			for proto, transport := range sitetest.Protocols(t) {
				n := len(loggedRequests(t, s))
				ctx, leave := context.WithCancel(t.Context())
				resp := s.Send(transport, sitetest.ChatRequest(t, s.Secure, sitetest.Hello).WithContext(ctx))
				sitetest.Eventually(t, proto+": the request is logged", func() bool { return len(loggedRequests(t, s)) > n })
				if _, err := io.ReadAll(resp.Body); err == nil {
					t.Errorf("%s: the answer looks complete", proto)
				}
				leave()
			}
			wantRecordedCause(t, s, 3, "max_duration:upstream")
		})
	}
}
