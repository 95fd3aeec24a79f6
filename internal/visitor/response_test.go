package visitor

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// deadlineCounter is a connection that counts how often a write deadline is set.
type deadlineCounter struct {
	*httptest.ResponseRecorder
	set  int
	last time.Time
}

func (c *deadlineCounter) SetWriteDeadline(at time.Time) error {
	c.set++
	c.last = at
	return nil
}

// Neither Caddy nor Response sets a deadline for an event. After the answer, Caddy's deadlines bound writes again.
func TestNoDeadlineForAnEvent(t *testing.T) {
	conn := &deadlineCounter{ResponseRecorder: httptest.NewRecorder()}
	control := http.NewResponseController(conn)
	writer := &caddyhttp.IdleTimeoutWriter{
		ResponseWriterWrapper: &caddyhttp.ResponseWriterWrapper{ResponseWriter: conn},
		Ctrl:                  control,
		Deadline:              caddyhttp.IdleDeadline{Timeout: time.Minute},
		Logger:                zap.NewNop(),
	}
	ctx := caddyhttp.ContextWithIdleTimeouts(t.Context(), nil, writer)
	s := New(writer, httptest.NewRequestWithContext(ctx, http.MethodPost, "/", nil), Options{Start: time.Now(), WriteTimeout: time.Minute, Heartbeat: never})
	before := conn.set
	for range 100 {
		if err := s.WriteEvents([]byte("data: hello\n\n"), true, true); err != nil {
			t.Fatal(err)
		}
	}
	if conn.set != before || !conn.last.IsZero() {
		t.Errorf("%d deadlines were set for 100 events, the last one is %v", conn.set-before, conn.last)
	}

	if err := s.Finish([]byte("data: bye\n\n")); err != nil {
		t.Fatal(err)
	}
	if conn.set != before+2 || !conn.last.IsZero() {
		t.Errorf("%d deadlines were set for our own finish, the last one is %v", conn.set-before, conn.last)
	}

	s.Close("", "")
	if _, err := writer.Write([]byte("more")); err != nil {
		t.Fatal(err)
	}
	if conn.last.IsZero() || writer.Ctrl != control {
		t.Error("nothing bounds what is written after the answer")
	}
}

// EndStalled cannot end a write if a writer does not support deadlines. Then it checks again only after the write
// timeout.
func TestStalledWriteIsLookedAtNowAndThen(t *testing.T) {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	s := New(httptest.NewRecorder(), r, Options{Start: time.Now(), WriteTimeout: time.Second, Heartbeat: never})
	s.relaying.Store(int64(time.Second))
	for now, want := range map[time.Duration]time.Duration{
		1500 * time.Millisecond: 2 * time.Second,
		2 * time.Second:         3 * time.Second,
		5 * time.Second:         6 * time.Second,
	} {
		if next := s.EndStalled(now); next != want {
			t.Errorf("at %s, the next look is at %s, want %s", now, next, want)
		}
	}
}
