package illumichat

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

// recording is the output of an exchange into a log, which the visitor who asked reads as those do who come back. The log
// begins with the head of the answer: before, nobody knows that there is one.
type recording struct {
	config recordingConfig
	begun  chan struct{} // closed when there is something to read

	exchange recordedExchange

	mu      sync.Mutex
	source  store.Source   // nil before the head
	first   store.Listener // of the visitor who asked
	unwatch func() bool
	head    http.Header
	hasBody bool
	json    []byte // an answer that is no stream

	tries, status int // when the answer came

	// These are the exchange's goroutine's alone.
	numbering sse.Numberer
	last      store.Chunk // a finish of our own
}

// recordingConfig is what a recording is made of.
type recordingConfig struct {
	id    string
	store store.Store
	terms store.Terms
	meta  store.Meta // but for the header, which comes with the answer
	until time.Time  // the end of the answer that the first visitor's server sets; zero: none
	slot  streamSlot
}

// streamSlot is the slot of the request whose answer is recorded.
type streamSlot interface {
	// BeginStream notes that the answer is a stream that can be resumed.
	BeginStream()

	// EndStream notes that the stream is over.
	EndStream()

	// HasListener reports whether somebody listens to the stream in its slot.
	HasListener() bool
}

// recordedExchange is the exchange whose output a recording is.
type recordedExchange interface {
	// Context is that of the exchange.
	Context() context.Context

	// Cancel ends the exchange, because of cause.
	Cancel(cause error)

	// HowAsked returns how often the upstream was asked, and the status of its last answer. It is called by the exchange's
	// goroutine.
	HowAsked() (tries, status int)
}

func newRecording(config recordingConfig) *recording {
	return &recording{config: config, begun: make(chan struct{}), numbering: sse.NewNumberer(config.id)}
}

// attach makes it the output of an exchange, before that begins.
func (r *recording) attach(exchange recordedExchange) { r.exchange = exchange }

// hasBegun is closed when there is something to read.
func (r *recording) hasBegun() <-chan struct{} { return r.begun }

// answerHead returns the head of the answer.
func (r *recording) answerHead() http.Header {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.head
}

// answerJSON returns an answer that is no stream.
func (r *recording) answerJSON() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.json
}

// firstListener returns the listener of the visitor who asked, once the recording is committed.
func (r *recording) firstListener() store.Listener {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.first
}

// howAsked returns how the exchange had asked when the answer came.
func (r *recording) howAsked() (tries, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries, r.status
}

func (r *recording) Prepare(head http.Header, contentType string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head = head.Clone()
	if r.head == nil {
		r.head = make(http.Header)
	}
	if contentType == sse.MediaType {
		r.head.Set(headerStream, r.config.id)
	}
	r.tries, r.status = r.exchange.HowAsked()
}

func (r *recording) Commit() error {
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
func (r *recording) begin() {
	r.config.meta.Header = r.head
	r.source, r.first = r.config.store.Claim(r.config.id, r.config.meta, r.config.terms)
	unwanted := r.source.Context()
	r.unwatch = context.AfterFunc(unwanted, func() { r.exchange.Cancel(whyEnded(context.Cause(unwanted))) })
	r.config.slot.BeginStream()
}

func (r *recording) IsCommitted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.source != nil
}

func (r *recording) HasSent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hasBody
}

// WriteEvents has the lock for no longer than it takes to begin: the log may have it wait for a listener, who needs it.
func (r *recording) WriteEvents(p []byte, whole, _ bool) error {
	p, first := r.beginWith(p)
	if first {
		defer close(r.begun)
	}
	numbered, ends := r.numbering.Number(p)
	if err := r.source.Append(r.exchange.Context(), store.Chunk{Data: numbered, Ends: ends, Torn: !whole}); err != nil {
		return whyEnded(err)
	}
	return nil
}

// beginWith begins the log, if it has not begun, and returns what of its first bytes is recorded: after a heartbeat, a byte
// order mark would be no longer the first.
func (r *recording) beginWith(p []byte) (recorded []byte, first bool) {
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

func (r *recording) WriteAll(p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.json = p
	return nil
}

func (r *recording) Finish(ev []byte) error {
	if r.numbering.Within() {
		ev = sse.CloseTorn(ev)
	}
	r.last.Data, r.last.Ends = r.numbering.Number(ev)
	return nil
}

// IsHeard is true before there is a log, for which a visitor waits, and where visitors can come back by another instance.
func (r *recording) IsHeard() bool {
	return !r.IsCommitted() || r.config.store.Shared() || r.config.slot.HasListener()
}

func (r *recording) EndStalled(time.Duration) time.Duration     { return watchdog.Never }
func (r *recording) Heartbeat() (next time.Duration, err error) { return watchdog.Never, nil }
func (r *recording) Patience() time.Duration                    { return watchdog.Never }
func (r *recording) Deadline() time.Time                        { return r.config.until }

func (r *recording) Close(reason, cause string) (bytes int64) {
	if r.IsCommitted() {
		r.unwatch()
		r.config.slot.EndStream()
		r.source.Finish(r.last, store.End{Reason: reason, Cause: cause})
	}
	return 0
}

// whyEnded is what ends an exchange when nobody wants its stream.
func whyEnded(cause error) error {
	switch {
	case errors.Is(cause, store.ErrStopped):
		return apierror.Stopped
	case errors.Is(cause, store.ErrAbandoned):
		return apierror.Abandoned
	}
	return cause // of the exchange's own end
}
