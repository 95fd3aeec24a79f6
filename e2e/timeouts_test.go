package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// A visitor who does not read is given up after write_timeout, and the upstream request is canceled.
func TestStalledVisitor(t *testing.T) {
	for name, global := range map[string]string{
		"Caddy's deadlines": "",
		"our own deadlines": "servers {\n timeouts {\n write_idle -1s\n }\n }",
	} {
		t.Run(name, func(t *testing.T) {
			server := sandboxtest.NewServer(t, sandbox.Options{})
			s := sitetest.ServeWith(t, "grace_period 1ms\n"+global, sitetest.ChatTo(server, "write_timeout 200ms"))
			n := 0
			for protocol, transport := range sitetest.Protocols(t) {
				resp := s.Send(transport, sitetest.ChatRequest(t, s.Secure, sitetest.Saying("/large 16000000")))
				if resp.Proto != protocol {
					t.Errorf("asked by %s, want %s", resp.Proto, protocol)
				}
				asked := server.Request(t, n)
				asked.Wait(t)
				if !asked.Canceled() {
					t.Errorf("%s: the upstream sent the whole answer", protocol)
				}
				if _, err := io.ReadAll(resp.Body); err == nil {
					t.Errorf("%s: the answer looks complete to the visitor", protocol)
				}
				n++
			}
		})
	}
}

// A visitor who does not read is also given up if max_duration passes meanwhile. They get no finish for that, and the
// answer does not look complete.
func TestStalledVisitorAtTheEnd(t *testing.T) {
	// The upstream fills the connection at once, so that the visitor has stalled long before max_duration passes.
	event := fmt.Appendf(nil, `data: {"type":"text-delta","textDelta":"%s"}`+"\n\n", strings.Repeat("x", 10_000))
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for r.Context().Err() == nil {
			_, _ = w.Write(event)
		}
	}))
	t.Cleanup(upstream.Close)
	s := sitetest.ServeWith(t, "grace_period 1ms", sitetest.ChatToURL(upstream.URL, "max_duration 2s\nwrite_timeout 2200ms"))
	for protocol, transport := range sitetest.Protocols(t) {
		resp := s.Send(transport, sitetest.ChatRequest(t, s.Secure, sitetest.Hello))
		sitetest.Eventually(t, "the visitor is given up", func() bool { return openExchangeCount() == 0 })
		if body, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%s: the answer looks complete to the visitor: %.100q of %d bytes", protocol, body, len(body))
		}
	}
}

// A JSON answer that a visitor did not read does not look complete either. Over HTTP/3 the stream itself would not show
// that it is cut.
func TestStalledVisitorOfJSON(t *testing.T) {
	const maxJSON = 1 << 20 // bytes of the longest JSON answer
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `"`+strings.Repeat("x", maxJSON-2)+`"`)
	}))
	t.Cleanup(upstream.Close)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "write_timeout 200ms"))
	resp := s.Send(sitetest.Protocols(t)["HTTP/3.0"], sitetest.ChatRequest(t, s.Secure, sitetest.Hello))
	sitetest.Eventually(t, "the visitor is given up", func() bool { return openExchangeCount() == 0 })
	if body, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("the answer looks complete to the visitor, with %d bytes of %d", len(body), maxJSON)
	}
}

// A stream gets a finish before the server's write timeout would cut it.
func TestHardWriteDeadline(t *testing.T) {
	for name, timeouts := range map[string]string{
		"with idle timeouts":    "write 1s",
		"without idle timeouts": "write 1s\n write_idle -1s",
	} {
		t.Run(name, func(t *testing.T) {
			server := sandboxtest.NewServer(t, sandbox.Options{})
			s := sitetest.ServeWith(t, "grace_period 1ms\n servers {\n timeouts {\n "+timeouts+"\n }\n }", sitetest.ChatTo(server, ""))
			for protocol, transport := range sitetest.Protocols(t) {
				resp := s.Send(transport, sitetest.ChatRequest(t, s.Secure, sitetest.Saying("/stall 2")))
				if finish := sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp)); finish.Code != "max_duration:upstream" {
					t.Errorf("%s: got %+v", protocol, finish)
				}
			}
		})
	}
}

// write_timeout bounds each write, but neither the pauses between writes nor the end of the answer. The module sets the
// deadlines itself here, because Caddy's are off.
func TestPausesAreNoStalls(t *testing.T) {
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		for _, event := range []string{sitetest.Delta, sitetest.Delta, sitetest.Finish} {
			_, _ = io.WriteString(w, event)
			_ = http.NewResponseController(w).Flush()
			time.Sleep(150 * time.Millisecond) // longer than write_timeout
		}
	}))
	t.Cleanup(upstream.Close)
	s := sitetest.ServeWith(t, "grace_period 1ms\n servers {\n timeouts {\n write_idle -1s\n }\n }", sitetest.ChatToURL(upstream.URL, "write_timeout 50ms"))
	for protocol, transport := range sitetest.Protocols(t) {
		if got := sitetest.ReadAll(t, s.Send(transport, sitetest.ChatRequest(t, s.Secure, sitetest.Hello))); got != sitetest.Delta+sitetest.Delta+sitetest.Finish {
			t.Errorf("%s: got %q", protocol, got)
		}
	}
}
