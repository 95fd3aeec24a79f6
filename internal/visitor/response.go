package visitor

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/sse"
)

// Response is the visitor's side of a stream: the output to a connection.
type Response struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	start    time.Time     // of the exchange
	timeout  time.Duration // of one write, within what the server sets for the whole answer
	interval time.Duration // between heartbeats; never: none

	head        http.Header // of an accepted answer
	contentType string
	caching     string // Cache-Control

	hardDeadline time.Time                // the server's own for the whole answer; zero: none
	deadlines    *http.ResponseController // sets those of the connection or stream
	restore      func()                   // puts the server's write timeout back

	relaying atomic.Int64 // since when a write of the relay's goes on, from start; 0: none does

	mu        sync.Mutex
	committed bool          // the head is sent
	hasBody   bool          // something but the head is sent
	open      bool          // an event has been sent in part
	sent      time.Duration // when the last byte went out, from start
	bytes     int64         // of the body
}

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)

// Options are about the time that things take.
type Options struct {
	Start        time.Time     // of the exchange
	WriteTimeout time.Duration // how long one write may block
	Heartbeat    time.Duration // after how much silence a comment is sent; the largest duration: never
	CacheControl string        // the answer's; "" for that of an answer to a POST
}

// New returns the sink of a request.
func New(w http.ResponseWriter, r *http.Request, options Options) *Response {
	control := http.NewResponseController(w)
	start := options.Start
	s := &Response{w: w, control: control, start: start, timeout: options.WriteTimeout, interval: options.Heartbeat, deadlines: control}
	s.caching = cmp.Or(options.CacheControl, "no-cache, no-transform") // so that encode leaves it alone
	_, writer := caddyhttp.IdleTimeoutsFromContext(r.Context())
	if writer == nil {
		if server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server.WriteTimeout > 0 {
			s.hardDeadline = start.Add(time.Duration(server.WriteTimeout))
		}
		s.restore = s.clearDeadline
		return s
	}
	// Caddy would set a deadline twice for each event, which is a tenth of what an event costs.
	s.hardDeadline = writer.Deadline.HardDeadline
	s.deadlines, writer.Ctrl = writer.Ctrl, noDeadlines
	restore := writer.Override(s.timeout, 0, 0)
	s.clearDeadline()
	s.restore = func() {
		writer.Ctrl = s.deadlines
		restore()
	}
	return s
}

func (s *Response) Prepare(head http.Header, contentType string) {
	s.head, s.contentType = head, contentType
}

func (s *Response) IsHeard() bool { return true }

func (s *Response) Deadline() time.Time { return s.hardDeadline }

func (s *Response) Patience() time.Duration { return min(s.interval, s.timeout) }

// Close gives the connection back as it was.
func (s *Response) Close(_, _ string) (bytes int64) {
	s.restore()
	return s.bytes
}

// Commit does not wait for a write: one that goes on sends the head itself.
func (s *Response) Commit() error {
	if !s.mu.TryLock() {
		return nil
	}
	defer s.mu.Unlock()
	if s.committed {
		return nil
	}
	defer s.setDeadline()()
	s.writeHead()
	return s.flush()
}

func (s *Response) IsCommitted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.committed
}

func (s *Response) HasSent() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hasBody
}

// WriteEvents is bounded by endStalled.
func (s *Response) WriteEvents(p []byte, whole, flush bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.relaying.Store(int64(time.Since(s.start)))
	defer s.relaying.Store(0)
	if !s.committed {
		s.writeHead()
	}
	if err := s.write(p, whole); err != nil || !flush {
		return err
	}
	return s.flush()
}

func (s *Response) WriteAll(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.setDeadline()()
	s.writeHead()
	return s.send(p)
}

func (s *Response) Finish(ev []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.open {
		ev = sse.CloseTorn(ev)
	}
	defer s.setDeadline()()
	return s.send(ev)
}

// Heartbeat does not wait for a write: while one goes on, there is no silence.
func (s *Response) Heartbeat() (next time.Duration, err error) {
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
	defer s.setDeadline()()
	err = s.send(sse.Heartbeat)
	return s.sent + s.interval, err
}

func (s *Response) writeHead() {
	s.committed = true
	header := s.w.Header()
	for name, values := range s.head {
		header[name] = append(header[name], values...)
	}
	header.Set("Content-Type", s.contentType)
	header.Set("Cache-Control", s.caching)
	header.Set("X-Accel-Buffering", "no") // so that nginx passes it on at once
	s.w.WriteHeader(http.StatusOK)
}

// send sends p, which ends with an event, at once.
func (s *Response) send(p []byte) error {
	if err := s.write(p, true); err != nil {
		return err
	}
	return s.flush()
}

func (s *Response) write(p []byte, whole bool) error {
	s.open, s.hasBody = !whole, true
	n, err := s.w.Write(p)
	s.bytes += int64(n)
	if err != nil {
		return visitorError(err)
	}
	return nil
}

func (s *Response) flush() error {
	err := s.control.Flush()
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return visitorError(err)
	}
	s.sent = time.Since(s.start)
	return nil
}

// visitorError marks a failed write as the visitor's end of the exchange.
func visitorError(err error) error {
	return fmt.Errorf("%w: %w", apierror.ErrVisitorGone, apierror.WithoutAddress(err))
}
