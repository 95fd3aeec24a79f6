package limit

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// The counter decides about further attempts. This instance decides without asking if it knows of a cool-down, and if
// the counter cannot be reached.
func TestNextTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(fakeReservation)
		l, _ := newCountedLimiter(t, store.Decision{Reservation: r})
		a, other := admitOne(t, l), admitOne(t, l)
		next := func(a *Admission, when string, want time.Duration, calls ...string) {
			t.Helper()
			if wait := a.NextTurn(); wait != want {
				t.Errorf("%s: the wait is %v, want %v", when, wait, want)
			}
			r.want(t, when, calls...)
		}
		granted := store.Decision{Reservation: r}
		r.next = granted
		next(a, "without a cool-down", 0, "next")
		r.next = store.Decision{CoolDown: 5 * time.Second}
		next(a, "with another instance's cool-down", 5*time.Second, "next")
		time.Sleep(2 * time.Second)
		next(a, "when this instance knows it", 3*time.Second)
		time.Sleep(3 * time.Second)
		r.next = store.Decision{Probe: true}
		next(a, "beside another instance's probe", time.Second, "next")

		r.next.Reservation = r
		next(a, "as the probe", 0, "next")
		a.EndTurn()
		a.EndTurn()
		r.want(t, "a probe without an answer", "end false")
		next(a, "as the probe again", 0, "next")
		a.Answered()
		a.EndTurn()
		r.want(t, "a probe with an answer", "end true")

		a.CoolDown(time.Second)
		time.Sleep(time.Second)
		r.err, r.next = errors.New("no connection"), store.Decision{}
		next(a, "alone, as the probe", 0, "next")
		next(other, "alone, beside the probe", time.Second, "next")
		a.EndTurn()
		r.err, r.next = nil, granted
		next(other, "when all may go again", 0, "next")
		if !other.CoolDown(time.Second) {
			t.Error("this instance still had a cool-down that is over")
		}
		a.Leave()
		other.Leave()
	})
}

// A chat releases its reservation once. One that has not reached the upstream shows what is left without it.
func TestRelease(t *testing.T) {
	const policy, with, without = `"client";q=4;w=3600`, `"client";r=1;t=3900`, `"client";r=2;t=4500`
	used, fewer := []store.Usage{{Now: 3, Elapsed: 15 * time.Minute}}, []store.Usage{{Now: 2, Elapsed: 15 * time.Minute}}
	for _, test := range []struct {
		name           string
		probe, reached bool
		usage          []store.Usage
		calls          []string
		left           string
	}{
		{"one that has not reached the upstream", false, false, fewer, []string{"release false"}, without},
		{"one whose counter does not know the usage", false, false, nil, []string{"release false"}, with},
		{"one that has reached it", false, true, nil, []string{"release true"}, with},
		{"a probe without an answer", true, true, nil, []string{"end false", "release true"}, with},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := &fakeReservation{usage: test.usage}
			l, _ := newCountedLimiter(t, store.Decision{Reservation: r, Usage: used, Probe: test.probe},
				Rule{Requests: 4, Window: time.Hour, Key: "mine", ByClient: true})
			a := admitOne(t, l)
			wantFields(t, "admitted", a.header, policy, with)
			if test.reached {
				a.Reached()
			}
			a.Leave()
			r.want(t, "after Leave", test.calls...)
			wantFields(t, "after Leave", a.header, policy, test.left)
		})
	}
}
