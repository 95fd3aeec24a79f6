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
func (r *Response) EndStalled(now time.Duration) (next time.Duration) {
	since := time.Duration(r.relaying.Load())
	if since == 0 {
		return now + r.timeout
	}
	if now-since < r.timeout {
		return since + r.timeout
	}
	// A deadline in the past makes the write fail, unless a writer in the chain does not support deadlines.
	_ = r.deadlines.SetWriteDeadline(r.start)
	return now + r.timeout
}

// Writing returns for how long the WriteEvents in progress has lasted at now, or 0 if there is none.
func (r *Response) Writing(now time.Duration) time.Duration {
	since := time.Duration(r.relaying.Load())
	if since == 0 {
		return 0
	}
	return now - since
}

// setDeadline bounds the write and flush that follow. The caller must call clear after them, because an HTTP/2 deadline
// resets the stream when it passes, even between writes.
func (r *Response) setDeadline() (clear func()) {
	at := time.Now().Add(r.timeout)
	if !r.hardDeadline.IsZero() && r.hardDeadline.Before(at) {
		at = r.hardDeadline
	}
	_ = r.deadlines.SetWriteDeadline(at) // a writer that does not support deadlines cannot be bounded
	return r.clearDeadline
}

// clearDeadline restores the server's own deadline for the whole answer.
func (r *Response) clearDeadline() { _ = r.deadlines.SetWriteDeadline(r.hardDeadline) }
