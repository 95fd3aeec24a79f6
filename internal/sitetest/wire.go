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

// WireUpstream is an upstream for tests to which the bytes matter: each request is answered in the hand of a
// function that can break off wherever it likes.
type WireUpstream struct {
	URL string

	answer   func(*Wire)
	listener net.Listener

	mu    sync.Mutex
	conns map[net.Conn]struct{} // nil when it is closed
	work  sync.WaitGroup
}

// Wire is one request, and the means to answer it. After one of the ways to end nothing else may be called.
type Wire struct {
	Key  string // the Idempotency-Key
	Body string

	Head  func() error                               // sends that of an event stream
	Send  func(string) error                         // sends bytes of the body
	Error func(status int, header http.Header) error // answers with an error instead of a stream

	End   func() // ends the answer in order
	Fin   func() // closes the connection
	Reset func() // resets it, or in HTTP/2 the stream
	Spoil func() // breaks the protocol

	// In HTTP/2 alone.
	Refuse func()          // resets the stream as one that was not looked at
	GoAway func(last bool) // says that it is closing, and whether this is its last request or was not looked at

	Gone <-chan struct{} // closed when the request was given up
}

// Stall falls silent until the request is given up.
func (w *Wire) Stall() { <-w.Gone }

// WireUpstreams are the upstreams of each protocol, and what a directive needs for them.
var WireUpstreams = []struct {
	Proto     string
	Start     func(testing.TB, func(*Wire)) *WireUpstream
	Transport string
}{
	{"HTTP/1.1", NewWireUpstream1, ""},
	{"HTTP/2.0", NewWireUpstream2, Trusting},
}

const (
	// AnyCertificate is the option of a transport that trusts the tests' upstreams, and trusting the subdirective with it.
	AnyCertificate = "tls_insecure_skip_verify"
	Trusting       = "transport http {\n" + AnyCertificate + "\n}"
)

// NewWireUpstream1 listens for HTTP/1.1.
func NewWireUpstream1(tb testing.TB, answer func(*Wire)) *WireUpstream {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	return startWireUpstream(tb, "http", listener, answer, serveHTTP1)
}

// NewWireUpstream2 listens for HTTP/2, with TLS.
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

// IsIdle reports whether it has no connections.
func (u *WireUpstream) IsIdle() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return len(u.conns) == 0
}

// Close ends it, and waits until nothing is left of it. It may be called again.
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
