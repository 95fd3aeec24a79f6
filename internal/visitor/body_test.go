package visitor

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// readDeadlines is a connection that records the deadlines that are set for reading.
type readDeadlines struct {
	*httptest.ResponseRecorder
	set []time.Time
}

func (c *readDeadlines) SetReadDeadline(at time.Time) error {
	c.set = append(c.set, at)
	return nil
}

// post returns a request with a body behind Caddy's reader, whose server has the given deadline for the whole body.
func post(t *testing.T, conn *readDeadlines, hard time.Time) *http.Request {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("Hello"))
	reader := &caddyhttp.IdleTimeoutReader{
		ReadCloser: r.Body,
		Ctrl:       http.NewResponseController(conn),
		Deadline:   caddyhttp.IdleDeadline{Timeout: time.Hour, HardDeadline: hard},
		Logger:     zap.NewNop(),
	}
	r.Body = reader
	return r.WithContext(caddyhttp.ContextWithIdleTimeouts(r.Context(), reader, nil))
}

// The deadline covers the whole body, unless the server's own is earlier. No deadline is left when the body has ended.
func TestBodyHasADeadline(t *testing.T) {
	now := time.Now()
	for name, row := range map[string]struct{ hard, want time.Time }{
		"ours":           {time.Time{}, now.Add(time.Minute)},
		"ours first":     {now.Add(time.Hour), now.Add(time.Minute)},
		"the server's":   {now.Add(time.Second), now.Add(time.Second)},
		"long past, too": {now.Add(-time.Second), now.Add(-time.Second)},
	} {
		t.Run(name, func(t *testing.T) {
			conn := &readDeadlines{ResponseRecorder: httptest.NewRecorder()}
			body := NewBody(conn, post(t, conn, row.hard), time.Minute)
			if len(conn.set) != 0 {
				t.Errorf("there are deadlines before the first read: %v", conn.set)
			}
			if got, err := io.ReadAll(body); string(got) != "Hello" || err != nil {
				t.Fatalf("got %q, %v", got, err)
			}
			if first := conn.set[0]; first.Sub(row.want).Abs() > time.Second/2 {
				t.Errorf("the deadline is %v, want %v", first, row.want)
			}
			if last := conn.set[len(conn.set)-1]; !last.IsZero() {
				t.Errorf("the deadline %v is left", last)
			}
		})
	}
}

// No deadline is set if another handler has read the body: it could end the wait for the visitor to leave.
func TestBodyThatWasReadGetsNoDeadline(t *testing.T) {
	conn := &readDeadlines{ResponseRecorder: httptest.NewRecorder()}
	r := post(t, conn, time.Now().Add(-time.Second))
	read, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	r.Body = io.NopCloser(strings.NewReader(string(read)))
	conn.set = nil
	if got, err := io.ReadAll(NewBody(conn, r, time.Minute)); string(got) != "Hello" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	for _, at := range conn.set {
		if !at.IsZero() {
			t.Errorf("the deadline %v is set", at)
		}
	}
}

// Without Caddy's reader, the module sets the deadline itself, and removes it.
func TestBodyWithoutIdleTimeouts(t *testing.T) {
	conn := &readDeadlines{ResponseRecorder: httptest.NewRecorder()}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader("Hello"))
	if got, err := io.ReadAll(NewBody(conn, r, time.Minute)); string(got) != "Hello" || err != nil {
		t.Fatalf("got %q, %v", got, err)
	}
	if len(conn.set) != 2 || conn.set[0].Before(time.Now()) || !conn.set[1].IsZero() {
		t.Errorf("these deadlines are set: %v", conn.set)
	}
}
