package upstream

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
)

// crowded is an upstream that answers no request until a given number of requests have arrived.
type crowded struct {
	server      *httptest.Server
	connections atomic.Int64
	all         chan struct{} // closed when all requests have arrived
}

// newCrowded starts an upstream that waits for crowd requests. Each of its HTTP/2 connections carries at most each
// requests at once.
func newCrowded(t *testing.T, crowd, each int, start func(*httptest.Server)) *crowded {
	t.Helper()
	c := &crowded{all: make(chan struct{})}
	var arrived atomic.Int64
	c.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		if arrived.Add(1) == int64(crowd) {
			close(c.all)
		}
		select {
		case <-c.all:
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, chatAnswer)
	}))
	c.server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			c.connections.Add(1)
		}
	}
	c.server.Config.HTTP2 = &http.HTTP2Config{MaxConcurrentStreams: each}
	start(c.server)
	t.Cleanup(c.server.Close)
	return c
}

func startHTTP1(s *httptest.Server) { s.StartTLS() }

func startHTTP2(s *httptest.Server) {
	s.EnableHTTP2 = true
	s.StartTLS()
}

func startH2C(s *httptest.Server) {
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
}

// ask sends a chat and returns the body of the answer.
func ask(ctx context.Context, c *Client) (string, error) {
	resp, _, err := c.Send(ctx, Request{Body: []byte("{}"), Key: NewIdempotencyKey()})
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

// crowdOf sends n requests at once, and checks that each gets the answer.
func crowdOf(t *testing.T, c *Client, n int) {
	t.Helper()
	var wg sync.WaitGroup
	for range n {
		wg.Go(func() {
			if got, err := ask(t.Context(), c); got != chatAnswer || err != nil {
				t.Errorf("a visitor got %q, %v", got, err)
			}
		})
	}
	wg.Wait()
}

// patient returns a client whose requests wait in the dial queue for up to a minute.
func patient(t *testing.T, url, transport string) *Client {
	t.Helper()
	e, err := ResolveEndpoint(url)
	if err != nil {
		t.Fatal(err)
	}
	c := New(e, loadHTTPTransport(t, transport), time.Minute)
	t.Cleanup(c.CloseIdle)
	c.queue.stalledAfter, c.queue.longest = time.Minute, time.Minute
	return c
}

// chatAnswer is the body of every upstream's answer.
const chatAnswer = "data: hello\n\n"

// trusting configures a transport that accepts the certificates of the tests' upstreams.
const trusting = `{"protocol": "http", "tls": {"insecure_skip_verify": true}}`

// Many requests at once dial few more connections than they need.
func TestCrowdSharesConnections(t *testing.T) {
	const crowd, each = 500, 100
	for name, row := range map[string]struct {
		start     func(*httptest.Server)
		transport string
	}{
		"TLS":   {startHTTP2, trusting},
		"plain": {startH2C, `{"protocol": "http", "versions": ["h2c"]}`},
	} {
		t.Run(name, func(t *testing.T) {
			upstream := newCrowded(t, crowd, each, row.start)
			crowdOf(t, patient(t, upstream.server.URL, row.transport), crowd)
			if n := upstream.connections.Load(); n < crowd/each || n > crowd/10 {
				t.Errorf("%d connections were made for %d requests, %d of which go over each", n, crowd, each)
			}
		})
	}
}

// Requests that need a connection each do not wait for the answers to others. The queue learns that they need not wait
// at all.
func TestCrowdOverHTTP1(t *testing.T) {
	const crowd = 50
	c := patient(t, newCrowded(t, crowd, 1, startHTTP1).server.URL, trusting)
	crowdOf(t, c, crowd)
	if !c.queue.exclusive.Load() {
		t.Error("its connections count as shared")
	}
}

// hanging is a listener whose first connections get no answer.
type hanging struct {
	net.Listener
	left int // how many more connections will hang
	hung []net.Conn
}

func (l *hanging) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || l.left == 0 {
			return conn, err
		}
		l.left--
		l.hung = append(l.hung, conn)
	}
}

// Requests whose connections hang do not hold up other requests.
func TestHangingConnectionsHoldUpNobody(t *testing.T) {
	upstream := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, chatAnswer)
	}))
	listener := &hanging{Listener: upstream.Listener, left: maxDialing}
	upstream.Listener = listener
	upstream.EnableHTTP2 = true
	upstream.StartTLS()
	t.Cleanup(func() {
		upstream.Close()
		for _, conn := range listener.hung {
			conn.Close()
		}
	})
	c := patient(t, upstream.URL, trusting)
	c.queue.stalledAfter = stalledAfter
	crowdOf(t, c, maxDialing+1) // the last request gets a connection, which all others then use too
}

// A request releases its place when it gets a connection, and when it gets none.
func TestDialQueueIsLeft(t *testing.T) {
	for name, endpoint := range map[string]string{
		"answered": newCrowded(t, 1, 100, startHTTP2).server.URL,
		"refused":  fmt.Sprintf("https://127.0.0.1:%d", localhost.Port(t)),
	} {
		c := patient(t, endpoint, trusting)
		for range 2 * maxDialing {
			if _, err := ask(t.Context(), c); (err == nil) != (name == "answered") {
				t.Fatalf("%s: got %v", name, err)
			}
			if n := len(c.queue.dialing); n > 0 {
				t.Fatalf("%s: %d look for a connection afterwards", name, n)
			}
		}
	}
}

// A request also releases its place if its visitor leaves while it dials.
func TestDialQueueIsLeftByVisitors(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	c := patient(t, "https://"+silent.Addr().String(), trusting)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan struct{})
	go func() {
		defer close(left)
		if _, err := ask(ctx, c); err == nil {
			t.Error("there was an answer")
		}
	}()
	for len(c.queue.dialing) == 0 {
		time.Sleep(time.Millisecond) // until the request looks for a connection
	}
	leave()
	<-left
	if n := len(c.queue.dialing); n > 0 {
		t.Errorf("%d look for a connection afterwards", n)
	}
}

func TestDialQueueLearns(t *testing.T) {
	for protocol, exclusive := range map[string]bool{"h2": false, "http/1.1": true} {
		q := newDialQueue()
		q.exclusive.Store(!exclusive)
		q.observe(handshaken(t, protocol))
		if got := q.exclusive.Load(); got != exclusive {
			t.Errorf("%s: it is exclusive: %v", protocol, got)
		}
		for range maxDialing {
			if joined := q.acquire(t.Context()); joined == exclusive {
				t.Errorf("%s: a place is taken: %v", protocol, joined)
			}
		}
	}
}

// handshaken returns a TLS connection that has negotiated the given protocol.
func handshaken(t *testing.T, protocol string) net.Conn {
	t.Helper()
	certificate, err := tls.X509KeyPair(localhost.PEM())
	if err != nil {
		t.Fatal(err)
	}
	near, far := net.Pipe()
	t.Cleanup(func() { near.Close(); far.Close() })
	protocols := []string{protocol}
	go func() {
		_ = tls.Server(far, &tls.Config{Certificates: []tls.Certificate{certificate}, NextProtos: protocols}).Handshake()
	}()
	conn := tls.Client(near, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
	if err := conn.HandshakeContext(t.Context()); err != nil {
		t.Fatal(err)
	}
	return conn
}

// A request waits until there is a place, but only for a limited time, and not if waiting is of no use.
func TestDialQueueWaits(t *testing.T) {
	for name, row := range map[string]struct {
		meanwhile func(q *dialQueue, leave func())
		joins     bool
		waits     time.Duration
		taken     int // places that are taken afterwards
	}{
		"a place is left":            {func(q *dialQueue, _ func()) { q.release() }, true, 0, maxDialing},
		"nothing moves":              {func(*dialQueue, func()) {}, false, stalledAfter, maxDialing},
		"others move, and more come": {keepMoving, false, maxQueueing, maxDialing},
		"the visitor leaves":         {func(_ *dialQueue, leave func()) { leave() }, false, 0, maxDialing},
		"connections are not shared": {func(q *dialQueue, _ func()) { q.exclusive.Store(true); q.release() }, false, 0, maxDialing - 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				q := newDialQueue()
				for range maxDialing {
					q.acquire(t.Context())
				}
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				var joined bool
				var waited time.Duration
				start := time.Now()
				var wg sync.WaitGroup
				wg.Go(func() {
					joined = q.acquire(ctx)
					waited = time.Since(start)
				})
				synctest.Wait()
				row.meanwhile(q, leave)
				wg.Wait()
				if joined != row.joins || waited != row.waits {
					t.Errorf("it has a place: %v, after %s", joined, waited)
				}
				if n := len(q.dialing); n != row.taken {
					t.Errorf("%d places are taken, want %d", n, row.taken)
				}
				if start = time.Now(); row.waits == stalledAfter && (q.acquire(ctx) || time.Since(start) > 0) {
					t.Errorf("the next one has waited, too, for %s", time.Since(start))
				}
			})
		})
	}
}

// keepMoving simulates earlier requests that keep taking and releasing places.
func keepMoving(q *dialQueue, _ func()) {
	for range 10 {
		q.touch()
		time.Sleep(stalledAfter / 2)
	}
}
