package visitor

import (
	"net/http"
	"time"
)

// noDeadlines is for a writer that is to set none.
var noDeadlines = http.NewResponseController(deadlineIgnorer{})

type deadlineIgnorer struct{ http.ResponseWriter }

func (deadlineIgnorer) SetWriteDeadline(time.Time) error { return nil }

func (s *Response) EndStalled(now time.Duration) (next time.Duration) {
	since := time.Duration(s.relaying.Load())
	if since == 0 {
		return now + s.timeout
	}
	if now-since < s.timeout {
		return since + s.timeout
	}
	_ = s.deadlines.SetWriteDeadline(s.start) // which is over, so that the write fails, unless some writer knows no deadlines
	return now + s.timeout
}

// setDeadline bounds the write and flush that follow. What it returns is to be called after them: in HTTP/2 a deadline
// resets the stream when it passes, even between writes.
func (s *Response) setDeadline() (clear func()) {
	at := time.Now().Add(s.timeout)
	if !s.hardDeadline.IsZero() && s.hardDeadline.Before(at) {
		at = s.hardDeadline
	}
	_ = s.deadlines.SetWriteDeadline(at) // what cannot be set cannot be helped
	return s.clearDeadline
}

// clearDeadline puts the server's own back.
func (s *Response) clearDeadline() { _ = s.deadlines.SetWriteDeadline(s.hardDeadline) }
