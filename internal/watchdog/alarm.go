package watchdog

import (
	"errors"
	"math"
	"sync"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/cause"
)

// Never is a time that never comes. It stands for no time limit.
const Never = time.Duration(math.MaxInt64)

// Alarm is a timer that calls a function whenever it fires. The function does what is due and returns when the timer
// has to fire next. Times count from the alarm's start.
type Alarm struct {
	start time.Time
	due   func(now time.Duration) (next time.Duration)

	mu      sync.Mutex // held while due runs and while the timer is set
	timer   *time.Timer
	at      time.Duration // when the timer fires next
	stopped bool
}

// Init prepares an alarm, which must not be copied afterwards. due runs in the timer's goroutine with the alarm locked,
// so it must not call the alarm's methods except Now.
func (a *Alarm) Init(start time.Time, due func(now time.Duration) (next time.Duration)) {
	a.start, a.due = start, due
}

// Now returns the time since the alarm's start.
func (a *Alarm) Now() time.Duration { return time.Since(a.start) }

// NoLaterThan makes the alarm fire at the given time, unless it fires earlier or is stopped.
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

// Stop ends the alarm. When it returns, due does not run and never will again, so the alarm no longer touches the
// visitor's response.
func (a *Alarm) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.stopped = true
	if a.timer != nil {
		a.timer.Stop()
	}
}

// Guard calls f, and returns a panic as a *Panic. A writer of another module may panic. In a handler, net/http recovers
// the panic, but in a timer's goroutine it would end the process.
func Guard(f func() (time.Duration, error)) (next time.Duration, err error) {
	defer func() {
		if p := recover(); p != nil {
			next, err = Never, &Panic{Value: p}
		}
	}()
	return f()
}

// Panic is an error that carries a panic to the handler's goroutine.
type Panic struct {
	Value any
	Stack []byte // nil: it is not known
}

// Rethrow panics with the value of the *Panic in err, if there is one.
func Rethrow(err error) {
	if panicked, ok := errors.AsType[*Panic](err); ok {
		panic(panicked.Value)
	}
}

// Error returns the kind of the panic. The value itself may quote what was being handled.
func (p *Panic) Error() string { return "panic: " + cause.OfPanic(p.Value) }
