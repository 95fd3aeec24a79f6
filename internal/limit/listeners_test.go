package limit

import (
	"net/http"
	"testing"

	"github.com/illumichat/caddy-illumichat/store"
)

// beginStream admits a chat of the client whose answer is a stream.
func beginStream(t *testing.T, l *Limiter, id, client string) *Admission {
	t.Helper()
	a, err := l.Admit(make(http.Header), Request{ID: id, Client: client}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a.Reached()
	a.BeginStream()
	return a
}

// listen admits a listener, if want is nil. Otherwise it checks that the listener gets the error want.
func listen(t *testing.T, l *Limiter, stream, client string, want error) Slot {
	t.Helper()
	slot, err := l.AdmitListener(stream, Request{ID: "listener", Client: client})
	if err != want {
		t.Fatalf("a listener of %s: got the error %v, want %v", client, err, want)
	}
	return slot
}

// wantOpen checks how many slots are taken at this instance.
func wantOpen(t *testing.T, when string, l *Limiter, want int) {
	t.Helper()
	if got := l.Status().Open; got != want {
		t.Errorf("%s: %d slots are taken, want %d", when, got, want)
	}
}

// A visitor who comes back shares the slot of the stream, so that max_streams_per_client 1 does not shut them out.
func TestTwoListenersShareASlot(t *testing.T) {
	l := newTestLimiter(t)
	defer closeLimiter(t, l)
	l.config.MaxPerClient = 1
	a := beginStream(t, l, "stream", "client")
	again := listen(t, l, "stream", "client", nil)
	wantOpen(t, "with two listeners", l, 1)
	listen(t, l, "stream", "client", errClientStreams)
	third := listen(t, l, "stream", "other", nil)
	wantOpen(t, "with a third, who has a slot of its own", l, 2)
	listen(t, l, "stream", "other", errClientStreams)
	third.Leave()
	wantOpen(t, "after the third", l, 1)

	again.Leave()
	wantOpen(t, "after one who shared the slot", l, 1)
	again = listen(t, l, "stream", "client", nil)
	a.LeaveStream()
	first := listen(t, l, "stream", "client", nil)
	listen(t, l, "stream", "client", errClientStreams)
	again.Leave()
	first.Leave()
	wantOpen(t, "without a listener", l, 1)
	a.EndStream()
	a.Leave()
	wantOpen(t, "in the end", l, 0)
}

// A listener of a stream that another instance writes, or that has ended, counts like a chat.
func TestListenersTakeSlots(t *testing.T) {
	l := newTestLimiter(t)
	defer closeLimiter(t, l)
	l.config.MaxStreams, l.config.MaxPerClient = 2, 1
	one := listen(t, l, "elsewhere", "client", nil)
	wantOpen(t, "with one", l, 1)
	listen(t, l, "elsewhere", "client", errClientStreams)
	two := listen(t, l, "elsewhere", "other", nil)
	wantOpen(t, "with two", l, 2)
	listen(t, l, "elsewhere", "third", errStreams)
	if _, err := l.Admit(make(http.Header), Request{Client: "third"}, nil); err != errStreams {
		t.Errorf("a chat beside two listeners: got the error %v", err)
	}
	one.Leave()
	wantOpen(t, "after one", l, 1)
	listen(t, l, "elsewhere", "client", nil).Leave()
	two.Leave()
	wantOpen(t, "in the end", l, 0)
}

// When a stream ends, each of its listeners takes a slot of the stream's client, even beyond the maximum.
func TestEndedStreamLeavesSlots(t *testing.T) {
	l := newTestLimiter(t)
	defer closeLimiter(t, l)
	l.config.MaxStreams, l.config.MaxPerClient = 2, 1
	a := beginStream(t, l, "stream", "client")
	other := listen(t, l, "stream", "other", nil)
	a.EndStream()
	wantOpen(t, "when the stream has ended", l, 3)
	a.Leave()
	wantOpen(t, "when the exchange is over", l, 2)
	if clients := l.Status().Clients; clients != 1 {
		t.Errorf("the slots are of %d clients, want 1", clients)
	}
	a.LeaveStream()
	wantOpen(t, "with one listener", l, 1)
	listen(t, l, "stream", "client", errClientStreams) // no listener can share a slot of an ended stream
	listen(t, l, "stream", "other", nil).Leave()
	other.Leave()
	wantOpen(t, "in the end", l, 0)
}

func TestHasListener(t *testing.T) {
	l := newTestLimiter(t)
	defer closeLimiter(t, l)
	a, unheard := beginStream(t, l, "stream", "client"), beginStream(t, l, "other", "client")
	unheard.LeaveStream()
	check := func(when string, want bool) {
		t.Helper()
		if got := a.HasListener(); got != want {
			t.Errorf("%s: HasListener says %v", when, got)
		}
		if unheard.HasListener() {
			t.Errorf("%s: the other stream has a listener", when)
		}
	}
	check("with the visitor who asked", true)
	again := listen(t, l, "stream", "client", nil)
	a.LeaveStream()
	check("with one who came back", true)
	again.Leave()
	check("without a listener", false)
	again = listen(t, l, "stream", "client", nil)
	check("with a listener again", true)
	second, third := listen(t, l, "stream", "client", nil), listen(t, l, "stream", "client", nil)
	again.Leave()
	second.Leave()
	check("with one who has a slot of its own", true)
	third.Leave()
	check("when that one has left", false)
	again = listen(t, l, "stream", "client", nil)
	a.EndStream()
	check("when the stream has ended", false)
	a.Leave()
	again.Leave()
	unheard.EndStream()
	unheard.Leave()
	wantOpen(t, "in the end", l, 0)
}

// The last listener of a stream that is over releases the reservation of the chat. Without a listener, the chat does.
func TestLastListenerReleasesTheReservation(t *testing.T) {
	r := new(fakeReservation)
	l, _ := newCountedLimiter(t, store.Decision{Reservation: r})
	a := beginStream(t, l, "stream", "client")
	again := listen(t, l, "stream", "client", nil)
	a.EndStream()
	a.Leave()
	a.LeaveStream()
	r.want(t, "while one listens")
	again.Leave()
	r.want(t, "after the last", "release true")

	a = beginStream(t, l, "stream", "client")
	a.LeaveStream()
	a.EndStream()
	r.want(t, "before the exchange is over")
	a.Leave()
	r.want(t, "when it is over and no visitor listens", "release true")
}

// NoClient is called for each refusal of a chat or a listener without a client, and for no other.
func TestRefusalsWithoutAClient(t *testing.T) {
	l := newTestLimiter(t)
	defer closeLimiter(t, l)
	l.config.MaxPerClient = 1
	told := 0
	l.config.NoClient = func() { told++ }
	for _, client := range []string{"", "client"} {
		first, err := l.Admit(make(http.Header), Request{Client: client}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Leave()
		if _, err := l.Admit(make(http.Header), Request{Client: client}, nil); err != errClientStreams {
			t.Errorf("%q: got the error %v", client, err)
		}
		listen(t, l, "elsewhere", client, errClientStreams)
	}
	if told != 2 {
		t.Errorf("NoClient was called %d times, want 2", told)
	}
}
