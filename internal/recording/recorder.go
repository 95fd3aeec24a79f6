package recording

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/sse"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

// Recorder is the output of an exchange whose answer is recorded: it writes a log in the store. The visitor who asked
// reads that log, as do visitors who come back. The log begins when the response headers would be sent: before that, no
// visitor knows that there is an answer.
type Recorder struct {
	config Config
	begun  chan struct{} // closed when there is something to read

	exchange Exchange

	mu      sync.Mutex
	source  store.Source   // nil before the log begins
	first   store.Listener // of the visitor who asked
	unwatch func() bool
	head    http.Header // response headers
	hasBody bool
	json    []byte // an answer that is not a stream

	tries, status int // when the answer came

	// Only the exchange's goroutine uses these.
	numberer sse.Numberer
	last     store.Chunk // a finish of our own
}

// Config holds the settings of a Recorder.
type Config struct {
	ID    string
	Store store.Store
	Terms store.Terms
	Meta  store.Meta // without Header, which comes with the answer
	Until time.Time  // the deadline of the server that the first visitor asked; zero: none
	Slot  Slot
}

// Slot is the slot of the request whose answer is recorded.
type Slot interface {
	// BeginStream notes that the answer is a stream that can be resumed.
	BeginStream()

	// EndStream notes that the stream is over.
	EndStream()

	// HasListener reports whether a visitor listens to the stream at this instance.
	HasListener() bool
}

// Exchange is the exchange whose output a Recorder is.
type Exchange interface {
	// Context returns the context of the exchange.
	Context() context.Context

	// Cancel ends the exchange. cause says why.
	Cancel(cause error)

	// HowAsked returns how often the upstream was asked, and the status of its last answer. The Recorder calls it from the
	// exchange's goroutine.
	HowAsked() (tries, status int)
}

// New returns a Recorder. The caller must call Attach before an exchange writes to it.
func New(config Config) *Recorder {
	return &Recorder{config: config, begun: make(chan struct{}), numberer: sse.NewNumberer(config.ID)}
}

// Attach makes r the output of exchange. It must be called before the exchange runs.
func (r *Recorder) Attach(exchange Exchange) { r.exchange = exchange }

// Begun returns a channel that is closed when there is something to read.
func (r *Recorder) Begun() <-chan struct{} { return r.begun }

// Head returns the response headers of the answer; nil before Prepare.
func (r *Recorder) Head() http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head
}

// JSON returns an answer that is not a stream; nil if it is one, or before WriteAll.
func (r *Recorder) JSON() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.json
}

// First returns the listener of the visitor who asked, once the recording is committed.
func (r *Recorder) First() store.Listener {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first
}

// Asked returns how often the exchange had asked the upstream when the answer came, and the last answer's status.
func (r *Recorder) Asked() (tries, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries, r.status
}

// Prepare notes the response headers of an accepted answer. If the answer is a stream, it adds the stream's id.
func (r *Recorder) Prepare(head http.Header, contentType string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head = head.Clone()
	if r.head == nil {
		r.head = make(http.Header)
	}
	if contentType == sse.MediaType {
		r.head.Set(Header, r.config.ID)
	}
	r.tries, r.status = r.exchange.HowAsked()
}

// Commit begins the log, if it has not begun. If another goroutine holds mu, Commit does nothing, because it must not
// wait.
func (r *Recorder) Commit() error {
	if !r.mu.TryLock() {
		return nil
	}
	defer r.mu.Unlock()
	if r.source == nil {
		r.begin()
		close(r.begun)
	}
	return nil
}

// begin begins the log, and cancels the exchange once no visitor wants the stream. It needs mu.
func (r *Recorder) begin() {
	r.config.Meta.Header = r.head
	r.source, r.first = r.config.Store.Claim(r.config.ID, r.config.Meta, r.config.Terms)
	unwanted := r.source.Context()
	r.unwatch = context.AfterFunc(unwanted, func() { r.exchange.Cancel(interruption(context.Cause(unwanted))) })
	r.config.Slot.BeginStream()
}

// IsCommitted reports whether the log has begun.
func (r *Recorder) IsCommitted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source != nil
}

// HasSent reports whether anything but the response headers was recorded.
func (r *Recorder) HasSent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hasBody
}

// WriteEvents appends p to the log, with an id for each event. If the log has not begun, WriteEvents begins it. If
// whole is false, p ends within an event. It holds mu only to begin the log: Append can block until a listener has
// read, and listeners need mu.
func (r *Recorder) WriteEvents(p []byte, whole, _ bool) error {
	p, first := r.beginWith(p)
	if first {
		defer close(r.begun)
	}
	numbered, ends := r.numberer.Number(p)
	if err := r.source.Append(r.exchange.Context(), store.Chunk{Data: numbered, Ends: ends, Torn: !whole}); err != nil {
		return interruption(err)
	}
	return nil
}

// beginWith begins the log, if it has not begun, and reports whether it did. It returns the bytes of p to record. It
// leaves out a byte order mark at the stream's beginning, because a listener's response may begin with a heartbeat.
func (r *Recorder) beginWith(p []byte) (recorded []byte, first bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.hasBody {
		p = bytes.TrimPrefix(p, sse.ByteOrderMark)
	}
	r.hasBody = true
	if r.source != nil {
		return p, false
	}
	r.begin()
	return p, true
}

// WriteAll notes an answer that is not a stream. It does not begin a log.
func (r *Recorder) WriteAll(p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.json = p
	return nil
}

// Finish notes an event of our own that ends the stream. Close appends it. If the last event was recorded only in part,
// Finish first closes that one.
func (r *Recorder) Finish(ev []byte) error {
	if r.numberer.Within() {
		ev = sse.CloseTorn(ev)
	}
	r.last.Data, r.last.Ends = r.numberer.Number(ev)
	return nil
}

// IsHeard reports whether a visitor waits for the answer, or can still come back for it after this process exits.
// Before the log begins, it is true because the visitor who asked waits. With a shared store, it is always true because
// visitors can come back through another instance. Otherwise, it is true while a visitor listens at this instance.
func (r *Recorder) IsHeard() bool {
	return !r.IsCommitted() || r.config.Store.Shared() || r.config.Slot.HasListener()
}

// EndStalled, Heartbeat and Patience have nothing to do: each listener's response bounds its own writes and sends its
// own heartbeats. Deadline returns Config.Until.
func (r *Recorder) EndStalled(time.Duration) time.Duration     { return watchdog.Never }
func (r *Recorder) Heartbeat() (next time.Duration, err error) { return watchdog.Never, nil }
func (r *Recorder) Patience() time.Duration                    { return watchdog.Never }
func (r *Recorder) Deadline() time.Time                        { return r.config.Until }

// Close ends the log, if it has begun. reason and cause are those of store.End. It returns 0, because a Recorder sends
// nothing to a visitor.
func (r *Recorder) Close(reason, cause string) (bytes int64) {
	if r.IsCommitted() {
		r.unwatch()
		r.config.Slot.EndStream()
		r.source.Finish(r.last, store.End{Reason: reason, Cause: cause})
	}
	return 0
}

// interruption returns the reason why an exchange ends, for the cause with which the store ended its stream.
func interruption(cause error) error {
	switch {
	case errors.Is(cause, store.ErrStopped):
		return apierror.Stopped
	case errors.Is(cause, store.ErrAbandoned):
		return apierror.Abandoned
	}
	return cause // of the end of the exchange itself
}
