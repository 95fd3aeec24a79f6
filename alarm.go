package illumichat

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// never is a time that does not come.
const never = time.Duration(math.MaxInt64)

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

// init prepares an alarm, which cannot be copied afterwards.
func (a *alarm) init(start time.Time, look func(now time.Duration) (next time.Duration)) {
	a.start, a.look = start, look
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

// guarded calls f, and returns a panic of some writer beneath us as an error: in a timer's goroutine it would end the process,
// as it would not in a handler.
func guarded(f func() (time.Duration, error)) (next time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			next, err = never, &timerPanic{value: p}
		}
	}()
	return f()
}

// timerPanic carries a panic to the handler's goroutine.
type timerPanic struct{ value any }

// rethrow panics again with what a timer's goroutine has panicked with, if err is that.
func rethrow(err error) {
	if panicked, ok := errors.AsType[*timerPanic](err); ok {
		panic(panicked.value)
	}
}

func (p *timerPanic) Error() string { return fmt.Sprintf("panic: %v", p.value) }
