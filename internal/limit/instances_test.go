package limit

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/store"
)

// The counter is asked for what needs room there: no listener who shares a slot, and no listener if clients have no maximum.
func TestQuestionsToTheCounter(t *testing.T) {
	r := new(fakeReservation)
	l, c := newCountedLimiter(t, store.Decision{Reservation: r, Usage: make([]store.Usage, 2)},
		Rule{Requests: 5, Window: time.Hour, Key: `{"a" b}`}, Rule{Requests: 7, Window: time.Minute, Key: "site"})
	a, err := l.Admit(make(http.Header), Request{ID: "chat", Client: "client", Assistant: "asst_demo"}, []string{`x" y`, ""})
	if err != nil {
		t.Fatal(err)
	}
	c.want(t, "a chat", store.Request{ID: "chat", Client: "client", Assistant: "asst_demo", MaxPerClient: 1, Limits: []store.Limit{
		{Key: `"{\"a\" b}" x" y`, Window: time.Hour, Requests: 5}, {Key: `"site" `, Window: time.Minute, Requests: 7},
	}})
	a.BeginStream()
	listener := store.Request{ID: "listener", Client: "client", MaxPerClient: 1, Listens: true}
	shares := listen(t, l, "chat", "client", nil)
	c.want(t, "a listener who shares the chat's slot")
	third := listen(t, l, "chat", "client", nil)
	c.want(t, "a third listener", listener)
	remote := listen(t, l, "remote", "client", nil)
	listener.Follows = "remote"
	c.want(t, "a listener of another instance's stream", listener)
	l.config.MaxPerClient = 0
	uncounted := listen(t, l, "remote", "client", nil)
	c.want(t, "a listener without max_streams_per_client")
	for _, slot := range []Slot{shares, third, remote, uncounted} {
		slot.Leave()
	}
	r.want(t, "when the listeners have left", "release true", "release true") // for the third and the remote one
	a.LeaveStream()
	a.EndStream()
	a.Leave()
}

// The counter decides while it can be reached, whatever this instance has counted. Otherwise this instance decides.
func TestWhoDecides(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Rule{Requests: 2, Window: time.Hour, Key: "key"}
		l, c := newCountedLimiter(t, store.Decision{Reservation: new(fakeReservation), Usage: make([]store.Usage, 1)}, r)
		reached, second, third := admitOne(t, l), admitOne(t, l), admitOne(t, l)
		reached.Reached()
		c.err, c.decision = errors.New("no connection"), store.Decision{}
		refuse(t, "alone, with three counted", l, errLimit(r, 100*time.Minute), "key")
		second.Leave()
		third.Leave()
		refuse(t, "alone, with an open chat", l, errClientStreams, "key")
		listen(t, l, "elsewhere", "client", errClientStreams)
		wantOpen(t, "after the refusals", l, 1)
		reached.Leave()
		listen(t, l, "elsewhere", "client", nil).Leave()
		alone := admitOne(t, l)
		alone.Reached()
		alone.Leave()
		refuse(t, "alone, with two counted", l, errLimit(r, 90*time.Minute), "key")

		time.Sleep(2 * time.Hour)
		c.err, c.decision.Usage = nil, make([]store.Usage, 1)
		refuse(t, "by the counter, with room here", l, errClientStreams, "key")
		listen(t, l, "elsewhere", "client", errClientStreams)
	})
}

// A request has its slot before the counter is asked, and gives it back if the counter refuses.
func TestMaxStreamsIsLocal(t *testing.T) {
	l, c := newCountedLimiter(t, store.Decision{})
	l.config.MaxStreams = 1
	c.during = func() { wantOpen(t, "while the counter is asked", l, 1) }
	refuse(t, "by the counter", l, errClientStreams)
	listen(t, l, "elsewhere", "client", errClientStreams)
	wantOpen(t, "after the refusals", l, 0)
	c.decision.Reservation = new(fakeReservation)
	chat := admitOne(t, l)
	c.asked = nil
	refuse(t, "beside a chat", l, errStreams)
	listen(t, l, "elsewhere", "client", errStreams)
	chat.Leave()
	c.want(t, "without a slot")
	listener := listen(t, l, "elsewhere", "client", nil)
	refuse(t, "beside a listener", l, errStreams)
	listener.Leave()
}

func TestCounterStaysOpenWhileItIsAsked(t *testing.T) {
	closed := false
	l, c := newTestLimiter(t), new(fakeCounter)
	l.config.Counter, l.config.Release = c, func() error { closed = true; return nil }
	c.during = func() {
		if closeLimiter(t, l); closed {
			t.Error("the counter was closed while it was asked")
		}
	}
	if refuse(t, "a late request", l, errClientStreams); !closed {
		t.Error("the counter was not closed")
	}
}

// UsedUp is told of the limits that reject more than one client. A client sees its own limits, whatever the reason is.
func TestRefusalsOfTheCounter(t *testing.T) {
	site := Rule{Requests: 2, Window: time.Hour, Key: "site", ForMany: true}
	mine := Rule{Requests: 4, Window: time.Hour, Key: "mine", ByClient: true}
	half := 30 * time.Minute
	for _, test := range []struct {
		name, key    string
		usage        []store.Usage // of the limits site and mine
		want         *apierror.Error
		usedUp, left string
	}{
		{"no limit", "a", []store.Usage{{Now: 1}, {Now: 3, Elapsed: half}}, errClientStreams, "", `"client";r=1;t=3000`},
		{
			"the client's", "a", []store.Usage{{Now: 1}, {Now: 4, Elapsed: half}},
			errLimit(mine, 45*time.Minute), "", `"client";r=0;t=2700`,
		},
		{
			"an empty key's", "", []store.Usage{{Now: 1}, {Now: 4, Elapsed: half}},
			errLimit(mine, 45*time.Minute), "mine true 45m0s", `"client";r=0;t=2700`,
		},
		{
			"the site's", "a", []store.Usage{{Prev: 4, Elapsed: half}, {}},
			errLimit(site, 15*time.Minute), "site false 15m0s", `"client";r=4`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			l, _ := newCountedLimiter(t, store.Decision{Usage: test.usage}, site, mine)
			usedUp := ""
			l.config.UsedUp = func(r Rule, emptyKey bool, wait time.Duration) { usedUp += fmt.Sprint(r.Key, " ", emptyKey, " ", wait) }
			header := refuse(t, "by the counter", l, test.want, "site", test.key)
			wantFields(t, "refused", header, `"client";q=4;w=3600`, test.left)
			if usedUp != test.usedUp {
				t.Errorf("UsedUp got %q, want %q", usedUp, test.usedUp)
			}
		})
	}
}

// A cool-down of the counter holds requests back here, so that they do not ask the counter. Beside another instance's probe,
// each request asks.
func TestCoolDownOfTheCounter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := Rule{Requests: 2, Window: time.Hour, Key: "mine", ByClient: true}
		l, c := newCountedLimiter(t, store.Decision{CoolDown: 7 * time.Second}, r)
		header := refuse(t, "at first", l, CoolDownError(7*time.Second), "mine")
		wantFields(t, "at first", header, "", "")
		c.asked = nil
		time.Sleep(3 * time.Second)
		refuse(t, "3 s later", l, CoolDownError(4*time.Second), "mine")
		c.want(t, "during the cool-down")
		time.Sleep(4 * time.Second)
		c.decision = store.Decision{Probe: true}
		for i := range 2 {
			refuse(t, "beside a probe", l, CoolDownError(time.Second), "mine")
			if len(c.asked) != i+1 {
				t.Errorf("the counter was asked %d times, want %d", len(c.asked), i+1)
			}
		}
	})
}

// A cool-down of the counter holds back the requests for its assistant alone. The counter is told of cool-downs by the
// assistants' keys.
func TestCoolDownOfTheCounterIsOneAssistants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, c := newCountedLimiter(t, store.Decision{CoolDown: 7 * time.Second})
		r := new(fakeReservation)
		r.next.Reservation = r
		admit := func(assistant string) (*Admission, error) {
			return l.Admit(make(http.Header), Request{Client: "client", Assistant: assistant}, nil)
		}
		long := strings.Repeat("x", 1000)
		for _, assistant := range []string{"a", "a", long, long} {
			if _, err := admit(assistant); err == nil {
				t.Errorf("%.10s is admitted", assistant)
			}
		}
		if len(c.asked) != 2 || c.asked[0].Assistant != "a" || c.asked[1].Assistant != assistantKey(long) {
			t.Errorf("the counter was asked %+v", c.asked)
		}
		c.decision = store.Decision{Reservation: r}
		other, err := admit("b")
		if err != nil {
			t.Fatal(err)
		}
		if wait := other.NextTurn(); wait != 0 {
			t.Errorf("another attempt for another assistant waits %v", wait)
		}
		other.CoolDown(time.Minute)
		other.Leave()
		if got := l.CoolDowns(); len(got) != 3 || got["a"] != 7*time.Second || got["b"] != time.Minute || l.CoolDown(long) != 7*time.Second {
			t.Errorf("the cool-downs are %v", got)
		}
		if !slices.Equal(c.cooled, []string{"b 1m0s"}) {
			t.Errorf("the counter was told %q", c.cooled)
		}
	})
}
