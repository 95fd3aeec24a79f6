package illumichat

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/sse"
	"github.com/illumichat/caddy-illumichat/internal/visitor"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

// recording is the output of an exchange into a log, which the visitor who asked reads as those do who come back. The log
// begins with the head of the answer: before, nobody knows that there is one.
type recording struct {
	id    string
	store store.Store
	terms store.Terms
	meta  store.Meta
	until time.Time     // the end of the answer that the first visitor's server sets; zero: none
	ex    *exchange     // which ends when nobody wants the stream any more
	begun chan struct{} // closed when there is something to read

	mu      sync.Mutex
	source  store.Source   // nil before the head
	first   store.Listener // of the visitor who asked
	unwatch func() bool
	head    http.Header
	hasBody bool
	json    []byte // an answer that is no stream

	tries, upstreamStatus int // so far

	// These are the exchange's goroutine's alone.
	numbering sse.Numberer
	last      store.Chunk // a finish of our own
}

func newRecording(h *Handler, id, owner string, asked chat.Chat, visitor *visitor.Response) *recording {
	return &recording{
		id:        id,
		store:     h.store,
		terms:     h.Resume.terms(),
		meta:      store.Meta{Owner: owner, Assistant: asked.Label},
		until:     visitor.Deadline(),
		begun:     make(chan struct{}),
		numbering: sse.NewNumberer(id),
	}
}

// newStreamID returns 128 random bits.
func newStreamID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // which never fails
	return base64.RawURLEncoding.EncodeToString(id[:])
}

func (r *recording) Prepare(head http.Header, contentType string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head = head.Clone()
	if r.head == nil {
		r.head = make(http.Header)
	}
	if contentType == sse.MediaType {
		r.head.Set(headerStream, r.id)
	}
	r.tries, r.upstreamStatus = r.ex.record.Tries, r.ex.record.UpstreamStatus
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
	r.meta.Header = r.head
	r.source, r.first = r.store.Claim(r.id, r.meta, r.terms)
	unwanted := r.source.Context()
	r.unwatch = context.AfterFunc(unwanted, func() { r.ex.cancel(whyEnded(context.Cause(unwanted))) })
	r.ex.admission.BeginStream()
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
	if err := r.source.Append(r.ex.ctx, store.Chunk{Data: numbered, Ends: ends, Torn: !whole}); err != nil {
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
	return !r.IsCommitted() || r.store.Shared() || r.ex.admission.HasListener()
}

func (r *recording) EndStalled(time.Duration) time.Duration     { return watchdog.Never }
func (r *recording) Heartbeat() (next time.Duration, err error) { return watchdog.Never, nil }
func (r *recording) Patience() time.Duration                    { return watchdog.Never }
func (r *recording) Deadline() time.Time                        { return r.until }

func (r *recording) Close(reason, cause string) (bytes int64) {
	if r.IsCommitted() {
		r.unwatch()
		r.ex.admission.EndStream()
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
