package shutdown

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// fakeStream records when it is canceled, and why.
type fakeStream struct {
	set   *streamSet
	heard bool
	start time.Time

	mu    sync.Mutex
	ended time.Duration // from start; 0 also means that it is open
	cause error
}

func (e *fakeStream) IsHeard() bool { return e.heard }

func (e *fakeStream) Cancel(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause == nil {
		e.ended, e.cause = time.Since(e.start), cause
		go e.set.remove(e)
	}
}

func (e *fakeStream) wantEnd(t *testing.T, what string, at time.Duration) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.ended != at || !errors.Is(e.cause, apierror.ShuttingDown) {
		t.Errorf("%s ended after %s because of %v, want %s", what, e.ended, e.cause, at)
	}
}

func (e *fakeStream) wantOpen(t *testing.T, what string) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause != nil {
		t.Errorf("%s ended because of %v", what, e.cause)
	}
}

func add(s *streamSet, heard bool) *fakeStream {
	e := &fakeStream{set: s, heard: heard, start: time.Now()}
	s.add(e, Exchange)
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
			s := new(streamSet)
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
			if n := s.count(Exchange); n != 0 {
				t.Errorf("%d exchanges are open", n)
			}
		})
	}
}

// Without a grace period, Caddy waits for streams, so an exit does not cancel them.
func TestExitWithoutAGracePeriodEndsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(streamSet)
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
		s := new(streamSet)
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
		s := new(streamSet)
		start := time.Now()
		e := add(s, true)
		s.awaitExit()
		e.wantEnd(t, "the exchange of a server that is gone", 0)
		if took := time.Since(start); took > time.Second {
			t.Errorf("it waits for %s", took)
		}
	})
}

// listen adds a listener.
func listen(s *streamSet) *fakeStream {
	e := &fakeStream{set: s, heard: true, start: time.Now()}
	s.add(e, Listener)
	return e
}

// At an exit, listeners end after the exchanges whose finish they pass on. They do not wait long for an exchange that
// does not end.
func TestExitEndsListenersAfterExchanges(t *testing.T) {
	for name, test := range map[string]struct {
		begin func(*streamSet)
		want  time.Duration
	}{
		"no exchange is open":      {func(*streamSet) {}, 4 * time.Second},
		"the exchange ends":        {func(s *streamSet) { add(s, true) }, 4 * time.Second},
		"the exchange never ends":  {func(s *streamSet) { s.add(stuckStream{}, Exchange) }, 4500 * time.Millisecond},
		"the exchange has no time": {func(s *streamSet) { s.closed = true; add(s, true) }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := new(streamSet)
				test.begin(s)
				l := listen(s)
				s.closeWithin(5 * time.Second)
				time.Sleep(4600 * time.Millisecond)
				synctest.Wait()
				l.wantEnd(t, "the listener", test.want)
				if n := s.count(Listener); n != 0 {
					t.Errorf("%d listeners are open", n)
				}
			})
		})
	}
}

// stuckStream does not end when it is canceled.
type stuckStream struct{}

func (stuckStream) Cancel(error)  {}
func (stuckStream) IsHeard() bool { return true }

// What ends shortly before the end of a grace period after a reload also ends what begins in that time.
func TestReloadEndsStreamsThatBeginTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(streamSet)
		before, other := listen(s), listen(s)
		match := func(stream Stream) bool { return stream != Stream(other) }
		s.endFor(match, time.Second)
		before.wantEnd(t, "a listener", 0)
		other.wantOpen(t, "another handler's listener")
		time.Sleep(999 * time.Millisecond)
		listen(s).wantEnd(t, "a listener that comes late", 0)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		listen(s).wantOpen(t, "a listener of a later time")
		if len(s.ending) != 0 {
			t.Error("the rule is kept")
		}
	})
}
