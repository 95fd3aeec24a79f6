package illumichat

import (
	"net/http"
	"net/http/httptrace"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// A visitor who does not read is given up after write_timeout, and with them the upstream.
func TestStalledVisitor(t *testing.T) {
	for name, global := range map[string]string{
		"Caddy's deadlines": "",
		"our own deadlines": "servers {\n timeouts {\n write_idle -1s\n }\n }",
	} {
		t.Run(name, func(t *testing.T) {
			server := sandboxtest.NewServer(t, sandbox.Options{})
			s := serveWith(t, "grace_period 1ms\n"+global, chatTo(server, "write_timeout 200ms"))
			n := 0
			for protocol, transport := range protocols(t) {
				resp := s.send(transport, chatRequest(t, s.secure, saying("/large 16000000")))
				if resp.Proto != protocol {
					t.Errorf("asked by %s, want %s", resp.Proto, protocol)
				}
				asked := server.Request(t, n)
				asked.Wait(t)
				if !asked.Canceled() {
					t.Errorf("%s: the upstream sent the whole answer", protocol)
				}
				n++
			}
		})
	}
}

// A stream ends with a finish before the server's hard deadline cuts it.
func TestHardWriteDeadline(t *testing.T) {
	for name, timeouts := range map[string]string{
		"with idle timeouts":    "write 1s",
		"without idle timeouts": "write 1s\n write_idle -1s",
	} {
		t.Run(name, func(t *testing.T) {
			server := sandboxtest.NewServer(t, sandbox.Options{})
			s := serveWith(t, "grace_period 1ms\n servers {\n timeouts {\n "+timeouts+"\n }\n }", chatTo(server, ""))
			for protocol, transport := range protocols(t) {
				resp := s.send(transport, chatRequest(t, s.secure, saying("/stall 2")))
				if finish := onlyFinish(t, readAll(t, resp)); finish.Code != "max_duration:upstream" {
					t.Errorf("%s: got %+v", protocol, finish)
				}
			}
		})
	}
}

// The deadline of our last write is no trap for what comes next on the connection.
func TestConnectionIsGivenBack(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := serveWith(t, "grace_period 1ms\n servers {\n timeouts {\n write_idle -1s\n }\n }",
		chatTo(server, "write_timeout 100ms")+"\n respond /later 200 {\n body later\n }")
	transport := protocols(t)["HTTP/1.1"]
	onlyFinish(t, readAll(t, s.send(transport, chatRequest(t, s.secure, hello))))

	time.Sleep(150 * time.Millisecond) // until the deadline of the last write has passed
	var reused bool
	trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) { reused = info.Reused }}
	req, err := http.NewRequestWithContext(httptrace.WithClientTrace(t.Context(), trace), http.MethodGet, s.secure+"/later", nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, s.send(transport, req)); got != "later" || !reused {
		t.Errorf("got %q, over the same connection: %v", got, reused)
	}
}
