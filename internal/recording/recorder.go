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

// Recorder is the output of an exchange whose answer is recorded: it writes a stream of the store. The visitor who asked
// reads that stream, as do visitors who come back. The stream is there from the beginning of the exchange. It opens when
// the response headers would be sent. If the exchange fails before that, all who wait get the same error.
type Recorder struct {
	numberer sse.Numberer // only the exchange's goroutine uses it

	mu      sync.Mutex
	opened  bool
	hasBody bool
	head    http.Header // response headers

	config   Config
	exchange Exchange
	unwatch  func() bool

	tries, status int // when the answer came; mu guards them

	// Only the exchange's goroutine uses these.
	last    *sse.Numbered   // a finish of our own; nil: there is none
	failure *apierror.Error // why there is no answer
}

// Config holds the settings of a Recorder.
type Config struct {
	Source store.Source
	ID     string
	Shared func() bool // reports whether visitors can come back through another instance
	Until  time.Time   // the deadline of the server that the first visitor asked; zero: none
	Slot   Slot

	// Opens is called when the stream opens without an event, because the first one takes long. Waits is called before
	// the Recorder waits until a listener has read. In both cases, another goroutine than the exchange's must send to the
	// visitor who asked.
	Opens, Waits func()
}

// Slot is the slot of the request whose answer is recorded.
type Slot interface {
	// BeginStream notes that the answer can be resumed.
	BeginStream()

	// EndStream notes that the stream is over.
	EndStream()

	// HasListener reports whether a visitor listens to the stream at this instance.
	HasListener() bool
}

// Exchange is the exchange whose output a Recorder is.
type Exchange interface {
	// Cancel ends the exchange. cause says why.
	Cancel(cause error)

	// Context returns the context of the exchange.
	Context() context.Context

	// HowAsked returns how often the upstream was asked, and the status of its last answer. The Recorder calls it from the
	// exchange's goroutine.
	HowAsked() (tries, status int)
}

// Init prepares a Recorder, which must not be copied afterwards. The caller must call Attach before an exchange writes to
// it.
func (r *Recorder) Init(config Config) {
	r.config, r.numberer = config, sse.NewNumberer(config.ID)
}

// Attach makes r the output of exchange, and cancels the exchange once no visitor wants the stream. It must be called
// before the exchange runs.
func (r *Recorder) Attach(exchange Exchange) {
	r.exchange = exchange
	r.config.Slot.BeginStream()
	unwanted := r.config.Source.Context()
	r.unwatch = context.AfterFunc(unwanted, func() { exchange.Cancel(interruption(context.Cause(unwanted))) })
}

// Asked returns how often the exchange had asked the upstream when the answer came, and the last answer's status.
func (r *Recorder) Asked() (tries, status int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.tries, r.status
}

// Prepare notes the response headers of an accepted answer, and adds the stream's id.
func (r *Recorder) Prepare(head http.Header, contentType string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.head = head.Clone()
	if r.head == nil {
		r.head = make(http.Header)
	}
	r.head.Set("Content-Type", contentType)
	r.head.Set(Header, r.config.ID)
	r.tries, r.status = r.exchange.HowAsked()
}

// Commit opens the stream, if it is not open.
func (r *Recorder) Commit() error {
	r.mu.Lock()
	opens := r.open()
	r.mu.Unlock()
	if opens {
		r.config.Opens()
	}
	return nil
}

// open opens the stream, and returns false if it is open already. It needs mu.
func (r *Recorder) open() bool {
	if r.opened {
		return false
	}
	r.opened = true
	r.config.Source.Open(r.head)
	return true
}

// IsCommitted reports whether the stream is open.
func (r *Recorder) IsCommitted() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.opened
}

// HasSent reports whether anything but the response headers was recorded.
func (r *Recorder) HasSent() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.hasBody
}

// WriteEvents appends p to the stream, with an id for each event. If the stream is not open, WriteEvents opens it. If
// whole is false, p ends within an event. It does not hold mu while it appends, because that can block until a listener
// has read.
func (r *Recorder) WriteEvents(p []byte, whole, _ bool) error {
	p = r.beginWith(p)
	before := r.numberer
	numbered := r.numberer.Number(p)
	defer numbered.Release()
	if err := r.append(store.Chunk{Data: numbered.Data, Ends: numbered.Ends, Torn: !whole}); err != nil {
		r.numberer = before // so that the finish gets the next number
		return interruption(err)
	}
	return nil
}

var (
	errWaits = errors.New("the stream has no room")

	// noWait is a context in which Append does not wait.
	noWait = func() context.Context {
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(errWaits)
		return ctx
	}()
)

// append appends a chunk to the stream. If it has to wait for a listener, it calls Waits before.
func (r *Recorder) append(chunk store.Chunk) error {
	err := r.config.Source.Append(noWait, chunk)
	if err != errWaits {
		return err
	}
	r.config.Waits()
	return r.config.Source.Append(r.exchange.Context(), chunk)
}

// beginWith opens the stream, if it is not open. It returns the bytes of p to record. It leaves out a byte order mark at
// the stream's beginning, because a listener's response may begin with a heartbeat.
func (r *Recorder) beginWith(p []byte) (recorded []byte) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.hasBody {
		p = bytes.TrimPrefix(p, sse.ByteOrderMark)
	}
	r.hasBody = true
	r.open()
	return p
}

// WriteAll records an answer that is not an event stream, as a single event without a number.
func (r *Recorder) WriteAll(p []byte) error {
	if unwanted := r.config.Source.Context(); unwanted.Err() != nil {
		return interruption(context.Cause(unwanted)) // before the stream is open, a stop still gets a finish
	}
	r.mu.Lock()
	r.hasBody = true
	r.open()
	r.mu.Unlock()
	return interruption(r.append(store.Chunk{Data: p, Ends: []int{len(p)}}))
}

// Finish notes an event of our own that ends the stream. Close appends it. If the last event was recorded only in part,
// Finish first closes that one.
func (r *Recorder) Finish(ev []byte) error {
	if r.numberer.Within() {
		ev = sse.CloseTorn(ev)
	}
	r.last = r.numberer.Number(ev)
	return nil
}

// Fail notes why there is no answer. Close tells all who wait for it.
func (r *Recorder) Fail(failure *apierror.Error) { r.failure = failure }

// IsHeard reports whether a visitor waits for the answer, or can still come back for it after this process exits.
// With a shared store, it is always true because visitors can come back through another instance. Otherwise, it is true
// while a visitor listens at this instance.
func (r *Recorder) IsHeard() bool {
	return r.config.Shared() || r.config.Slot.HasListener()
}

// EndStalled, Heartbeat and Patience have nothing to do: each listener's response bounds its own writes and sends its
// own heartbeats. Deadline returns Config.Until.
func (r *Recorder) EndStalled(time.Duration) time.Duration     { return watchdog.Never }
func (r *Recorder) Heartbeat() (next time.Duration, err error) { return watchdog.Never, nil }
func (r *Recorder) Patience() time.Duration                    { return watchdog.Never }
func (r *Recorder) Deadline() time.Time                        { return r.config.Until }

// Close ends the stream. reason and cause are those of store.End. If the stream was never opened, it has failed. Close
// returns 0, because a Recorder sends nothing to a visitor.
func (r *Recorder) Close(reason, cause string) (bytes int64) {
	r.unwatch()
	r.config.Slot.EndStream()
	if r.IsCommitted() {
		r.config.Source.Finish(r.finish(), store.End{Reason: reason, Cause: cause})
		r.last.Release()
	} else {
		r.config.Source.Fail(r.failure.Encode())
	}
	return 0
}

// finish returns the last chunk of the stream, which is empty if the finish is the upstream's.
func (r *Recorder) finish() store.Chunk {
	if r.last == nil {
		return store.Chunk{}
	}
	return store.Chunk{Data: r.last.Data, Ends: r.last.Ends}
}

// interruption returns the reason why an exchange ends, for the cause with which the store ended its stream.
func interruption(cause error) error {
	switch {
	case errors.Is(cause, store.ErrStopped):
		return apierror.Stopped
	case errors.Is(cause, store.ErrAbandoned):
		return apierror.Abandoned
	}
	return cause // of the end of the exchange itself; nil: there is none
}
