package sitetest

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
)

// WireUpstream is an upstream for tests that depend on the bytes on the wire. A function answers each request, and can break
// the answer off at any byte.
type WireUpstream struct {
	URL string

	answer   func(*Wire)
	listener net.Listener

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil after Close
	work  sync.WaitGroup
}

// Wire is one request, and the functions that answer it. After one that ends the answer, no other may be called.
type Wire struct {
	Key  string // the Idempotency-Key
	Body string

	Head  func() error                               // sends the response headers of an event stream
	Send  func(string) error                         // sends bytes of the body
	Error func(status int, header http.Header) error // answers with an error instead of a stream

	End   func() // completes the answer
	Fin   func() // closes the connection
	Reset func() // resets the connection, or in HTTP/2 the stream
	Spoil func() // breaks the protocol

	// Only in HTTP/2; nil in HTTP/1.1.
	Refuse func()          // resets the stream and says that the request was not processed
	GoAway func(last bool) // says that the connection closes, and whether this request is its last one or was not processed

	Gone <-chan struct{} // closed when the client has given up the request
}

// Stall sends nothing more until the client has given up the request.
func (w *Wire) Stall() { <-w.Gone }

// WireUpstreams lists, for each protocol, the function that starts an upstream and the subdirective that a site needs to ask
// it.
var WireUpstreams = []struct {
	Proto     string
	Start     func(testing.TB, func(*Wire)) *WireUpstream
	Transport string
}{
	{"HTTP/1.1", NewWireUpstream1, ""},
	{"HTTP/2.0", NewWireUpstream2, Trusting},
}

const (
	// AnyCertificate is the option of a transport that trusts any certificate, such as those of the tests' upstreams.
	AnyCertificate = "tls_insecure_skip_verify"
	// Trusting is the subdirective for a transport with AnyCertificate.
	Trusting = "transport http {\n" + AnyCertificate + "\n}"
)

// NewWireUpstream1 starts an upstream that listens for HTTP/1.1 until the test ends.
func NewWireUpstream1(tb testing.TB, answer func(*Wire)) *WireUpstream {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return startWireUpstream(tb, "http", listener, answer, serveHTTP1)
}

// NewWireUpstream2 starts an upstream that listens for HTTP/2 with TLS until the test ends.
func NewWireUpstream2(tb testing.TB, answer func(*Wire)) *WireUpstream {
	tb.Helper()
	certPEM, keyPEM := localhost.PEM()
	pair, err := tls.X509KeyPair(certPEM, keyPEM)
	if err != nil {
		tb.Fatal(err)
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{"h2"}})
	if err != nil {
		tb.Fatal(err)
	}
	return startWireUpstream(tb, "https", listener, answer, serveHTTP2)
}

func startWireUpstream(tb testing.TB, scheme string, listener net.Listener, answer func(*Wire), serve func(*WireUpstream, net.Conn)) *WireUpstream {
	u := &WireUpstream{
		URL:      fmt.Sprintf("%s://%s/api/chat", scheme, listener.Addr()),
		answer:   answer,
		listener: listener,
		conns:    make(map[net.Conn]struct{}),
	}
	u.work.Go(func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			if !u.track(conn) {
				conn.Close()
				return
			}
			u.work.Go(func() {
				defer u.forget(conn)
				serve(u, conn)
			})
		}
	})
	tb.Cleanup(u.Close)
	return u
}

func (u *WireUpstream) track(conn net.Conn) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.conns == nil {
		return false
	}
	u.conns[conn] = struct{}{}
	return true
}

func (u *WireUpstream) forget(conn net.Conn) {
	conn.Close()
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.conns, conn)
}

// IsIdle reports whether the upstream has no connections.
func (u *WireUpstream) IsIdle() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.conns) == 0
}

// Close closes the listener and all connections, and waits until the upstream's goroutines have ended. It may be called again.
func (u *WireUpstream) Close() {
	u.listener.Close()
	u.mu.Lock()
	for conn := range u.conns {
		conn.Close()
	}
	u.conns = nil
	u.mu.Unlock()
	u.work.Wait()
}
