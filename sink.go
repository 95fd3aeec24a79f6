package illumichat

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// heartbeatComment is a comment, which dispatches nothing, and the blank line that ends its block.
var heartbeatComment = []byte(":\n\n")

// sink is the visitor's side of a stream. The relay and the timer both write to it, never at once, and
// what is written ends with an event.
type sink struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	start    time.Time     // of the exchange
	timeout  time.Duration // of one write
	interval time.Duration // between heartbeats; never: none

	head        http.Header // of an accepted answer
	contentType string

	hardDeadline time.Time // the server's own for the whole answer; zero: none
	restore      func()    // puts the server's write timeout back
	ownDeadlines bool      // the server sets none, so we do
	http1, http2 bool

	mu        sync.Mutex
	committed bool          // the head is sent
	hasBody   bool          // something but the head is sent
	open      bool          // an event has been sent in part
	sent      time.Duration // when the last byte went out, from start
	bytes     int64         // of the body
}

func newSink(w http.ResponseWriter, r *http.Request, start time.Time, timeout, interval time.Duration) *sink {
	s := &sink{
		w: w, control: http.NewResponseController(w),
		start: start, timeout: timeout, interval: interval,
		http1: r.ProtoMajor == 1, http2: r.ProtoMajor == 2,
	}
	// Caddy sets a deadline for each write, which is cheaper to lengthen or shorten than to set another one.
	if _, writer := caddyhttp.IdleTimeoutsFromContext(r.Context()); writer != nil {
		s.hardDeadline = writer.Deadline.HardDeadline
		s.restore = writer.Override(timeout, 0, 0)
		return s
	}
	s.ownDeadlines = true
	if server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server.WriteTimeout > 0 {
		s.hardDeadline = start.Add(time.Duration(server.WriteTimeout))
	}
	s.restore = func() { s.setDeadline(s.hardDeadline) }
	return s
}

// prepare sets the head of an accepted answer.
func (s *sink) prepare(head http.Header, contentType string) {
	s.head, s.contentType = head, contentType
}

// close gives the connection back as it was.
func (s *sink) close() { s.restore() }

// commit sends the head, if it is not sent yet. It is for the timer, which does not wait for a write: one
// that goes on sends the head itself.
func (s *sink) commit() error {
	if !s.mu.TryLock() {
		return nil
	}
	defer s.mu.Unlock()
	if s.committed {
		return nil
	}
	s.deadline()
	s.writeHead()
	return s.flush()
}

// isCommitted reports whether anything was sent.
func (s *sink) isCommitted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.committed
}

// hasSent reports whether anything but the head was sent.
func (s *sink) hasSent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hasBody
}

// write sends p at once, after the head. What p ends with is the end of an event, or where whole is
// false, a part of one.
func (s *sink) write(p []byte, whole bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.committed {
		s.writeHead()
	}
	return s.send(p, whole)
}

// finish ends the stream with an event of our own, after the torn one if there is one.
func (s *sink) finish(ev []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		// Ends the line and then the block, whichever line end came last.
		ev = append([]byte("\n\n"), ev...)
	}
	return s.send(ev, true)
}

// heartbeat sends a comment if nothing was sent for long enough. It returns when the next may be due. It
// is for the timer, which does not wait for a write: while one goes on, there is no silence.
func (s *sink) heartbeat() (next time.Duration, err error) {
	now := time.Since(s.start)
	if !s.mu.TryLock() {
		return now + min(s.interval, never-now), nil
	}
	defer s.mu.Unlock()
	switch {
	case s.interval == never || !s.committed:
		return never, nil
	case s.open:
		return now + s.interval, nil
	case now-s.sent < s.interval:
		return s.sent + s.interval, nil
	}
	err = s.send(heartbeatComment, true)
	return s.sent + s.interval, err
}

func (s *sink) writeHead() {
	s.committed = true
	header := s.w.Header()
	for name, values := range s.head {
		header[name] = append(header[name], values...)
	}
	header.Set("Content-Type", s.contentType)
	header.Set("Cache-Control", "no-cache, no-transform") // so that encode leaves it alone
	header.Set("X-Accel-Buffering", "no")                 // so that nginx passes it on at once
	s.w.WriteHeader(http.StatusOK)
}

func (s *sink) send(p []byte, whole bool) error {
	s.open, s.hasBody = !whole, true
	s.deadline()
	for len(p) > 0 {
		n, err := s.w.Write(p[:s.firstChunk(p)])
		s.bytes += int64(n)
		if err != nil {
			return visitorError(err)
		}
		p = p[n:]
	}
	return s.flush()
}

// oneWrite is how much goes to an HTTP/1 connection in one write, with the head and the end of its chunk: its buffer has
// 4 KiB.
const oneWrite = 4089

// firstChunk returns how much of p is to be a chunk. What is somewhat more than goes in one write would take three: for what
// fills the buffer, for the rest, which is not copied, and for the end of the chunk. As two chunks it takes two.
func (s *sink) firstChunk(p []byte) int {
	if !s.http1 || len(p) <= oneWrite || len(p) > 2*oneWrite {
		return len(p)
	}
	// Each chunk ends with an event. Where lines do not end with LF alone, there is but one.
	if end := bytes.LastIndex(p[:oneWrite], []byte("\n\n")); end >= 0 && len(p)-(end+2) <= oneWrite {
		return end + 2
	}
	return len(p)
}

func (s *sink) flush() error {
	err := s.control.Flush()
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return visitorError(err)
	}
	s.sent = time.Since(s.start)
	if s.ownDeadlines && s.http2 {
		// In HTTP/2 a deadline resets the stream when it passes, even between writes.
		s.setDeadline(s.hardDeadline)
	}
	return nil
}

// deadline bounds the write and flush that follow, where the server does not.
func (s *sink) deadline() {
	if s.ownDeadlines {
		at := time.Now().Add(s.timeout)
		if !s.hardDeadline.IsZero() && s.hardDeadline.Before(at) {
			at = s.hardDeadline
		}
		s.setDeadline(at)
	}
}

func (s *sink) setDeadline(at time.Time) {
	if err := s.control.SetWriteDeadline(at); err != nil {
		s.ownDeadlines = false // some writer above the connection knows none
	}
}

// visitorError marks a failed write as the visitor's end of the exchange.
func visitorError(err error) error { return fmt.Errorf("%w: %w", errVisitorGone, withoutAddress(err)) }
