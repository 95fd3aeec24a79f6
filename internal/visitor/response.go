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
	"github.com/illumichat/caddy-illumichat/internal/cause"
	"github.com/illumichat/caddy-illumichat/internal/sse"
)

// Response writes an answer to a visitor's connection. One goroutine writes the answer; a timer may call Commit,
// EndStalled and Heartbeat from another one.
type Response struct {
	w        http.ResponseWriter
	control  *http.ResponseController
	start    time.Time     // of the exchange
	timeout  time.Duration // of one write; the server's deadline for the whole answer may be earlier
	interval time.Duration // between heartbeats; never: none

	head        http.Header // response headers of an accepted answer
	contentType string
	caching     string // Cache-Control

	hardDeadline time.Time                // the server's own, for the whole answer; zero: none
	deadlines    *http.ResponseController // sets the deadlines of the connection or stream
	restore      func()                   // restores the server's write timeout

	relaying atomic.Int64 // when the WriteEvents in progress began, from start; 0: there is none

	mu        sync.Mutex    // held during a write
	committed bool          // the response headers were sent
	hasBody   bool          // something but the response headers was sent
	open      bool          // the last event was sent only in part
	sent      time.Duration // when the last byte went out, from start
	bytes     int64         // of the body
}

// never is a time that never comes. As an interval, it turns heartbeats off.
const never = time.Duration(math.MaxInt64)

// Options are the settings of a Response.
type Options struct {
	Start        time.Time     // of the exchange
	WriteTimeout time.Duration // how long one write may block
	Heartbeat    time.Duration // how long a silence lasts before a comment is sent; the largest duration: no comments
	CacheControl string        // of the answer; "" means that of an answer to a POST
}

// New returns the response to r. The caller must call Close.
func New(w http.ResponseWriter, r *http.Request, options Options) *Response {
	control := http.NewResponseController(w)
	start := options.Start
	s := &Response{w: w, control: control, start: start, timeout: options.WriteTimeout, interval: options.Heartbeat, deadlines: control}
	// With no-transform, Caddy's encode leaves the answer alone.
	s.caching = cmp.Or(options.CacheControl, "no-cache, no-transform")
	_, writer := caddyhttp.IdleTimeoutsFromContext(r.Context())
	if writer == nil {
		if server, ok := r.Context().Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server); ok && server.WriteTimeout > 0 {
			s.hardDeadline = start.Add(time.Duration(server.WriteTimeout))
		}
		s.restore = s.clearDeadline
		return s
	}
	// Caddy's writer would set two deadlines for each event, a tenth of an event's cost. EndStalled bounds writes instead.
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

// Prepare sets the response headers of an accepted answer. It does not send them.
func (r *Response) Prepare(head http.Header, contentType string) {
	r.head, r.contentType = head, contentType
}

// IsHeard returns true: a visitor waits for the response.
func (r *Response) IsHeard() bool { return true }

// Deadline returns when the server ends the answer. The zero time means no deadline.
func (r *Response) Deadline() time.Time { return r.hardDeadline }

// Patience returns the longest time that may pass before EndStalled and Heartbeat are first called.
func (r *Response) Patience() time.Duration { return min(r.interval, r.timeout) }

// Close restores the connection's write timeout, and returns how many bytes of the body were sent.
func (r *Response) Close(_, _ string) (bytes int64) {
	r.restore()
	return r.bytes
}

// Commit sends the response headers, if they are not sent yet. It does not wait for a write in progress, which sends
// them itself.
func (r *Response) Commit() error {
	if !r.mu.TryLock() {
		return nil
	}
	defer r.mu.Unlock()
	if r.committed {
		return nil
	}
	defer r.setDeadline()()
	r.writeHead()
	return r.flush()
}

// IsCommitted reports whether the response headers were sent.
func (r *Response) IsCommitted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.committed
}

// HasSent reports whether anything but the response headers was sent.
func (r *Response) HasSent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hasBody
}

// WriteEvents sends p, after the response headers if they are not sent yet, and flushes it if flush is true. If whole
// is false, p ends within an event. Only EndStalled bounds the write: a deadline for each event would cost too much.
func (r *Response) WriteEvents(p []byte, whole, flush bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.relaying.Store(int64(time.Since(r.start)))
	defer r.relaying.Store(0)
	if !r.committed {
		r.writeHead()
	}
	if err := r.write(p, whole); err != nil || !flush {
		return err
	}
	return r.flush()
}

// WriteAll sends the response headers and p, a complete answer that is not a stream.
func (r *Response) WriteAll(p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.setDeadline()()
	r.writeHead()
	return r.send(p)
}

// Finish sends ev, which ends the stream. If the last event was sent only in part, Finish first closes that one.
func (r *Response) Finish(ev []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.open {
		ev = sse.CloseTorn(ev)
	}
	defer r.setDeadline()()
	return r.send(ev)
}

// Heartbeat sends a comment if nothing was sent for the interval. It returns when the next comment may be due. It does
// not wait for a write in progress, because that is no silence.
func (r *Response) Heartbeat() (next time.Duration, err error) {
	now := time.Since(r.start)
	if !r.mu.TryLock() {
		return now + min(r.interval, never-now), nil
	}
	defer r.mu.Unlock()
	switch {
	case r.interval == never || !r.committed:
		return never, nil
	case r.open: // a comment would be part of the event
		return now + r.interval, nil
	case now-r.sent < r.interval:
		return r.sent + r.interval, nil
	}
	defer r.setDeadline()()
	err = r.send(sse.Heartbeat)
	return r.sent + r.interval, err
}

func (r *Response) writeHead() {
	r.committed = true
	header := r.w.Header()
	addHead(header, r.head)
	header.Set("Content-Type", r.contentType)
	header.Set("Cache-Control", r.caching)
	header.Set("X-Accel-Buffering", "no") // makes nginx pass the answer on at once
	r.w.WriteHeader(http.StatusOK)
}

// send writes p, which does not end within an event, and flushes it.
func (r *Response) send(p []byte) error {
	if err := r.write(p, true); err != nil {
		return err
	}
	return r.flush()
}

func (r *Response) write(p []byte, whole bool) error {
	r.open, r.hasBody = !whole, true
	n, err := r.w.Write(p)
	r.bytes += int64(n)
	if err != nil {
		return visitorError(err)
	}
	return nil
}

func (r *Response) flush() error {
	err := r.control.Flush()
	if err != nil && !errors.Is(err, http.ErrNotSupported) {
		return visitorError(err)
	}
	r.sent = time.Since(r.start)
	return nil
}

// visitorError marks the error of a failed write as apierror.ErrVisitorGone, and names only its kind: the
// error's own text has the visitor's address.
func visitorError(err error) error {
	return fmt.Errorf("%w: %w", apierror.ErrVisitorGone, cause.Of(err))
}
