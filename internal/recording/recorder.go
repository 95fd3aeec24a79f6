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

// Recorder is the output of an exchange into a log, which the visitor who asked reads as those do who come back. The log
// begins with the head of the answer: before, nobody knows that there is one.
type Recorder struct {
	config Config
	begun  chan struct{} // closed when there is something to read

	exchange Exchange

	mu      sync.Mutex
	source  store.Source   // nil before the head
	first   store.Listener // of the visitor who asked
	unwatch func() bool
	head    http.Header
	hasBody bool
	json    []byte // an answer that is no stream

	tries, status int // when the answer came

	// These are the exchange's goroutine's alone.
	numberer sse.Numberer
	last     store.Chunk // a finish of our own
}

// Config is what a recording is made of.
type Config struct {
	ID    string
	Store store.Store
	Terms store.Terms
	Meta  store.Meta // but for the header, which comes with the answer
	Until time.Time  // the end of the answer that the first visitor's server sets; zero: none
	Slot  Slot
}

// Slot is the slot of the request whose answer is recorded.
type Slot interface {
	// BeginStream notes that the answer is a stream that can be resumed.
	BeginStream()

	// EndStream notes that the stream is over.
	EndStream()

	// HasListener reports whether somebody listens to the stream in its slot.
	HasListener() bool
}

// Exchange is the exchange whose output a recording is.
type Exchange interface {
	// Context is that of the exchange.
	Context() context.Context

	// Cancel ends the exchange, because of cause.
	Cancel(cause error)

	// HowAsked returns how often the upstream was asked, and the status of its last answer. It is called by the exchange's
	// goroutine.
	HowAsked() (tries, status int)
}

func New(config Config) *Recorder {
	return &Recorder{config: config, begun: make(chan struct{}), numberer: sse.NewNumberer(config.ID)}
}

// Attach makes it the output of an exchange, before that begins.
func (r *Recorder) Attach(exchange Exchange) { r.exchange = exchange }

// Begun is closed when there is something to read.
func (r *Recorder) Begun() <-chan struct{} { return r.begun }

// Head returns the head of the answer.
func (r *Recorder) Head() http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head
}

// JSON returns an answer that is no stream.
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

// Asked returns how the exchange had asked when the answer came.
func (r *Recorder) Asked() (tries, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries, r.status
}

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

// begin begins the log.
func (r *Recorder) begin() {
	r.config.Meta.Header = r.head
	r.source, r.first = r.config.Store.Claim(r.config.ID, r.config.Meta, r.config.Terms)
	unwanted := r.source.Context()
	r.unwatch = context.AfterFunc(unwanted, func() { r.exchange.Cancel(interruption(context.Cause(unwanted))) })
	r.config.Slot.BeginStream()
}

func (r *Recorder) IsCommitted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source != nil
}

func (r *Recorder) HasSent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hasBody
}

// WriteEvents has the lock for no longer than it takes to begin: the log may have it wait for a listener, who needs it.
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

// beginWith begins the log, if it has not begun, and returns what of its first bytes is recorded: after a heartbeat, a byte
// order mark would be no longer the first.
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

func (r *Recorder) WriteAll(p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.json = p
	return nil
}

func (r *Recorder) Finish(ev []byte) error {
	if r.numberer.Within() {
		ev = sse.CloseTorn(ev)
	}
	r.last.Data, r.last.Ends = r.numberer.Number(ev)
	return nil
}

// IsHeard is true before there is a log, for which a visitor waits, and where visitors can come back by another instance.
func (r *Recorder) IsHeard() bool {
	return !r.IsCommitted() || r.config.Store.Shared() || r.config.Slot.HasListener()
}

func (r *Recorder) EndStalled(time.Duration) time.Duration     { return watchdog.Never }
func (r *Recorder) Heartbeat() (next time.Duration, err error) { return watchdog.Never, nil }
func (r *Recorder) Patience() time.Duration                    { return watchdog.Never }
func (r *Recorder) Deadline() time.Time                        { return r.config.Until }

func (r *Recorder) Close(reason, cause string) (bytes int64) {
	if r.IsCommitted() {
		r.unwatch()
		r.config.Slot.EndStream()
		r.source.Finish(r.last, store.End{Reason: reason, Cause: cause})
	}
	return 0
}

// interruption is what ends an exchange when nobody wants its stream.
func interruption(cause error) error {
	switch {
	case errors.Is(cause, store.ErrStopped):
		return apierror.Stopped
	case errors.Is(cause, store.ErrAbandoned):
		return apierror.Abandoned
	}
	return cause // of the exchange's own end
}
