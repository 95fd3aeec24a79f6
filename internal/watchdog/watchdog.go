package watchdog

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// lingerAfterFinish is how long what follows a finish is passed on.
const lingerAfterFinish = 2 * time.Second

// Output is what the watch needs of where an answer goes. It is called by the watch's goroutine.
type Output interface {
	// Commit sends the head, if it is not sent yet, and does not wait for a write.
	Commit() error

	// EndStalled ends a write that has taken too long. It returns when it may be time to look again.
	EndStalled(now time.Duration) (next time.Duration)

	// Heartbeat sends a comment if nothing was sent for long enough. It returns when the next may be due.
	Heartbeat() (next time.Duration, err error)

	// Patience is after how long the watch has to look at the output at the latest.
	Patience() time.Duration
}

// Options are the time limits of an exchange, from its start.
type Options struct {
	Start       time.Time
	End         time.Duration // of the whole exchange
	CommitAfter time.Duration // or never
	Idle        time.Duration // the longest silence within a stream
}

// Watchdog is an exchange's one timer. Events do not set it: they leave a mark of when they came.
type Watchdog struct {
	Alarm
	output Output
	cancel context.CancelCauseFunc // ends the exchange

	end         time.Duration // of the whole exchange
	commitAfter time.Duration // or never
	idle        time.Duration

	waiting  atomic.Int64 // since when the upstream is waited for; negative while it is not
	begun    atomic.Bool  // the first event has come
	commitAt atomic.Int64 // when to send the head of an accepted answer; 0 while there is none
	finishBy atomic.Int64 // when to stop listening after a finish; 0 before

	// These need the alarm's lock.
	try      context.CancelCauseFunc // ends the try that is under way; nil: none is
	response time.Duration           // the try's first event must have come by then
	canceled bool
}

// Init prepares a watch, which cannot be copied afterwards. It calls cancel to end the exchange.
func (w *Watchdog) Init(output Output, cancel context.CancelCauseFunc, options Options) {
	w.Alarm.Init(options.Start, w.fire)
	w.output, w.cancel = output, cancel
	w.end, w.commitAfter, w.idle = options.End, options.CommitAfter, options.Idle
}

// Left is how long the exchange may still take.
func (w *Watchdog) Left() time.Duration { return w.end - w.Now() }

// StartTry notes that the upstream is asked. The try is canceled if its first event has not come in time.
func (w *Watchdog) StartTry(timeout time.Duration, cancel context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.Now()
	w.try = cancel
	w.response = now + timeout
	w.setNoLaterThan(min(w.end, w.response, now+min(w.output.Patience(), w.end)))
}

// EndTry notes that the try has failed. When it returns, the visitor has been sent a head or will be sent none
// on its account.
func (w *Watchdog) EndTry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgetTry()
}

func (w *Watchdog) forgetTry() {
	w.try = nil
	w.commitAt.Store(0)
}

// Accept notes that the upstream has accepted the chat and its events are to come.
func (w *Watchdog) Accept() {
	if w.commitAfter == Never {
		return
	}
	at := w.Now() + w.commitAfter
	w.commitAt.Store(int64(at))
	w.NoLaterThan(at)
}

// Begin notes the first event.
func (w *Watchdog) Begin() {
	w.begun.Store(true)
	w.NoLaterThan(w.Now() + min(w.idle, w.output.Patience()))
}

// Finish notes the finish.
func (w *Watchdog) Finish() {
	at := w.Now() + lingerAfterFinish
	w.finishBy.Store(int64(at))
	w.NoLaterThan(at)
}

// BeginRead notes that the upstream is waited for from now on, and busy that it is not: what then takes
// time is the visitor.
func (w *Watchdog) BeginRead() (now time.Duration) {
	now = w.Now()
	w.waiting.Store(int64(now))
	return now
}
func (w *Watchdog) EndRead() { w.waiting.Store(-1) }

// errLingered ends the reading of what follows a finish.
var errLingered = errors.New("the finish was a while ago")

// fire is what the alarm does.
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

// check does what has come due at now. It returns when to look again, or why the exchange ends.
func (w *Watchdog) check(now time.Duration) (next time.Duration, cause error) {
	if now >= w.end {
		return Never, apierror.MaxDuration
	}
	next = w.end

	if by := time.Duration(w.finishBy.Load()); by > 0 {
		if now >= by {
			return Never, errLingered
		}
		return min(next, by), nil
	}

	if !w.begun.Load() {
		switch {
		case w.try == nil:
			// There is a pause before the next one.
		case now >= w.response:
			w.try(apierror.ResponseTimeout)
			w.forgetTry()
		default:
			next = min(next, w.response)
		}
	} else if since := time.Duration(w.waiting.Load()); since < 0 {
		next = min(next, now+w.idle)
	} else {
		if now-since >= w.idle {
			return Never, apierror.Stalled
		}
		next = min(next, since+w.idle)
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
