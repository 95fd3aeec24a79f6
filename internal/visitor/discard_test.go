package visitor

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// endless is a body that does not end. It counts what is read.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	e.read += len(p)
	return len(p), nil
}

func (*endless) Close() error { return nil }

// request returns an HTTP/1.1 request whose body is behind Caddy's reader.
func request(t *testing.T, conn *readDeadlines, body io.ReadCloser, length int64) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	reader := &caddyhttp.IdleTimeoutReader{
		ReadCloser: body,
		Ctrl:       http.NewResponseController(conn),
		Deadline:   caddyhttp.IdleDeadline{Timeout: time.Hour},
		Logger:     zap.NewNop(),
	}
	r.Body, r.ContentLength = reader, length
	return r.WithContext(caddyhttp.ContextWithIdleTimeouts(r.Context(), reader, nil))
}

// The rest of a body is read after the response, up to a size, and each read has a deadline.
func TestDiscardIsBounded(t *testing.T) {
	body := new(endless)
	conn := &readDeadlines{ResponseRecorder: httptest.NewRecorder()}
	NewBody(conn, request(t, conn, body, -1), time.Minute).Discard()
	if !conn.Flushed {
		t.Error("the response is not sent first")
	}
	if body.read < maxDiscarded || body.read > maxDiscarded+64<<10 {
		t.Errorf("%d bytes were read, want %d", body.read, maxDiscarded)
	}
	for _, at := range conn.set[1:] { // the first one is for net/http
		if at.IsZero() || time.Until(at) > maxLull {
			t.Fatalf("a read ends in %s, want at most %s", time.Until(at), maxLull)
		}
	}
}

// A visitor who was already too slow gets a moment more. Otherwise the body's deadline covers the rest, too.
func TestDiscardEndsWithTheBodysTime(t *testing.T) {
	for name, row := range map[string]struct {
		late bool
		want time.Duration
	}{"in time": {false, 3 * time.Second}, "late": {true, grace}} {
		t.Run(name, func(t *testing.T) {
			conn := &readDeadlines{ResponseRecorder: httptest.NewRecorder()}
			first := io.Reader(errorReader{os.ErrDeadlineExceeded})
			b := NewBody(conn, request(t, conn, io.NopCloser(first), -1), 3*time.Second)
			if row.late {
				if _, err := b.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Fatal(err)
				}
			}
			conn.set = nil
			b.Discard()
			if end := time.Until(conn.set[1]); (end - row.want).Abs() > time.Second/2 { // the first one is for net/http
				t.Errorf("reading ends in %s, want %s", end, row.want)
			}
		})
	}
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

// Nothing is flushed and nothing is read if there is nothing left, or if the connection carries other streams.
func TestNothingToDiscard(t *testing.T) {
	for name, change := range map[string]func(*http.Request){
		"no body": func(r *http.Request) { r.ContentLength = 0 },
		"HTTP/2":  func(r *http.Request) { r.ProtoMajor = 2 },
		"HTTP/3":  func(r *http.Request) { r.ProtoMajor = 3 },
	} {
		t.Run(name, func(t *testing.T) {
			body := new(endless)
			conn := &readDeadlines{ResponseRecorder: httptest.NewRecorder()}
			r := request(t, conn, body, -1)
			change(r)
			b := NewBody(conn, r, time.Minute)
			b.PrepareError(conn.Header())
			b.Discard()
			if conn.Flushed || body.read > 0 || len(conn.set) > 0 || len(conn.Header()) > 0 {
				t.Errorf("flushed: %v; read: %d; deadlines: %v; header: %v", conn.Flushed, body.read, conn.set, conn.Header())
			}
		})
	}
	t.Run("a body that was read", func(t *testing.T) {
		conn := &readDeadlines{ResponseRecorder: httptest.NewRecorder()}
		b := NewBody(conn, post(t, conn, time.Time{}), time.Minute)
		if _, err := io.ReadAll(b); err != nil {
			t.Fatal(err)
		}
		b.PrepareError(conn.Header())
		b.Discard()
		if conn.Flushed || len(conn.Header()) > 0 {
			t.Errorf("flushed: %v; header: %v", conn.Flushed, conn.Header())
		}
	})
}

// Only a body that is known to be small keeps the connection, and only if the visitor sends it.
func TestPrepareError(t *testing.T) {
	for name, row := range map[string]struct {
		length int64
		expect string
		read   bool
		want   string
	}{
		"small":             {length: mostKept},
		"large":             {length: mostKept + 1, want: "close"},
		"unknown":           {length: -1, want: "close"},
		"waiting":           {length: 1, expect: "100-continue", want: "close"},
		"waiting no longer": {length: 1, expect: "100-continue", read: true},
	} {
		t.Run(name, func(t *testing.T) {
			conn := &readDeadlines{ResponseRecorder: httptest.NewRecorder()}
			r := request(t, conn, new(endless), row.length)
			r.Header.Set("Expect", row.expect)
			b := NewBody(conn, r, time.Minute)
			if row.read {
				_, _ = b.Read(make([]byte, 1))
			}
			b.PrepareError(conn.Header())
			if got := conn.Header().Get("Connection"); got != row.want {
				t.Errorf("got Connection: %q, want %q", got, row.want)
			}
		})
	}
}
