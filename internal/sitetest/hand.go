package sitetest

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// HandUpstream is an upstream whose answers a test writes by hand, event by event.
type HandUpstream struct {
	URL   string
	asked chan *HandAnswer
}

// HandAnswer is one answer of a HandUpstream. Its response headers are sent at once.
type HandAnswer struct {
	Request *http.Request // whose body has been read
	Parts   chan string   // each part is written and flushed; closing the channel ends the answer
	Over    chan struct{} // closed when the handler has returned
}

// NewHandUpstream starts a HandUpstream, which runs until the test ends.
func NewHandUpstream(tb testing.TB) *HandUpstream {
	tb.Helper()
	u := &HandUpstream{asked: make(chan *HandAnswer)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		a := &HandAnswer{Request: r, Parts: make(chan string), Over: make(chan struct{})}
		defer close(a.Over)
		select {
		case u.asked <- a:
		case <-r.Context().Done():
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		control := http.NewResponseController(w)
		_ = control.Flush()
		for {
			select {
			case part, ok := <-a.Parts:
				if !ok {
					return
				}
				_, _ = io.WriteString(w, part)
				_ = control.Flush()
			case <-r.Context().Done():
				return
			}
		}
	}))
	tb.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	u.URL = server.URL
	return u
}

// Next waits for the next request and returns its answer.
func (u *HandUpstream) Next(tb testing.TB) *HandAnswer {
	tb.Helper()
	select {
	case a := <-u.asked:
		return a
	case <-time.After(Patience):
		tb.Fatal("the upstream was not asked")
		return nil
	}
}

// Say sends a part of the answer, which the upstream writes and flushes.
func (a *HandAnswer) Say(tb testing.TB, part string) {
	tb.Helper()
	select {
	case a.Parts <- part:
	case <-a.Over:
		tb.Fatalf("the upstream's request is over, so it cannot send %q", part)
	case <-time.After(Patience):
		tb.Fatalf("the upstream could not send %q", part)
	}
}

// End completes the answer.
func (a *HandAnswer) End() { close(a.Parts) }

// Numbered returns the n-th event of an answer.
func Numbered(n int) string {
	return fmt.Sprintf("data: {\"type\":\"text-delta\",\"textDelta\":\"event %d\\n\"}\n\n", n)
}
