// Package sandboxtest serves a sandbox to tests, in the way of httptest, and
// keeps a record of the requests that reach it and of how they ended.
package sandboxtest

import (
	"context"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

// patience is how long a test waits for what ought to happen at once.
const patience = 10 * time.Second

// A Server is a sandbox on a loopback port.
type Server struct {
	// URL is the address of the chat endpoint.
	URL string

	server *httptest.Server

	mu       sync.Mutex
	requests []*Request
	arrived  chan struct{} // closed, and replaced, when a request arrives
}

// NewServer starts a sandbox that speaks HTTP/1.1. It is closed at the end of
// the test.
func NewServer(tb testing.TB, options sandbox.Options) *Server {
	tb.Helper()
	s := newServer(tb, options)
	s.server.Start()
	s.URL = s.server.URL + "/api/chat"
	return s
}

// NewTLSServer starts a sandbox that speaks HTTP/2 and HTTP/1.1 over TLS. It is
// closed at the end of the test.
func NewTLSServer(tb testing.TB, options sandbox.Options) *Server {
	tb.Helper()
	s := newServer(tb, options)
	s.server.EnableHTTP2 = true
	s.server.StartTLS()
	s.URL = s.server.URL + "/api/chat"
	return s
}

func newServer(tb testing.TB, options sandbox.Options) *Server {
	onEvent := options.OnEvent
	options.OnEvent = func(r *http.Request, n int) {
		r.Context().Value(requestKey{}).(*Request).wrote(time.Now())
		if onEvent != nil {
			onEvent(r, n)
		}
	}
	s := &Server{arrived: make(chan struct{})}
	s.server = httptest.NewUnstartedServer(s.record(sandbox.New(options)))
	tb.Cleanup(s.Close)
	return s
}

// Close breaks all connections and stops the server. It may be called before
// the end of the test, and again.
func (s *Server) Close() {
	s.server.CloseClientConnections()
	s.server.Close()
}

// CertificatePEM is the certificate of a TLS server, which clients may trust as
// a root.
func (s *Server) CertificatePEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.server.Certificate().Raw})
}

// Client is an HTTP client that trusts the server's certificate.
func (s *Server) Client() *http.Client {
	return s.server.Client()
}

// Requests returns the requests that have reached the server, in the order in
// which their bodies were complete.
func (s *Server) Requests() []*Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Request waits for the n-th request, counted from 0, and returns it. The test
// fails if it does not come.
func (s *Server) Request(tb testing.TB, n int) *Request {
	tb.Helper()
	timeout := time.After(patience)
	for {
		s.mu.Lock()
		requests, arrived := s.requests, s.arrived
		s.mu.Unlock()
		if n < len(requests) {
			return requests[n]
		}
		select {
		case <-arrived:
		case <-timeout:
			tb.Fatalf("the sandbox got %d requests, want %d", len(requests), n+1)
		}
	}
}

// Open returns the number of requests that are being answered.
func (s *Server) Open() int {
	open := 0
	for _, r := range s.Requests() {
		select {
		case <-r.done:
		default:
			open++
		}
	}
	return open
}

// requestKey is the context key of the *Request of an *http.Request.
type requestKey struct{}

// record keeps a record of the requests to next.
func (s *Server) record(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		request := newRequest(r)
		s.add(request)

		ctx := r.Context()
		stop := context.AfterFunc(ctx, request.leave)
		defer func() {
			stop()
			// The handler may have noticed before the function was started.
			if ctx.Err() != nil {
				request.leave()
			}
			close(request.done)
		}()
		next.ServeHTTP(w, r.WithContext(context.WithValue(ctx, requestKey{}, request)))
	})
}

func (s *Server) add(r *Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, r)
	close(s.arrived)
	s.arrived = make(chan struct{})
}
