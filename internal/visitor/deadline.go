package visitor

import (
	"net/http"
	"time"
)

// noDeadlines is the controller that New gives Caddy's writer, so that the writer sets no deadlines.
var noDeadlines = http.NewResponseController(deadlineIgnorer{})

type deadlineIgnorer struct{ http.ResponseWriter }

func (deadlineIgnorer) SetWriteDeadline(time.Time) error { return nil }

// EndStalled makes WriteEvents fail if it has blocked for the write timeout. It returns when to call it again.
// It may be called from any goroutine, and does not wait for the write.
func (s *Response) EndStalled(now time.Duration) (next time.Duration) {
	since := time.Duration(s.relaying.Load())
	if since == 0 {
		return now + s.timeout
	}
	if now-since < s.timeout {
		return since + s.timeout
	}
	// A deadline in the past makes the write fail, unless a writer in the chain does not support deadlines.
	_ = s.deadlines.SetWriteDeadline(s.start)
	return now + s.timeout
}

// setDeadline bounds the write and flush that follow. The caller must call clear after them, because an HTTP/2 deadline
// resets the stream when it passes, even between writes.
func (s *Response) setDeadline() (clear func()) {
	at := time.Now().Add(s.timeout)
	if !s.hardDeadline.IsZero() && s.hardDeadline.Before(at) {
		at = s.hardDeadline
	}
	_ = s.deadlines.SetWriteDeadline(at) // a writer that does not support deadlines cannot be bounded
	return s.clearDeadline
}

// clearDeadline restores the server's own deadline for the whole answer.
func (s *Response) clearDeadline() { _ = s.deadlines.SetWriteDeadline(s.hardDeadline) }
