package e2e

import (
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// freezer forwards connections to an upstream until it freezes them. Like connections that a firewall has forgotten,
// they then stay open, but nothing gets through any more.
type freezer struct {
	url string

	mu     sync.Mutex
	frozen chan struct{} // closed, and replaced, by freeze
}

func newFreezer(tb testing.TB, upstream string) *freezer {
	tb.Helper()
	u, err := url.Parse(upstream)
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	to := u.Host
	u.Host = listener.Addr().String()
	f := &freezer{url: u.String(), frozen: make(chan struct{})}
	var work sync.WaitGroup
	over := make(chan struct{})
	work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			work.Go(func() { f.pass(conn, to, over) })
		}
	})
	tb.Cleanup(func() {
		listener.Close()
		close(over)
		work.Wait()
	})
	return f
}

func (f *freezer) pass(conn net.Conn, to string, over <-chan struct{}) {
	defer conn.Close()
	upstream, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer upstream.Close()
	f.mu.Lock()
	frozen := f.frozen
	f.mu.Unlock()
	ended := make(chan struct{}, 2)
	for _, way := range [][2]net.Conn{{conn, upstream}, {upstream, conn}} {
		go func() {
			_, _ = io.Copy(&thawed{way[0], frozen}, way[1])
			ended <- struct{}{}
		}()
	}
	select {
	case <-ended:
	case <-over:
		return
	}
	select {
	case <-frozen: // the end of the connection does not get through either
		<-over
	default:
	}
}

// freeze freezes all connections that are open at this moment.
func (f *freezer) freeze() {
	f.mu.Lock()
	defer f.mu.Unlock()
	close(f.frozen)
	f.frozen = make(chan struct{})
}

// thawed is a writer that silently discards everything once frozen is closed.
type thawed struct {
	io.Writer
	frozen <-chan struct{}
}

func (t *thawed) Write(p []byte) (int, error) {
	select {
	case <-t.frozen:
		return len(p), nil
	default:
		return t.Writer.Write(p)
	}
}

// Kept connections that have died silently cost one attempt, however many there are.
func TestDeadConnections(t *testing.T) {
	t.Run("HTTP/1.1", func(t *testing.T) {
		const kept = 5
		var together sync.WaitGroup // so that each visitor has a connection
		together.Add(kept)
		u := sitetest.NewWireUpstream1(t, func(w *sitetest.Wire) {
			if chatText(w.Body) == "together" {
				together.Done()
				together.Wait()
			}
			stages[0].goOn(w)
		})
		f := newFreezer(t, u.URL)
		s := sitetest.Serve(t, sitetest.ChatToURL(f.url, "response_timeout 500ms\n"+sitetest.Once))
		var visitors sync.WaitGroup
		for range kept {
			visitors.Go(func() { sitetest.ReadAll(t, s.Ask(sitetest.Saying("together"))) })
		}
		visitors.Wait()
		f.freeze()
		sitetest.WantError(t, s.Ask(sitetest.Hello), http.StatusGatewayTimeout, "timeout:upstream")
		wantWhole(t, s.Ask(sitetest.Hello))
	})
	for name, stream := range map[string]bool{"HTTP/2.0": false, "HTTP/2.0 with another stream": true} {
		t.Run(name, func(t *testing.T) {
			server := sandboxtest.NewTLSServer(t, sandbox.Options{})
			f := newFreezer(t, server.URL)
			s := sitetest.Serve(t, sitetest.ChatToURL(f.url, "response_timeout 20s\nidle_timeout 1s\nretry {\nbackoff 50ms\n}\ntransport http {\n"+sitetest.AnyCertificate+"\n}"))
			wantWhole(t, s.Ask(sitetest.Saying("/events 3")))
			var other *http.Response
			if stream {
				other = s.Ask(sitetest.Saying("/talk-on 1h"))
			}
			f.freeze()
			wantWhole(t, s.Ask(sitetest.Saying("/events 3")))
			if stream {
				sitetest.ReadAll(t, other)
			}
		})
	}
}

func wantWhole(t *testing.T, resp *http.Response) {
	t.Helper()
	if got := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK || sitetest.OnlyFinish(t, got).FinishReason != "stop" {
		t.Errorf("got %s: %s", resp.Status, got)
	}
}
