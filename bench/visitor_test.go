package main

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/quic-go/quic-go/http3"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
)

// listen serves the rig's own upstream.
func listen(t *testing.T) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() { _ = serveUpstream(l) }()
	return l.Addr().String()
}

func authorized(address string) *site {
	return &site{address: address, header: "Authorization: Bearer " + token + "\r\n"}
}

func TestVisitorsSeeAllThatTheUpstreamSends(t *testing.T) {
	s := authorized(listen(t))
	for _, w := range []*workload{
		{streams: 3, chats: 4, events: 50, burst: 1},
		{streams: 3, chats: 2, events: 50, burst: 7},
		{streams: 20, chats: 1, events: 5, burst: 1, pause: time.Millisecond},
		{streams: 3, chats: 2, events: 1, burst: 1, body: 100_000},
	} {
		got, err := s.visit(w, func() {})
		if err != nil {
			t.Fatal(err)
		}
		if chats := w.streams * w.chats; got.chats != chats || got.events != chats*w.events || len(got.first) != chats ||
			len(got.latency) != got.events || got.lost != 0 || got.broken != 0 {
			t.Errorf("%+v: saw %d chats and %d events, %d lost, %d broken", w, got.chats, got.events, got.lost, got.broken)
		}
	}
}

// Visitors see the same over each protocol, and each keeps one connection.
func TestVisitorsOverEachProtocol(t *testing.T) {
	cert, key := localhost.PEM()
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	seen := make(map[string]map[string]bool) // addresses of visitors, by protocol
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		if seen[r.Proto] == nil {
			seen[r.Proto] = make(map[string]bool)
		}
		seen[r.Proto][r.RemoteAddr] = true
		mu.Unlock()
		r.Header.Set("Authorization", "Bearer "+token)
		answerRequest(w, r)
	})
	overTCP := httptest.NewUnstartedServer(handler)
	overTCP.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	overTCP.EnableHTTP2 = true
	overTCP.StartTLS()
	defer overTCP.Close()

	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	overQUIC := &http3.Server{Handler: handler, TLSConfig: http3.ConfigureTLSConfig(&tls.Config{Certificates: []tls.Certificate{pair}})}
	defer overQUIC.Close()
	go func() { _ = overQUIC.Serve(packets) }()

	for proto, s := range map[string]*site{
		"HTTP/2.0": {address: overTCP.Listener.Addr().String(), protocol: http2TLS},
		"HTTP/3.0": {address: packets.LocalAddr().String(), protocol: http3QUIC},
	} {
		w := &workload{streams: 3, chats: 4, events: 50, burst: 7}
		got, err := s.visit(w, func() {})
		if err != nil {
			t.Fatalf("%s: %v", proto, err)
		}
		if got.chats != 12 || got.events != 600 || len(got.first) != 12 || got.lost != 0 || got.broken != 0 {
			t.Errorf("%s: saw %d chats and %d events, %d lost, %d broken", proto, got.chats, got.events, got.lost, got.broken)
		}
		if got, err := s.visit(&workload{streams: 4, chats: 1, events: 1, burst: 1, hold: true}, func() {}); err != nil || got.events != 4 || got.broken != 0 {
			t.Errorf("%s: held streams: %+v, %v", proto, got, err)
		}
		mu.Lock()
		if n := len(seen[proto]); n != 7 {
			t.Errorf("%s: %d connections of 7 visitors", proto, n)
		}
		mu.Unlock()
	}
}

func TestVisitorsHoldTheirStreams(t *testing.T) {
	s := authorized(listen(t))
	held := 0
	got, err := s.visit(&workload{streams: 10, chats: 1, events: 1, burst: 1, hold: true}, func() { held++ })
	if err != nil || held != 1 || got.events != 10 || got.lost != 0 || got.broken != 0 {
		t.Errorf("held %d times, saw %+v, %v", held, got, err)
	}
}

// What a proxy loses, repeats or cuts is counted.
func TestVisitorsCountWhatIsWrong(t *testing.T) {
	event := func(n int) string {
		return fmt.Sprintf("%s%010d %019d %s", eventBegins, n, time.Now().UnixNano(), eventEnds)
	}
	const finish = finishBegins + finishEnds
	for name, tc := range map[string]struct {
		stream       string
		lost, broken int
	}{
		"whole":            {event(0) + event(1) + event(2) + finish, 0, 0},
		"with comments":    {":\n\n" + event(0) + ": hello\n\n" + event(1) + event(2) + finish, 0, 0},
		"one is missing":   {event(0) + event(2) + finish, 1, 0},
		"the last one is":  {event(0) + event(1) + finish, 1, 0},
		"one comes twice":  {event(0) + event(1) + event(1) + event(2) + finish, 1, 0},
		"two are swapped":  {event(0) + event(2) + event(1) + finish, 2, 0},
		"none":             {finish, 3, 0},
		"without a finish": {event(0) + event(1) + event(2), 0, 1},
		"torn":             {event(0) + event(1) + event(2)[:20], 1, 1},
	} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(tc.stream)) }))
		s := &site{address: strings.TrimPrefix(server.URL, "http://")}
		got, err := s.visit(&workload{streams: 1, chats: 1, events: 3, burst: 1}, func() {})
		server.Close()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if got.lost != tc.lost || got.broken != tc.broken {
			t.Errorf("%s: %d lost and %d broken, want %d and %d", name, got.lost, got.broken, tc.lost, tc.broken)
		}
	}
}

func TestVisitorsRefuseErrors(t *testing.T) {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	s := &site{address: strings.TrimPrefix(server.URL, "http://")}
	if _, err := s.visit(&workload{streams: 2, chats: 1, events: 1, burst: 1}, func() {}); err == nil || !strings.Contains(err.Error(), "404") {
		t.Errorf("got the error %v", err)
	}
}

// The upstream of HTTP/2 sends the same as the other.
func TestUpstreamOfHTTP2(t *testing.T) {
	dir := t.TempDir()
	if err := writeCertificate(dir); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() { _ = serveHTTP2Upstream(l, dir) }()

	cert, _ := localhost.PEM()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(cert)
	overTLS := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, ServerName: "localhost"}, ForceAttemptHTTP2: true}
	defer overTLS.CloseIdleConnections()
	ask := func(transport http.RoundTripper, url, proto string) string {
		t.Helper()
		w := &workload{events: 20, burst: 3}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, bytes.NewReader(w.chat()))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.Proto != proto || resp.Header.Get("Content-Type") != "text/event-stream" {
			t.Errorf("got %s, %v, %v", resp.Proto, resp.Header, err)
		}
		return stamps.ReplaceAllString(string(body), "")
	}
	want := ask(http.DefaultTransport, "http://"+listen(t), "HTTP/1.1")
	if got := ask(overTLS, "https://"+l.Addr().String(), "HTTP/2.0"); got != want || strings.Count(got, "data: ") != 21 {
		t.Errorf("got %q, want %q", got, want)
	}
}

// stamps are when events are sent.
var stamps = regexp.MustCompile(` \d{19} `)
