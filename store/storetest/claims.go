package storetest

import (
	"bytes"
	"errors"
	"io"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// awaitHeader waits until a listener has the stream's header.
func awaitHeader(t *testing.T, listener store.Listener) {
	t.Helper()
	eventually(t, "the header is there", func() bool { return listener.Header() != nil })
	if got := listener.Header().Get("X-Chat-Id"); got != "chat_1" {
		t.Errorf("got the header %v", listener.Header())
	}
}

// wantFailed checks that a listener gets Failed with a reason.
func wantFailed(t *testing.T, listener store.Listener, reason string) {
	t.Helper()
	_, _, err := read(t, listener, all)
	if failed, ok := errors.AsType[*store.Failed](err); !ok || string(failed.Reason) != reason {
		t.Errorf("got %v, want the reason %q", err, reason)
	}
}

// Listeners wait for the header, and a stream has none before it is opened.
func testOpen(t *testing.T, s, other store.Store) {
	id := newID()
	source, first := s.Create(id, store.Meta{}, terms)
	defer first.Close()
	eventually(t, "it is found before it is opened", func() bool { return !isGone(t, other, id) })
	listeners := []store.Listener{first, listen(t, s, id, 0), listen(t, other, id, 0)}
	for i, listener := range listeners {
		if piece, err := listener.Read(); listener.Header() != nil || len(piece.Data) > 0 || err != nil {
			t.Errorf("listener %d has the header %v, %q and %v", i, listener.Header(), piece.Data, err)
		}
	}
	source.Open(header)
	for _, listener := range listeners {
		awaitHeader(t, listener)
	}
	appendEvents(t, source, 1, 3)
	source.Finish(store.Chunk{}, store.End{})
	for _, listener := range listeners {
		wantAll(t, listener, 1, 3)
	}
	awaitEnd(t, other, id, 3)
	late := listen(t, other, id, 2)
	awaitHeader(t, late)
	wantAll(t, late, 3, 3)
}

// If a stream fails, all who wait get the reason, and another stream may have its id.
func testFail(t *testing.T, s, other store.Store) {
	id := newID()
	source, first, taken := s.Claim(id, store.Meta{}, terms, nil)
	if taken != nil {
		t.Fatal("a new id is taken")
	}
	defer first.Close()
	eventually(t, "it is found", func() bool { return !isGone(t, other, id) })
	listeners := []store.Listener{first, listen(t, s, id, 0), listen(t, other, id, 0)}
	source.Fail([]byte("a reason"))
	for _, listener := range listeners {
		wantFailed(t, listener, "a reason")
	}
	if source.Context().Err() == nil {
		t.Error("its context goes on")
	}
	eventually(t, "it is forgotten", func() bool { return isGone(t, s, id) && isGone(t, other, id) })
	again, second, taken := other.Claim(id, store.Meta{}, terms, nil)
	if taken != nil {
		t.Fatal("the id of a stream that has failed is taken")
	}
	again.Open(header)
	appendEvents(t, again, 1, 2)
	again.Finish(store.Chunk{}, store.End{})
	wantAll(t, second, 1, 2)
	awaitEnd(t, s, id, 2)
	wantAll(t, listen(t, s, id, 0), 1, 2)
}

// A claim of an id finds the stream that has it, in each of its phases.
func testClaim(t *testing.T, s, other store.Store) {
	id := newID()
	source, first, taken := s.Claim(id, store.Meta{Owner: "me"}, terms, nil)
	if taken != nil {
		t.Fatal("a new id is taken")
	}
	wantTaken := func(phase string) {
		t.Helper()
		for _, at := range []store.Store{s, other} {
			source, first, taken := at.Claim(id, store.Meta{Owner: "you"}, terms, nil)
			if taken == nil {
				t.Fatalf("%s, the id is claimed again", phase)
			}
			if source != nil || first != nil || taken.Meta().Owner != "me" {
				t.Errorf("%s, got %v, %v and the owner %q", phase, source, first, taken.Meta().Owner)
			}
		}
	}
	wantTaken("before the header")
	_, _, taken = other.Claim(id, store.Meta{}, terms, nil)
	listener, err := taken.Listen(0)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	source.Open(header)
	wantTaken("after the header")
	appendEvents(t, source, 1, 5)
	wantTaken("after some events")
	source.Finish(store.Chunk{}, store.End{})
	wantTaken("after the end")
	wantAll(t, first, 1, 5)
	wantAll(t, listener, 1, 5)
}

// The id of a stream that is too long to be kept is taken as long as the stream is written, and the stream can be stopped.
func testClaimUnkept(t *testing.T, s, other store.Store) {
	small := terms
	small.MaxSize = 100
	id := newID()
	source, first, _ := s.Claim(id, store.Meta{Owner: "me"}, small, nil)
	source.Open(header)
	appendEvents(t, source, 1, 100)
	for name, at := range map[string]store.Store{"here": s, "elsewhere": other} {
		eventually(t, name+", it cannot be resumed", func() bool { return isGone(t, at, id) })
		if _, _, taken := at.Claim(id, store.Meta{}, small, nil); taken == nil || taken.Meta().Owner != "me" {
			t.Fatalf("%s, the id is claimed again", name)
		} else if _, err := taken.Listen(0); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("%s, listening to it gets %v", name, err)
		}
	}
	stream, err := other.FindToStop(t.Context(), id)
	if err != nil || stream.Meta().Owner != "me" {
		t.Fatalf("it cannot be stopped: %v", err)
	}
	if err := stream.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCause(t, source, store.ErrStopped)
	source.Finish(store.Chunk{}, store.End{})
	wantAll(t, first, 1, 100)
	for name, at := range map[string]store.Store{"here": s, "elsewhere": other} {
		eventually(t, name+", the id is free", func() bool {
			source, first, taken := at.Claim(id, store.Meta{}, small, nil)
			if taken != nil {
				return false
			}
			first.Close()
			source.Fail(nil)
			return true
		})
	}
}

// A lookup at the same instance finds the stream of a claim only after begins was called. begins is called once.
func testBegins(t *testing.T, s, _ store.Store) {
	for range 20 {
		id := newID()
		var calls atomic.Int32
		var begun store.Source
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() {
				source, first, taken := s.Claim(id, store.Meta{}, terms, func() {
					runtime.Gosched() // so that others come meanwhile
					calls.Add(1)
				})
				if n := calls.Load(); n != 1 {
					t.Errorf("when the claim is known, begins was called %d times", n)
				}
				if taken == nil {
					begun = source
					first.Close()
				}
			})
		}
		all.Wait()
		begun.Fail(nil)
	}
}

// If many callers claim an id at the same time, one begins the stream, and all others find it.
func testClaimAtOnce(t *testing.T, s, other store.Store) {
	for range 20 {
		id := newID()
		var begun atomic.Int32
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				source, listener, taken := []store.Store{s, other}[i%2].Claim(id, store.Meta{}, terms, nil)
				if taken != nil {
					var err error
					if listener, err = taken.Listen(0); err != nil {
						t.Error(err)
						return
					}
				} else {
					begun.Add(1)
					source.Open(header)
					appendEvents(t, source, 1, 2)
					source.Finish(store.Chunk{}, store.End{})
				}
				defer listener.Close()
				wantAll(t, listener, 1, 2)
			})
		}
		wg.Wait()
		if n := begun.Load(); n != 1 {
			t.Fatalf("%d streams with one id are begun", n)
		}
	}
}

func testStopBeforeOpen(t *testing.T, s, other store.Store) {
	id := newID()
	source, first := s.Create(id, store.Meta{}, terms)
	defer first.Close()
	eventually(t, "it is found", func() bool { return !isGone(t, other, id) })
	if err := find(t, other, id).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCause(t, source, store.ErrStopped)
	source.Open(header)
	source.Finish(store.Chunk{Data: []byte(event(1)), Ends: []int{len(event(1))}}, store.End{})
	wantAll(t, first, 1, 1)
}

func testGraceBeforeOpen(t *testing.T, s, other store.Store) {
	short := terms
	short.Grace = 300 * time.Millisecond
	id := newID()
	source, first := s.Create(id, store.Meta{}, short)
	eventually(t, "it is found", func() bool { return !isGone(t, other, id) })
	first.Close()
	listener := listen(t, other, id, 0)
	time.Sleep(3 * short.Grace)
	if source.Context().Err() != nil {
		t.Error("it has ended although somebody waits")
	}
	listener.Close()
	wantCause(t, source, store.ErrAbandoned)
	source.Fail(nil)
}

// Once a stream is too long to be kept, nobody waits for the slower of two listeners.
func testSlowOfTwo(t *testing.T, s, _ store.Store) {
	small := terms
	small.MaxSize = 10_000
	id := newID()
	source, first := begin(s, id, store.Meta{}, small)
	slow := listen(t, s, id, 0)
	appendEvents(t, source, 1, 100)
	done := make(chan struct{})
	go func() {
		defer close(done)
		wantAll(t, first, 1, 20_000)
	}()
	for n := 101; n <= 20_000; n += 100 {
		appendEvents(t, source, n, n+99)
	}
	source.Finish(store.Chunk{}, store.End{})
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("the fast one waits for the slow one")
	}
	got, _, err := read(t, slow, all)
	if !errors.Is(err, store.ErrLost) || !strings.HasPrefix(events(1, 20_000), got) {
		t.Errorf("the slow one got %v after %d bytes", err, len(got))
	}
}

// A listener that claims to have more than the stream ever gets learns of its end.
func testAfterTheEnd(t *testing.T, s, other store.Store) {
	id := newID()
	source, first := begin(s, id, store.Meta{}, terms)
	defer first.Close()
	appendEvents(t, source, 1, 3)
	eventually(t, "it is found", func() bool { return !isGone(t, other, id) })
	listener := listen(t, other, id, 1000)
	appendEvents(t, source, 4, 6)
	source.Finish(store.Chunk{}, store.End{Reason: "stop"})
	got, _, err := read(t, listener, all)
	if !bytes.HasSuffix([]byte(events(1, 6)), []byte(got)) || err != io.EOF || listener.End().Reason != "stop" {
		t.Errorf("got %q, %v and the end %+v", got, err, listener.End())
	}
}
