package watchdog

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// lingerAfterFinish is how long after a finish the exchange may still relay what follows it.
const lingerAfterFinish = 2 * time.Second

// Output is the part of an exchange's output that the watchdog needs. The timer's goroutine calls it, except Patience.
type Output interface {
	// Commit sends the response headers, if they are not sent yet. It does not wait for a write in progress.
	Commit() error

	// EndStalled makes a write fail if it has blocked for too long. It returns when to call it again.
	EndStalled(now time.Duration) (next time.Duration)

	// Heartbeat sends a comment if nothing was sent for long enough. It returns when the next comment may be due.
	Heartbeat() (next time.Duration, err error)

	// Patience returns the longest time that may pass before the watchdog first calls EndStalled and Heartbeat.
	Patience() time.Duration
}

// Options are the time limits of an exchange.
type Options struct {
	Start       time.Time
	End         time.Duration // of the whole exchange, from Start
	CommitAfter time.Duration // from the upstream's acceptance to the response headers; or Never
	Idle        time.Duration // the longest silence within a stream
}

// Watchdog is the one timer of an exchange. The goroutine that relays does not reset the timer for each event. It
// stores times in atomics, and check reads them when the timer fires.
type Watchdog struct {
	Alarm
	output Output
	cancel context.CancelCauseFunc // ends the exchange

	end         time.Duration // of the whole exchange
	commitAfter time.Duration // or Never
	idle        time.Duration

	waiting  atomic.Int64 // since when the exchange waits for bytes of the upstream; negative: it does not
	begun    atomic.Bool  // the first event has come
	commitAt atomic.Int64 // when to send the response headers of an accepted answer; 0: there is none
	finishBy atomic.Int64 // when to stop reading after the finish; 0: it has not come

	// The alarm's lock guards these.
	try      context.CancelCauseFunc // cancels the attempt under way; nil: there is none
	response time.Duration           // the longest silence before the attempt's first event
	canceled bool                    // cancel was called
}

// Init prepares a watchdog, which must not be copied afterwards. The watchdog calls cancel to end the exchange.
func (w *Watchdog) Init(output Output, cancel context.CancelCauseFunc, options Options) {
	w.Alarm.Init(options.Start, w.fire)
	w.output, w.cancel = output, cancel
	w.end, w.commitAfter, w.idle = options.End, options.CommitAfter, options.Idle
}

// Left returns how long the exchange may still take.
func (w *Watchdog) Left() time.Duration { return w.end - w.Now() }

// StartTry notes that an attempt begins. The watchdog calls cancel if the upstream is silent for timeout before the
// attempt's first event.
func (w *Watchdog) StartTry(timeout time.Duration, cancel context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.BeginRead()
	w.try = cancel
	w.response = timeout
	w.setNoLaterThan(min(w.end, now+min(timeout, w.output.Patience(), w.end)))
}

// EndTry notes that the attempt has failed. When it returns, the response headers were sent on account of this attempt,
// or never will be.
func (w *Watchdog) EndTry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgetTry()
}

func (w *Watchdog) forgetTry() {
	w.try = nil
	w.commitAt.Store(0)
}

// Accept notes that the upstream has accepted the chat, which is a sign of life. If the first event takes longer than
// CommitAfter, the watchdog sends the response headers.
func (w *Watchdog) Accept() {
	w.EndRead()
	if w.commitAfter == Never {
		return
	}
	at := w.Now() + w.commitAfter
	w.commitAt.Store(int64(at))
	w.NoLaterThan(at)
}

// Begin notes the first event. From then on, Idle bounds each read.
func (w *Watchdog) Begin() {
	w.begun.Store(true)
	w.NoLaterThan(w.Now() + min(w.idle, w.output.Patience()))
}

// Finish notes the finish. It ends the exchange with ErrLingered if the upstream sends more for lingerAfterFinish.
func (w *Watchdog) Finish() {
	at := w.Now() + lingerAfterFinish
	w.finishBy.Store(int64(at))
	w.NoLaterThan(at)
}

// BeginRead marks the start of a wait for bytes of the upstream. Only the time until EndRead counts as the upstream's
// silence. The rest of the time, the exchange may be waiting for the visitor.
func (w *Watchdog) BeginRead() (now time.Duration) {
	now = w.Now()
	w.waiting.Store(int64(now))
	return now
}

// EndRead marks the end of a wait for bytes of the upstream.
func (w *Watchdog) EndRead() { w.waiting.Store(-1) }

// ErrLingered is the cause of the exchange's end if the upstream's stream goes on for lingerAfterFinish after its finish.
var ErrLingered = errors.New("the stream went on for too long after its finish")

// fire is what the alarm calls. It checks for a stalled write even after the exchange was canceled: a canceled exchange
// may be blocked in one.
func (w *Watchdog) fire(now time.Duration) (next time.Duration) {
	next = w.output.EndStalled(now)
	if w.canceled {
		return next
	}
	due, cause := Guard(func() (time.Duration, error) { return w.check(now) })
	if cause != nil {
		w.cancel(cause)
		w.canceled = true
	}
	return min(next, due)
}

// check does what is due at now. It returns when to check again, or the cause that ends the exchange.
func (w *Watchdog) check(now time.Duration) (next time.Duration, cause error) {
	if now >= w.end {
		return Never, apierror.MaxDuration
	}
	next = w.end

	if by := time.Duration(w.finishBy.Load()); by > 0 {
		if now >= by {
			return Never, ErrLingered
		}
		return min(next, by), nil
	}

	begun := w.begun.Load()
	if begun || w.try != nil { // else there is a pause between two attempts
		silent := w.silentBy(now, begun)
		switch {
		case now < silent:
			next = min(next, silent)
		case begun:
			return Never, apierror.Stalled
		default:
			w.try(apierror.ResponseTimeout)
			w.forgetTry()
		}
	}

	if at := time.Duration(w.commitAt.Load()); at > 0 {
		if now < at {
			next = min(next, at)
		} else if err := w.output.Commit(); err != nil {
			return Never, err
		}
	}
	heartbeat, err := w.output.Heartbeat()
	return min(next, heartbeat), err
}

// silentBy returns when the upstream will have been silent for too long, if it stays silent. begun says whether the first
// event has come.
func (w *Watchdog) silentBy(now time.Duration, begun bool) time.Duration {
	longest := w.response
	if begun {
		longest = w.idle
	}
	if since := time.Duration(w.waiting.Load()); since >= 0 {
		return since + longest
	}
	return now + longest
}
