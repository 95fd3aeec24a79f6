package sandbox_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

func newServer(t *testing.T) *sandboxtest.Server {
	return sandboxtest.NewServer(t, sandbox.Options{})
}

// do sends a message to the server.
func do(t *testing.T, client *http.Client, url, message string) (*http.Response, error) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(saying(message)))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+sandbox.Token)
	r.Header.Set("Content-Type", "application/json")
	return client.Do(r)
}

// send sends a message to the server, which must answer it.
func send(t *testing.T, srv *sandboxtest.Server, message string) *http.Response {
	t.Helper()
	res, err := do(t, srv.Client(), srv.URL, message)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return res
}

func TestCleanEnds(t *testing.T) {
	srv := newServer(t)
	for _, tc := range []struct {
		message string
		events  int
		rest    string // what the last bytes look like that are no event
	}{
		{"/cut", 3, ""},
		{"/cut 0", 0, ""},
		{"/cut 100", 100, ""},
		{"/torn", 3, `data: {"type":"text-`},
		{"/torn 0", 0, `data: {"type":"text-`},
		{"/torn 100", 100, `data: {"type":"text-`},
	} {
		res := send(t, srv, tc.message)
		body, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != http.StatusOK {
			t.Fatalf("%s: got %s, %v", tc.message, res.Status, err)
		}
		end := strings.LastIndex(string(body), "\n\n") + len("\n\n")
		if tc.events == 0 {
			end = 0
		}
		all, finishes := count(decodeEvents(t, string(body[:end])))
		if all != tc.events || finishes != 0 {
			t.Errorf("%s: got %d events, %d of them a finish", tc.message, all, finishes)
		}
		rest := string(body[end:])
		if !strings.HasPrefix(rest, tc.rest) || (rest == "") != (tc.rest == "") || strings.HasSuffix(rest, "}") {
			t.Errorf("%s: the answer ends in %q", tc.message, rest)
		}
	}
}

func TestNoBlank(t *testing.T) {
	body := ask(t, "/no-blank").body()
	if !strings.HasSuffix(body, "}\n") {
		t.Fatalf("the answer ends in %q", body[len(body)-2:])
	}
	all, finishes := count(decodeEvents(t, body+"\n"))
	if finishes != 1 || all < 10 {
		t.Errorf("got %d events, %d of them a finish", all, finishes)
	}
}

func TestReset(t *testing.T) {
	srv, secure := newServer(t), sandboxtest.NewTLSServer(t, sandbox.Options{})
	overHTTP1 := secure.Client().Transport.(*http.Transport).Clone()
	overHTTP1.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	overHTTP1.TLSClientConfig.NextProtos = []string{"http/1.1"}
	defer overHTTP1.CloseIdleConnections()

	isReset := func(err error) bool { return errors.Is(err, syscall.ECONNRESET) }
	isStreamReset := func(err error) bool { return err != nil && strings.Contains(err.Error(), "stream error") }
	for _, tc := range []struct {
		name   string
		url    string
		client *http.Client
		proto  int
		want   func(error) bool
	}{
		{"HTTP/1.1", srv.URL, srv.Client(), 1, isReset},
		{"HTTP/1.1 over TLS", secure.URL, &http.Client{Transport: overHTTP1}, 1, isReset},
		{"HTTP/2", secure.URL, secure.Client(), 2, isStreamReset},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if _, err := do(t, tc.client, tc.url, "/reset 0"); !tc.want(err) {
				t.Errorf("before the head: got %v", err)
			}
			res, err := do(t, tc.client, tc.url, "/reset")
			if err != nil {
				t.Fatal(err)
			}
			defer res.Body.Close()
			if res.ProtoMajor != tc.proto {
				t.Errorf("the answer came over %s", res.Proto)
			}
			body, err := io.ReadAll(res.Body)
			if !tc.want(err) {
				t.Errorf("in the stream: got %v", err)
			}
			if got := len(decodeEvents(t, string(body))); got != 3 {
				t.Errorf("got %d events, want 3", got)
			}
		})
	}
}

// What a silent answer brings before it falls silent.
func TestSilences(t *testing.T) {
	for message, events := range map[string]int{
		"/stall": 3, "/stall 0": 0, "/stall 20": 20, "/hang": 0, "/burst 2 /stall 3": 3, "/chunk 100000 /stall 3": 3,
	} {
		t.Run(message, func(t *testing.T) {
			srv := newServer(t)
			res := send(t, srv, message)
			if res.StatusCode != http.StatusOK || res.Header.Get("Content-Type") != "text/event-stream" {
				t.Errorf("got %s", res.Status)
			}
			read := 0
			var got strings.Builder
			for b := make([]byte, 1); read < events; {
				if _, err := io.ReadFull(res.Body, b); err != nil {
					t.Fatalf("after %q: %v", got.String(), err)
				}
				got.Write(b)
				if strings.HasSuffix(got.String(), "\n\n") {
					read++
				}
			}
			if _, finishes := count(decodeEvents(t, got.String())); finishes != 0 {
				t.Error("got a finish")
			}
			if srv.Open() != 1 {
				t.Error("the answer is over")
			}
			// More than these events the sandbox has not written.
			res.Body.Close()
			r := srv.Request(t, 0)
			r.Wait(t)
			if written := len(r.EventTimes()); written != events {
				t.Errorf("the sandbox wrote %d events, want %d", written, events)
			}
		})
	}
}

func TestSilent(t *testing.T) {
	w := &recording{header: make(http.Header)}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	sandbox.New(sandbox.Options{}).ServeHTTP(w, chatRequest(t, saying("/silent")).WithContext(ctx))
	if w.status != 0 || w.body() != "" {
		t.Errorf("got %d %q", w.status, w.body())
	}
}

func TestEndless(t *testing.T) {
	srv := newServer(t)
	body := send(t, srv, "/endless").Body
	stream := make([]byte, 10_000)
	if _, err := io.ReadFull(body, stream); err != nil {
		t.Fatal(err)
	}
	whole := string(stream[:strings.LastIndex(string(stream), "\n\n")+2])
	if all, finishes := count(decodeEvents(t, whole)); all < 100 || finishes != 0 {
		t.Errorf("got %d events, %d of them a finish", all, finishes)
	}

	body = send(t, srv, "/endless-event").Body
	if _, err := io.ReadFull(body, stream); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(stream), `data: {"type":"text-delta","textDelta":"on and on`) || strings.Contains(string(stream), "\n") {
		t.Errorf("got %q", stream)
	}
}
