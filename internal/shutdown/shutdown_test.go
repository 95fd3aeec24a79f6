package shutdown

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// fakeExchange records when it is canceled, and why.
type fakeExchange struct {
	set   *exchangeSet
	heard bool
	start time.Time

	mu    sync.Mutex
	ended time.Duration // from start; 0 also means that it is open
	cause error
}

func (e *fakeExchange) IsHeard() bool { return e.heard }

func (e *fakeExchange) Cancel(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause == nil {
		e.ended, e.cause = time.Since(e.start), cause
		go e.set.remove(e)
	}
}

func (e *fakeExchange) wantEnd(t *testing.T, what string, at time.Duration) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended != at || !errors.Is(e.cause, apierror.ShuttingDown) {
		t.Errorf("%s ended after %s because of %v, want %s", what, e.ended, e.cause, at)
	}
}

func (e *fakeExchange) wantOpen(t *testing.T, what string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause != nil {
		t.Errorf("%s ended because of %v", what, e.cause)
	}
}

func add(s *exchangeSet, heard bool) *fakeExchange {
	e := &fakeExchange{set: s, heard: heard, start: time.Now()}
	s.add(e)
	return e
}

// An exit cancels exchanges without a visitor at once. It cancels the others shortly before the end of the grace period
// G, at G − min(1 s, G/5).
func TestExitEndsExchangesInTime(t *testing.T) {
	for grace, want := range map[time.Duration]time.Duration{
		time.Second:      800 * time.Millisecond,
		5 * time.Second:  4 * time.Second,
		30 * time.Second: 29 * time.Second,
	} {
		synctest.Test(t, func(t *testing.T) {
			s := new(exchangeSet)
			heard, unheard := add(s, true), add(s, false)
			time.Sleep(time.Second)
			s.closeWithin(grace)
			unheard.wantEnd(t, "an exchange that nobody hears", time.Second)
			later := add(s, true)
			time.Sleep(want - time.Nanosecond)
			synctest.Wait()
			heard.wantOpen(t, "an exchange")
			time.Sleep(time.Nanosecond)
			synctest.Wait()
			heard.wantEnd(t, "an exchange", time.Second+want)
			later.wantEnd(t, "an exchange that came later", want)
			time.Sleep(time.Nanosecond)
			add(s, true).wantEnd(t, "an exchange that comes afterwards", 0)
			synctest.Wait()
			if n := s.count(); n != 0 {
				t.Errorf("%d exchanges are open", n)
			}
		})
	}
}

// Without a grace period, Caddy waits for streams, so an exit does not cancel them.
func TestExitWithoutAGracePeriodEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(exchangeSet)
		e := add(s, true)
		s.closeWithin(0)
		time.Sleep(time.Hour)
		synctest.Wait()
		e.wantOpen(t, "an exchange")
	})
}

// The process waits for streams that it has canceled, but not for longer than its grace period.
func TestAwaitExit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(exchangeSet)
		start := time.Now()
		s.awaitExit()
		if took := time.Since(start); took != 0 {
			t.Errorf("without an exchange it waits for %s", took)
		}
		e := add(s, true)
		s.closeWithin(5 * time.Second)
		s.awaitExit()
		if took := time.Since(start); took < 4*time.Second || took > 5*time.Second {
			t.Errorf("it waits for %s", took)
		}
		e.wantEnd(t, "the exchange", 4*time.Second)
	})
	// No server has canceled this exchange before, because its own server is gone.
	synctest.Test(t, func(t *testing.T) {
		s := new(exchangeSet)
		start := time.Now()
		e := add(s, true)
		s.awaitExit()
		e.wantEnd(t, "the exchange of a server that is gone", 0)
		if took := time.Since(start); took > time.Second {
			t.Errorf("it waits for %s", took)
		}
	})
}
