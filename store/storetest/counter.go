package storetest

import (
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// RunCounter tests the cool-downs of a store.Counter. It calls open twice for each subtest, with the subtest's t. The
// two counters must count together: they may be one counter, or counters of two instances. The subtests
// use different assistants, so all counters may share their data. open must close its counter in t.Cleanup.
func RunCounter(t *testing.T, open func(t *testing.T) store.Counter) {
	for name, test := range map[string]func(*testing.T, store.Counter, store.Counter){
		"a cool-down":       testCoolDown,
		"a probe":           testProbe,
		"a further attempt": testNextTurn,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t), open(t)) })
	}
}

// newAssistants returns the ids of two assistants that no other test uses.
func newAssistants() (limited, unlimited string) { return "limited-" + newID(), "unlimited-" + newID() }

// reserve asks for room for a request for an assistant.
func reserve(t *testing.T, c store.Counter, assistant string) store.Decision {
	t.Helper()
	decision, err := c.Reserve(store.Request{ID: newID(), Client: "client", Assistant: assistant})
	if err != nil {
		t.Fatal(err)
	}
	return decision
}

// wantGranted checks that a request is granted, and whether it is the probe.
func wantGranted(t *testing.T, d store.Decision, probe bool) store.Reservation {
	t.Helper()
	if d.Reservation == nil || d.Probe != probe || d.CoolDown != 0 {
		t.Fatalf("got %+v, want a reservation; probe: %t", d, probe)
	}
	return d.Reservation
}

// wantCooling checks that a cool-down refuses a request, and how long it still lasts.
func wantCooling(t *testing.T, d store.Decision, least, most time.Duration) {
	t.Helper()
	if d.Reservation != nil || d.Probe || d.CoolDown < least || d.CoolDown > most {
		t.Fatalf("got %+v, want a cool-down of %s to %s", d, least, most)
	}
}

// wantBehindProbe checks that a request is refused because another one is the probe.
func wantBehindProbe(t *testing.T, d store.Decision) {
	t.Helper()
	if d.Reservation != nil || !d.Probe || d.CoolDown != 0 {
		t.Fatalf("got %+v, want a refusal beside the probe", d)
	}
}

// beginShort begins a short cool-down of an assistant.
func beginShort(t *testing.T, c store.Counter, limited string) {
	t.Helper()
	const short = 200 * time.Millisecond
	eventually(t, "a cool-down begins", func() bool {
		c.CoolDown(limited, short) // has no effect if the call takes that long to arrive
		d := reserve(t, c, limited)
		if d.Reservation != nil {
			d.Reservation.EndTurn(true)
			d.Reservation.Release(true)
		}
		return d.CoolDown > 0
	})
}

// awaitProbe waits until an assistant's cool-down is over, and returns the probe's reservation.
func awaitProbe(t *testing.T, c store.Counter, limited string) (probe store.Reservation) {
	t.Helper()
	eventually(t, "the cool-down is over", func() bool {
		d := reserve(t, c, limited)
		if d.Reservation != nil {
			probe = wantGranted(t, d, true)
		}
		return probe != nil
	})
	return probe
}

// A cool-down holds at all instances, for one assistant alone.
func testCoolDown(t *testing.T, c, other store.Counter) {
	limited, unlimited := newAssistants()
	c.CoolDown(limited, time.Hour)
	for _, c := range []store.Counter{c, other} {
		wantCooling(t, reserve(t, c, limited), 59*time.Minute, time.Hour)
		wantGranted(t, reserve(t, c, unlimited), false).Release(true)
	}
	other.CoolDown(limited, time.Minute) // does not shorten it
	other.CoolDown(unlimited, time.Minute)
	wantCooling(t, reserve(t, c, limited), 59*time.Minute, time.Hour)
	wantCooling(t, reserve(t, c, unlimited), 50*time.Second, time.Minute)
	listener, err := c.Reserve(store.Request{ID: newID(), Client: "client", MaxPerClient: 1, Listens: true})
	if err != nil {
		t.Fatal(err)
	}
	wantGranted(t, listener, false).Release(true)
}

// When an assistant's cool-down is over, one request for it goes alone. The requests for other assistants are free.
func testProbe(t *testing.T, c, other store.Counter) {
	limited, unlimited := newAssistants()
	beginShort(t, c, limited)
	probe := awaitProbe(t, other, limited)
	for _, c := range []store.Counter{c, other} {
		wantBehindProbe(t, reserve(t, c, limited))
		wantGranted(t, reserve(t, c, unlimited), false).Release(true)
	}
	probe.EndTurn(false)
	probe.Release(true)
	probe = wantGranted(t, reserve(t, c, limited), true)
	wantBehindProbe(t, reserve(t, other, limited))
	probe.Release(true) // without an answer, too
	probe = wantGranted(t, reserve(t, other, limited), true)
	probe.EndTurn(true)
	for _, c := range []store.Counter{c, other} {
		wantGranted(t, reserve(t, c, limited), false).Release(true)
	}
	probe.Release(true)
}

// A further attempt is subject to the cool-down of its own assistant.
func testNextTurn(t *testing.T, c, other store.Counter) {
	limited, unlimited := newAssistants()
	next := func(r store.Reservation) store.Decision {
		t.Helper()
		d, err := r.NextTurn()
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	mine := wantGranted(t, reserve(t, c, limited), false)
	free := wantGranted(t, reserve(t, other, unlimited), false)
	beginShort(t, c, limited)
	wantGranted(t, next(free), false)
	probe := awaitProbe(t, other, limited)
	wantBehindProbe(t, next(mine))
	wantGranted(t, next(free), false)
	probe.Release(true)
	wantGranted(t, next(mine), true)
	wantBehindProbe(t, reserve(t, other, limited))
	wantGranted(t, next(free), false)
	mine.EndTurn(true)
	wantGranted(t, next(mine), false)
	mine.Release(true)
	free.Release(true)
}
