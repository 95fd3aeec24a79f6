package limit

import (
	"fmt"
	"net/http"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/store"
)

// fakeCounter decides what its test says, and notes what it is asked.
type fakeCounter struct {
	decision store.Decision
	err      error
	during   func() // is called while the counter is asked, unless it is nil
	asked    []store.Request
	cooled   []string // assistants and their waits
}

func (c *fakeCounter) Reserve(r store.Request) (store.Decision, error) {
	c.asked = append(c.asked, r)
	if c.during != nil {
		c.during()
	}
	return c.decision, c.err
}

func (c *fakeCounter) CoolDown(assistant string, wait time.Duration) {
	c.cooled = append(c.cooled, fmt.Sprint(assistant, " ", wait))
}

// want checks what the counter was asked since the last call.
func (c *fakeCounter) want(t *testing.T, when string, want ...store.Request) {
	t.Helper()
	if len(c.asked) != len(want) || len(want) > 0 && !reflect.DeepEqual(c.asked, want) {
		t.Errorf("%s: the counter was asked\n%+v, want\n%+v", when, c.asked, want)
	}
	c.asked = nil
}

// fakeReservation answers what its test says, and notes its calls.
type fakeReservation struct {
	next  store.Decision
	err   error
	usage []store.Usage
	calls []string
}

func (r *fakeReservation) NextTurn() (store.Decision, error) {
	r.calls = append(r.calls, "next")
	return r.next, r.err
}

func (r *fakeReservation) EndTurn(answered bool) {
	r.calls = append(r.calls, fmt.Sprint("end ", answered))
}

func (r *fakeReservation) Release(reached bool) []store.Usage {
	r.calls = append(r.calls, fmt.Sprint("release ", reached))
	return r.usage
}

// want checks the calls since the last call of want.
func (r *fakeReservation) want(t *testing.T, when string, want ...string) {
	t.Helper()
	if !slices.Equal(r.calls, want) {
		t.Errorf("%s: the calls were %q, want %q", when, r.calls, want)
	}
	r.calls = nil
}

// newCountedLimiter returns a limiter with a counter. max_streams_per_client is 1. At the end of the test, it checks
// that all references and slots are given back.
func newCountedLimiter(t *testing.T, d store.Decision, rules ...Rule) (*Limiter, *fakeCounter) {
	t.Helper()
	l, c := newTestLimiter(t, rules...), &fakeCounter{decision: d}
	l.config.Counter, l.config.MaxPerClient = c, 1
	t.Cleanup(func() {
		wantOpen(t, "in the end", l, 0)
		closeLimiter(t, l)
		wantShared(t, "in the end", l, 0)
	})
	return l, c
}

// refuse checks that a chat of "client" gets the error want. It returns the header of the response.
func refuse(t *testing.T, when string, l *Limiter, want *apierror.Error, keys ...string) http.Header {
	t.Helper()
	header := make(http.Header)
	_, err := l.Admit(header, Request{Client: "client"}, keys)
	got, ok := err.(*apierror.Error)
	if !ok || got.Error() != want.Error() || got.Status != want.Status || !reflect.DeepEqual(got.Header, want.Header) {
		t.Errorf("%s: got the error %+v, want %+v", when, err, want)
	}
	return header
}
