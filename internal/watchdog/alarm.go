package watchdog

import (
	"errors"
	"fmt"
	"math"
	"sync"
	"time"
)

// Never is a time that does not come.
const Never = time.Duration(math.MaxInt64)

// Alarm is a timer that looks, whenever it goes off, at what has come due and at when it has to look again. Times count
// from its start.
type Alarm struct {
	start time.Time
	due   func(now time.Duration) (next time.Duration)

	mu      sync.Mutex // held while the alarm looks or is set
	timer   *time.Timer
	at      time.Duration // when it goes off
	stopped bool
}

// Init prepares an alarm, which cannot be copied afterwards.
func (a *Alarm) Init(start time.Time, due func(now time.Duration) (next time.Duration)) {
	a.start, a.due = start, due
}

func (a *Alarm) Now() time.Duration { return time.Since(a.start) }

// NoLaterThan has the alarm go off at a time, if it would not before.
func (a *Alarm) NoLaterThan(at time.Duration) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.setNoLaterThan(at)
}

func (a *Alarm) setNoLaterThan(at time.Duration) {
	switch {
	case a.stopped:
	case a.timer == nil:
		a.at = at
		a.timer = time.AfterFunc(at-a.Now(), a.ring)
	case at < a.at:
		a.at = at
		a.timer.Reset(at - a.Now())
	}
}

func (a *Alarm) ring() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.stopped {
		return
	}
	a.at = a.due(a.Now())
	a.timer.Reset(max(a.at-a.Now(), time.Millisecond))
}

// Stop ends the alarm. When it returns, nothing is being looked at, and nothing will be: whoever called has the visitor to
// itself.
func (a *Alarm) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
	}
}

// Guard calls f, and returns a panic of some writer beneath us as an error: in a timer's goroutine it would end the process,
// as it would not in a handler.
func Guard(f func() (time.Duration, error)) (next time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			next, err = Never, &Panic{Value: p}
		}
	}()
	return f()
}

// Panic carries a panic to the handler's goroutine.
type Panic struct{ Value any }

// Rethrow panics again with what a timer's goroutine has panicked with, if err is that.
func Rethrow(err error) {
	if panicked, ok := errors.AsType[*Panic](err); ok {
		panic(panicked.Value)
	}
}

func (p *Panic) Error() string { return fmt.Sprintf("panic: %v", p.Value) }
