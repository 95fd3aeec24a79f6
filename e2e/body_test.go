package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// readBefore makes another handler read the body of a request with the field X-Read-Before, before the chat is asked.
const readBefore = `
	@read expression ` + "`" + `{http.request.header.X-Read-Before} == "yes" && {http.request.body}.contains("no visitor writes this")` + "`" + `
	respond @read 400
`

// serverTimeouts are server options that set deadlines for reading, or none.
var serverTimeouts = map[string]string{
	"Caddy's defaults":                   "",
	"no idle timeouts":                   "read_body_idle -1s\n write_idle -1s",
	"a read timeout":                     "read_body 300ms",
	"a read timeout and no idle timeout": "read_body 300ms\n read_body_idle -1s\n write_idle -1s",
}

// bodyFramings are the ways in which a visitor may send a body.
var bodyFramings = map[string]func(*http.Request){
	"with a length":   withLength,
	"in chunks":       withoutLength,
	"after a 100":     func(req *http.Request) { req.Header.Set("Expect", "100-continue") },
	"that was read":   func(req *http.Request) { req.Header.Set("X-Read-Before", "yes") },
	"read, in chunks": func(req *http.Request) { req.Header.Set("X-Read-Before", "yes"); req.ContentLength = -1 },
	"read, after 100s": func(req *http.Request) {
		req.Header.Set("X-Read-Before", "yes")
		req.Header.Set("Expect", "100-continue")
	},
}

// withTimeouts returns global options with the given timeouts of the server.
func withTimeouts(timeouts string) string {
	return "grace_period 1ms\n servers {\n timeouts {\n " + timeouts + "\n }\n }"
}

// No deadline for reading the body ends an answer: neither body_timeout nor the server's read_body. This holds over each
// protocol, and if another handler has read the body before.
func TestAnswerOutlivesTheBodysDeadline(t *testing.T) {
	const pause = 600 * time.Millisecond // longer than each deadline
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, sitetest.Delta)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-time.After(pause):
			_, _ = io.WriteString(w, sitetest.Finish)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(upstream.Close)
	for name, timeouts := range serverTimeouts {
		t.Run(name, func(t *testing.T) {
			s := sitetest.ServeWith(t, withTimeouts(timeouts), readBefore+sitetest.ChatToURL(upstream.URL, "body_timeout 200ms"))
			var asking sync.WaitGroup
			for way, frame := range bodyFramings {
				for proto, visitor := range sitetest.Protocols(t) {
					asking.Go(func() {
						resp, err := visitor.RoundTrip(framed(t, s, frame))
						if err != nil {
							t.Errorf("%s, a body %s: %v", proto, way, err)
							return
						}
						defer resp.Body.Close()
						if body, err := io.ReadAll(resp.Body); err != nil || string(body) != sitetest.Delta+sitetest.Finish {
							t.Errorf("%s, a body %s: got status %d, %q, %v", proto, way, resp.StatusCode, body, err)
						}
					})
				}
			}
			asking.Wait()
			if strings.Contains(s.Log(), `"left:visitor"`) {
				t.Error("the log says that a visitor left")
			}
		})
	}
}

// framed returns a chat over TLS whose body is sent as frame says.
func framed(t *testing.T, s *sitetest.Site, frame func(*http.Request)) *http.Request {
	t.Helper()
	req := sitetest.ChatRequest(t, s.Secure, sitetest.Hello)
	frame(req)
	return req
}

// Another handler may take longer than the server's read_body after the body has been read, such as a slow forward_auth.
func TestSlowHandlerBeforeTheChat(t *testing.T) {
	slow := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		time.Sleep(300 * time.Millisecond) // longer than read_body
	}))
	t.Cleanup(slow.Close)
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.ServeWith(t, withTimeouts("read_body 100ms"), fmt.Sprintf("route {\n %s\n forward_auth %s {\n uri /\n }\n %s\n}",
		readBefore, slow.URL, sitetest.ChatToURL(upstream.URL, "")))
	for proto, visitor := range sitetest.Protocols(t) {
		resp := s.Send(visitor, framed(t, s, bodyFramings["that was read"]))
		if body := sitetest.ReadAll(t, resp); body != sitetest.Finish {
			t.Errorf("%s: got status %d, %q", proto, resp.StatusCode, body)
		}
	}
}

// A visitor who leaves is noticed while the upstream is waited for, however the body was sent and whoever has read it.
func TestVisitorLeavesAfterTheBody(t *testing.T) {
	for name, timeouts := range serverTimeouts {
		t.Run(name, func(t *testing.T) {
			u := sitetest.NewHandUpstream(t)
			s := sitetest.ServeWith(t, withTimeouts(timeouts), readBefore+sitetest.ChatToURL(u.URL, "body_timeout 10s"))
			for way, frame := range bodyFramings {
				for proto, visitor := range sitetest.Protocols(t) {
					c := sitetest.Converse(t, u, visitor, framed(t, s, frame))
					c.Response.Body.Close()
					select {
					case <-c.Upstream.Over:
					case <-time.After(sitetest.Patience):
						t.Errorf("%s, a body %s: the upstream request is not canceled", proto, way)
					}
				}
			}
		})
	}
}
