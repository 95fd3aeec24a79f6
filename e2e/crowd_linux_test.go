package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// crowd is how many hostile visitors come at once.
const crowd = 1000

// maxVisitorMemory is how many bytes a hostile visitor may occupy, besides the body that they send. It covers Caddy's
// connection and request, the exchange, the upstream connection and, in these tests, the upstream itself. SECURITY.md
// states this figure.
const maxVisitorMemory = 128 << 10

// checkVisitorMemory checks how much memory each visitor of a crowd occupies, and that it is freed when the crowd has
// left.
func checkVisitorMemory(t *testing.T, come, leave func()) {
	t.Helper()
	before := sitetest.UsedMemory()
	come()
	each := (sitetest.UsedMemory() - before) / crowd
	t.Logf("a visitor holds %d bytes", each)
	if each > maxVisitorMemory {
		t.Errorf("a visitor holds %d bytes, want at most %d", each, maxVisitorMemory)
	}
	leave()
	isOver(t)
	isGivenBack(t, before)
}

// isGivenBack checks that a crowd has left no memory behind, except for upstream connections, which are kept, and for
// half a kilobyte that Go's runtime keeps of each goroutine.
func isGivenBack(t *testing.T, before int) {
	t.Helper()
	const most = 6 << 20
	http.DefaultTransport.(*http.Transport).CloseIdleConnections()
	var left int
	sitetest.Within(t, 3*sitetest.Patience, "the memory is given back", func() bool { // sync.Pool needs two collections
		left = sitetest.UsedMemory() - before
		return left < most
	})
	t.Logf("%d bytes are left", left)
}

// isOver checks that no exchange is open, no goroutine of one runs and no slot is taken.
func isOver(t *testing.T) {
	t.Helper()
	sitetest.Eventually(t, "all exchanges are closed", func() bool { return openExchangeCount() == 0 })
	sitetest.Eventually(t, "all goroutines have ended", func() bool { return ours() == "" })
	sitetest.Eventually(t, "all slots are free", func() bool { return takenSlots() == 0 })
}

// isServed checks that an ordinary visitor gets an answer over each protocol.
func isServed(t *testing.T, s *sitetest.Site) {
	t.Helper()
	for proto, transport := range sitetest.Protocols(t) {
		resp, err := transport.RoundTrip(sitetest.ChatRequest(t, s.Secure, sitetest.Saying("short")))
		if err != nil {
			t.Fatalf("%s: %v", proto, err)
		}
		if finish := sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp)); finish.FinishReason != "stop" {
			t.Errorf("%s: got the finish %+v", proto, finish)
		}
		resp.Body.Close()
	}
}

// flood is an upstream that sends more than fits into the buffers of connections that nobody reads, except to visitors
// who ask for something short. It remembers only how often it was asked.
type flood struct {
	*httptest.Server
	asked atomic.Int64
}

func newFlood(t *testing.T) *flood {
	f := new(flood)
	event := []byte("data: " + strings.Repeat("x", 1000) + "\n\n")
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.asked.Add(1)
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		if !bytes.Contains(body, []byte("short")) {
			for range 300 {
				if _, err := w.Write(event); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
			}
		}
		_, _ = io.WriteString(w, sitetest.Finish)
	}))
	t.Cleanup(f.Close)
	return f
}

// dialWithSmallBuffers connects with a small receive buffer, so that unread data stays at the server.
func dialWithSmallBuffers(tb testing.TB, address string) net.Conn {
	tb.Helper()
	dialer := net.Dialer{Control: func(_, _ string, conn syscall.RawConn) error {
		return conn.Control(func(fd uintptr) {
			_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 4096)
			_ = syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 1000) // the server's send buffer is a number of segments
		})
	}}
	conn, err := dialer.DialContext(tb.Context(), "tcp", address)
	if err != nil {
		tb.Fatal(err)
	}
	return conn
}

// deafVisitors send a crowd's chats, by protocol, and never read the answers. They return the connections.
var deafVisitors = map[string]func(t *testing.T, s *sitetest.Site) []net.Conn{
	"HTTP/1.1": func(t *testing.T, s *sitetest.Site) (conns []net.Conn) {
		for range crowd {
			conn := dialWithSmallBuffers(t, strings.TrimPrefix(s.Plain, "http://"))
			if _, err := io.WriteString(conn, sitetest.RawChat(sitetest.Hello)); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		return conns
	},
	// All streams of a connection share a flow-control window of 64 KiB, which the visitors never extend.
	"HTTP/2.0": func(t *testing.T, s *sitetest.Site) (conns []net.Conn) {
		const streams = 100
		for range crowd / streams {
			conn := tls.Client(dialWithSmallBuffers(t, strings.Replace(s.Secure, "https://localhost", "127.0.0.1", 1)), &tls.Config{
				InsecureSkipVerify: true, ServerName: "localhost", NextProtos: []string{"h2"},
			})
			conns = append(conns, conn)
			var sent bytes.Buffer
			sent.WriteString(http2.ClientPreface)
			framer := http2.NewFramer(&sent, nil)
			_ = framer.WriteSettings()
			var head bytes.Buffer
			encoder := hpack.NewEncoder(&head)
			for i := range uint32(streams) {
				head.Reset()
				for _, field := range [][2]string{
					{":method", "POST"}, {":scheme", "https"}, {":authority", "localhost"}, {":path", sitetest.ChatPath},
					{"content-type", "application/json"},
				} {
					_ = encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]})
				}
				_ = framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 2*i + 1, BlockFragment: head.Bytes(), EndHeaders: true})
				_ = framer.WriteData(2*i+1, true, []byte(sitetest.Hello))
			}
			if _, err := conn.Write(sent.Bytes()); err != nil {
				t.Fatal(err)
			}
		}
		return conns
	},
}

// Visitors who do not read occupy a bounded amount of memory each, and only until write_timeout. max_streams_per_client
// counts them as well.
func TestVisitorsWhoDoNotRead(t *testing.T) {
	upstream := newFlood(t)
	for proto, come := range deafVisitors {
		t.Run(proto, func(t *testing.T) {
			s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "write_timeout 1h\nmax_duration 1h"))
			isServed(t, s)
			isOver(t)
			var conns []net.Conn
			leave := func() {
				for _, conn := range conns {
					conn.Close()
				}
			}
			checkVisitorMemory(t, func() {
				conns = come(t, s)
				sitetest.Eventually(t, "all answers are open", func() bool { return openExchangeCount() == crowd })
				isServed(t, s)
			}, leave)

			s.Reload(sitetest.ChatToURL(upstream.URL, "write_timeout 200ms"))
			upstream.asked.Store(0)
			conns = come(t, s)
			sitetest.Eventually(t, "many have asked", func() bool { return upstream.asked.Load() > crowd/4 })
			isServed(t, s)
			isOver(t) // although the connections are still open
			leave()

			const each = 10
			s.Reload(sitetest.ChatToURL(upstream.URL, fmt.Sprintf("write_timeout 1h\nmax_duration 1h\nmax_streams_per_client %d", each)))
			upstream.asked.Store(0)
			conns = come(t, s)
			sitetest.Eventually(t, "some answers are open", func() bool { return takenSlots() == each })
			resp := s.Ask(sitetest.Hello)
			sitetest.WantError(t, resp, http.StatusTooManyRequests, "rate_limit:chat")
			if asked := upstream.asked.Load(); asked != each {
				t.Errorf("%d answers were asked for, want %d", asked, each)
			}
			leave()
			isOver(t)
		})
	}
}

// Visitors who send a byte a second get a 408 after body_timeout, and the upstream is not asked.
func TestVisitorsWhoSendSlowly(t *testing.T) {
	upstream := newFlood(t)
	const timeout = 3 * time.Second
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, fmt.Sprintf("body_timeout %s", timeout)))
	isServed(t, s)
	head := strings.Replace(sitetest.RawChat(""), "Content-Length: 0", "Content-Length: 1000000", 1)
	var conns []net.Conn
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	checkVisitorMemory(t, func() {
		for range crowd {
			conn, err := net.Dial("tcp", strings.TrimPrefix(s.Plain, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.WriteString(conn, head); err != nil {
				t.Fatal(err)
			}
			conns = append(conns, conn)
		}
		wg.Go(func() {
			for tick := time.NewTicker(time.Second); ctx.Err() == nil; {
				for _, conn := range conns {
					_, _ = io.WriteString(conn, "{")
				}
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		})
		isServed(t, s)
		upstream.asked.Store(0)
	}, func() {
		for _, conn := range conns {
			_ = conn.SetDeadline(time.Now().Add(sitetest.Patience))
			answer := make([]byte, 1000)
			n, err := conn.Read(answer)
			if !bytes.HasPrefix(answer[:n], []byte("HTTP/1.1 408 ")) {
				t.Errorf("got %q and %v", answer[:n], err)
			}
		}
		stop()
		wg.Wait()
		for _, conn := range conns {
			conn.Close()
		}
	})
	if asked := upstream.asked.Load(); asked != 0 {
		t.Errorf("the upstream was asked %d times", asked)
	}
}

// Visitors who connect and leave, at any moment, leave nothing behind.
func TestVisitorsWhoLeave(t *testing.T) {
	const visitors, atOnce = 10_000, 50
	upstream := newFlood(t)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "max_streams_per_client 1000\nlimit 100000 1h"))
	isServed(t, s)
	isOver(t)
	before := sitetest.UsedMemory()
	chat := sitetest.RawChat(sitetest.Hello)
	address := strings.TrimPrefix(s.Plain, "http://")
	var wg sync.WaitGroup
	for worker := range atOnce {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(worker), 0))
			for range visitors / atOnce {
				conn, err := net.Dial("tcp", address)
				if err != nil {
					t.Error(err)
					return
				}
				_ = conn.SetDeadline(time.Now().Add(sitetest.Patience))
				if random.IntN(2) == 0 {
					_ = conn.(*net.TCPConn).SetLinger(0) // leaves with a reset
				}
				switch random.IntN(4) {
				case 0: // sends nothing
				case 1: // sends a part
					_, _ = io.WriteString(conn, chat[:random.IntN(len(chat))])
				case 2: // sends all
					_, _ = io.WriteString(conn, chat)
				case 3: // sends all and reads some
					_, _ = io.WriteString(conn, chat)
					_, _ = conn.Read(make([]byte, 1+random.IntN(5000)))
				}
				conn.Close()
			}
		})
	}
	for range 5 {
		isServed(t, s)
	}
	wg.Wait()
	isServed(t, s)
	isOver(t)
	isGivenBack(t, before)
	if strings.Contains(s.Log(), "panic") {
		t.Error("there was a panic")
	}
}
