package illumichat

import (
	"sync"
	"time"
)

// alarm is a timer that looks, whenever it goes off, at what has come due and at when it has to look again. Times count
// from its start.
type alarm struct {
	start time.Time
	look  func(now time.Duration) (next time.Duration)

	mu      sync.Mutex // held while the alarm looks or is set
	timer   *time.Timer
	at      time.Duration // when it goes off
	stopped bool
}

func (a *alarm) now() time.Duration { return time.Since(a.start) }

// noLaterThan has the alarm go off at a time, if it would not before.
func (a *alarm) noLaterThan(at time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setNoLaterThan(at)
}

func (a *alarm) setNoLaterThan(at time.Duration) {
	switch {
	case a.stopped:
	case a.timer == nil:
		a.at = at
		a.timer = time.AfterFunc(at-a.now(), a.goOff)
	case at < a.at:
		a.at = at
		a.timer.Reset(at - a.now())
	}
}

func (a *alarm) goOff() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return
	}
	a.at = a.look(a.now())
	a.timer.Reset(max(a.at-a.now(), time.Millisecond))
}

// stop ends the alarm. When it returns, nothing is being looked at, and nothing will be: whoever called has the visitor to
// itself.
func (a *alarm) stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
	}
}
