package illumichat

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// lingerAfterFinish is how long what follows a finish is passed on.
const lingerAfterFinish = 2 * time.Second

// watchOutput is what the watch needs of where an answer goes. It is called by the watch's goroutine.
type watchOutput interface {
	// Commit sends the head, if it is not sent yet, and does not wait for a write.
	Commit() error

	// EndStalled ends a write that has taken too long. It returns when it may be time to look again.
	EndStalled(now time.Duration) (next time.Duration)

	// Heartbeat sends a comment if nothing was sent for long enough. It returns when the next may be due.
	Heartbeat() (next time.Duration, err error)

	// Patience is after how long the watch has to look at the output at the latest.
	Patience() time.Duration
}

// watchOptions are the time limits of an exchange, from its start.
type watchOptions struct {
	start       time.Time
	end         time.Duration // of the whole exchange
	commitAfter time.Duration // or never
	idle        time.Duration // the longest silence within a stream
}

// watch is an exchange's one timer. Events do not set it: they leave a mark of when they came.
type watch struct {
	alarm
	output watchOutput
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

// init prepares a watch, which cannot be copied afterwards. It calls cancel to end the exchange.
func (w *watch) init(output watchOutput, cancel context.CancelCauseFunc, options watchOptions) {
	w.alarm.init(options.start, w.lookAtAll)
	w.output, w.cancel = output, cancel
	w.end, w.commitAfter, w.idle = options.end, options.commitAfter, options.idle
}

// left is how long the exchange may still take.
func (w *watch) left() time.Duration { return w.end - w.now() }

// startTry notes that the upstream is asked. The try is canceled if its first event has not come in time.
func (w *watch) startTry(timeout time.Duration, cancel context.CancelCauseFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	now := w.now()
	w.try = cancel
	w.response = now + timeout
	w.setNoLaterThan(min(w.end, w.response, now+min(w.output.Patience(), w.end)))
}

// endTry notes that the try has failed. When it returns, the visitor has been sent a head or will be sent none
// on its account.
func (w *watch) endTry() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forgetTry()
}

func (w *watch) forgetTry() {
	w.try = nil
	w.commitAt.Store(0)
}

// accept notes that the upstream has accepted the chat and its events are to come.
func (w *watch) accept() {
	if w.commitAfter == never {
		return
	}
	at := w.now() + w.commitAfter
	w.commitAt.Store(int64(at))
	w.noLaterThan(at)
}

// begin notes the first event.
func (w *watch) begin() {
	w.begun.Store(true)
	w.noLaterThan(w.now() + min(w.idle, w.output.Patience()))
}

// finish notes the finish.
func (w *watch) finish() {
	at := w.now() + lingerAfterFinish
	w.finishBy.Store(int64(at))
	w.noLaterThan(at)
}

// wait notes that the upstream is waited for from now on, and busy that it is not: what then takes
// time is the visitor.
func (w *watch) wait() (now time.Duration) {
	now = w.now()
	w.waiting.Store(int64(now))
	return now
}
func (w *watch) busy() { w.waiting.Store(-1) }

// errLingered ends the reading of what follows a finish.
var errLingered = errors.New("the finish was a while ago")

// lookAtAll is what the alarm does.
func (w *watch) lookAtAll(now time.Duration) (next time.Duration) {
	next = w.output.EndStalled(now)
	if w.canceled {
		return next
	}
	due, cause := guarded(func() (time.Duration, error) { return w.due(now) })
	if cause != nil {
		w.cancel(cause)
		w.canceled = true
	}
	return min(next, due)
}

// due does what has come due at now. It returns when to look again, or why the exchange ends.
func (w *watch) due(now time.Duration) (next time.Duration, cause error) {
	if now >= w.end {
		return never, apierror.MaxDuration
	}
	next = w.end

	if by := time.Duration(w.finishBy.Load()); by > 0 {
		if now >= by {
			return never, errLingered
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
			return never, apierror.Stalled
		}
		next = min(next, since+w.idle)
	}

	if at := time.Duration(w.commitAt.Load()); at > 0 {
		if now < at {
			next = min(next, at)
		} else if err := w.output.Commit(); err != nil {
			return never, err
		}
	}
	heartbeat, err := w.output.Heartbeat()
	return min(next, heartbeat), err
}
