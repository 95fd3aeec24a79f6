// Package storetest contains the tests that every store must pass: [Run], and [RunCounter] if it is a counter, too.
package storetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// patience is the longest wait for something that should happen soon.
const patience = 10 * time.Second

// terms are the terms of streams whose test needs no others.
var terms = store.Terms{Grace: time.Minute, Keep: time.Minute, MaxSize: 1 << 20, MaxTotal: 64 << 20}

// Run tests the contract of store.Store. It calls open twice for each subtest, with the
// subtest's t. The two stores must keep the same streams: they may be one store, or stores of two instances. open must
// close its store in t.Cleanup.
func Run(t *testing.T, open func(t *testing.T) store.Store) {
	for name, test := range map[string]func(*testing.T, store.Store, store.Store){
		"what is not there":         testNotFound,
		"what was told":             testMeta,
		"reading from anywhere":     testReading,
		"torn events":               testTornEvents,
		"waiting":                   testWaiting,
		"listeners at random":       testListeners,
		"stopping":                  testStop,
		"nobody listening":          testGrace,
		"somebody coming back":      testComingBack,
		"an end that is kept":       testKeep,
		"more than is kept of one":  testMaxSize,
		"a slow listener":           testSlowListener,
		"a listener of what is not": testUnkeptListener,
		"waiting for the header":    testOpen,
		"failing":                   testFail,
		"a chosen id":               testClaim,
		"one id at the same time":   testClaimAtOnce,
		"what begins with a claim":  testBegins,
		"an id that is not kept":    testClaimUnkept,
		"stopping before it opens":  testStopBeforeOpen,
		"leaving before it opens":   testGraceBeforeOpen,
		"a slow one of two":         testSlowOfTwo,
		"after more than there is":  testAfterTheEnd,
	} {
		t.Run(name, func(t *testing.T) { test(t, open(t), open(t)) })
	}
}

var ids struct {
	mu   sync.Mutex
	last int
}

func newID() string {
	ids.mu.Lock()
	defer ids.mu.Unlock()
	ids.last++
	return fmt.Sprintf("stream-%d-%d", ids.last, rand.Uint32())
}

// event returns the bytes of the event with a number.
func event(n int) string { return fmt.Sprintf("data: %d\n\n", n) }

// events returns the bytes of the events whose numbers lie between from and to, both included.
func events(from, to int) string {
	var all strings.Builder
	for n := from; n <= to; n++ {
		all.WriteString(event(n))
	}
	return all.String()
}

// appendEvents appends events in one chunk.
func appendEvents(t *testing.T, source store.Source, from, to int) {
	t.Helper()
	if err := source.Append(t.Context(), store.Chunk{Data: []byte(events(from, to)), Ends: endsOf(from, to)}); err != nil {
		t.Fatal(err)
	}
}

// header is the header of streams.
var header = http.Header{"X-Chat-Id": {"chat_1"}}

// begin creates a stream and opens it.
func begin(s store.Store, id string, meta store.Meta, terms store.Terms) (store.Source, store.Listener) {
	source, first := s.Create(id, meta, terms)
	source.Open(header)
	return source, first
}

func endsOf(from, to int) (ends []int) {
	end := 0
	for n := from; n <= to; n++ {
		end += len(event(n))
		ends = append(ends, end)
	}
	return ends
}

func find(t *testing.T, s store.Store, id string) store.Stream {
	t.Helper()
	stream, err := s.Find(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func listen(t *testing.T, s store.Store, id string, after int64) store.Listener {
	t.Helper()
	listener, err := find(t, s, id).Listen(after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(listener.Close)
	return listener
}

// read reads until the end of the stream, or until it has read most events or more.
func read(t *testing.T, listener store.Listener, most int) (got string, n int, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for n < most {
		listener.Header() // else Wait would tell of it
		piece, err := listener.Read()
		if err != nil {
			return got, n, err
		}
		got += string(piece.Data)
		n += piece.Events
		if len(piece.Data) > 0 && listener.Header().Get("X-Chat-Id") != "chat_1" {
			t.Errorf("a piece came with the header %v", listener.Header())
		}
		if torn := !strings.HasSuffix(got, "\n\n"); len(piece.Data) > 0 && piece.Torn != torn {
			t.Errorf("a piece that ends with %.20q is torn: %v", got[max(0, len(got)-20):], piece.Torn)
		}
		if len(piece.Data) == 0 {
			if err := listener.Wait(ctx); err != nil {
				t.Fatalf("waiting after %d events: %v", n, err)
			}
		}
	}
	return got, n, nil
}

const all = 1 << 30

// wantAll checks that a listener gets the rest of a stream: the events whose numbers lie between from and to.
func wantAll(t *testing.T, listener store.Listener, from, to int) {
	t.Helper()
	got, n, err := read(t, listener, all)
	if want := events(from, to); got != want || n != to-from+1 || err != io.EOF {
		t.Errorf("got %d events and %v: %.100q, want events %d to %d", n, err, got, from, to)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("this did not happen in %s: %s", patience, what)
		}
	}
}

func isGone(t *testing.T, s store.Store, id string) bool {
	t.Helper()
	_, err := s.Find(t.Context(), id)
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		t.Fatal(err)
	}
	return err != nil
}

// awaitEnd waits until s has the stream's end, after the given number of events.
func awaitEnd(t *testing.T, s store.Store, id string, events int64) {
	t.Helper()
	eventually(t, "it is found", func() bool { return !isGone(t, s, id) })
	eventually(t, "all is there", func() bool {
		_, err := find(t, s, id).Listen(events)
		return err == io.EOF
	})
}

func testNotFound(t *testing.T, s, _ store.Store) {
	if !isGone(t, s, newID()) {
		t.Error("a stream is found that never was")
	}
}

func testMeta(t *testing.T, s, other store.Store) {
	id := newID()
	meta := store.Meta{Owner: "me", Assistant: "asst_demo"}
	source, first := begin(s, id, meta, terms)
	defer first.Close()
	eventually(t, "it is found", func() bool { return !isGone(t, other, id) })
	if got := find(t, other, id).Meta(); got != meta {
		t.Errorf("got %+v", got)
	}
	source.Finish(store.Chunk{}, store.End{Reason: "length"})
	wantAll(t, first, 1, 0)
	if end := first.End(); end != (store.End{Reason: "length"}) {
		t.Errorf("got the end %+v", end)
	}
}

func testReading(t *testing.T, s, other store.Store) {
	const n = 200
	id := newID()
	source, first := begin(s, id, store.Meta{}, terms)
	for at := 1; at <= n; {
		to := min(n, at+rand.IntN(7))
		appendEvents(t, source, at, to)
		at = to + 1
	}
	source.Finish(store.Chunk{}, store.End{Reason: "stop", Cause: "a cause"})
	wantAll(t, first, 1, n)
	awaitEnd(t, other, id, n)
	for after := range n {
		listener := listen(t, other, id, int64(after))
		wantAll(t, listener, after+1, n)
		if end := listener.End(); end != (store.End{Reason: "stop", Cause: "a cause"}) {
			t.Fatalf("got the end %+v", end)
		}
	}
}

func testTornEvents(t *testing.T, s, other store.Store) {
	id := newID()
	source, first := begin(s, id, store.Meta{}, terms)
	defer first.Close()
	large := "data: " + strings.Repeat("x", 100_000) + "\n\n"
	appendEvents(t, source, 1, 2)
	for _, part := range []string{large[:30_000], large[30_000:60_000]} {
		if err := source.Append(t.Context(), store.Chunk{Data: []byte(part), Torn: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := source.Append(t.Context(), store.Chunk{Data: []byte(large[60_000:] + event(4)), Ends: []int{len(large) - 60_000, len(large) - 60_000 + len(event(4))}}); err != nil {
		t.Fatal(err)
	}
	source.Finish(store.Chunk{}, store.End{})
	want := events(1, 2) + large + event(4)
	awaitEnd(t, other, id, 4)
	for after := range 4 {
		got, n, err := read(t, listen(t, other, id, int64(after)), all)
		if !strings.HasSuffix(want, got) || n != 4-after || err != io.EOF {
			t.Errorf("after %d, got %d events and %v: %.50q", after, n, err, got)
		}
	}
}

func testWaiting(t *testing.T, s, other store.Store) {
	id := newID()
	source, first := begin(s, id, store.Meta{}, terms)
	defer first.Close()
	awaitHeader(t, first)
	if piece, err := first.Read(); err != nil || len(piece.Data) > 0 {
		t.Errorf("before there is anything, got %q and %v", piece.Data, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := first.Wait(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	eventually(t, "it is found", func() bool { return !isGone(t, other, id) })
	listener := listen(t, other, id, 0)
	go func() {
		for n := 1; n <= 20; n++ {
			_ = source.Append(t.Context(), store.Chunk{Data: []byte(event(n)), Ends: []int{len(event(n))}})
			time.Sleep(time.Millisecond)
		}
		source.Finish(store.Chunk{}, store.End{})
	}()
	wantAll(t, listener, 1, 20)
	wantAll(t, first, 1, 20)
}

// Listeners that leave and come back at either store get each event exactly once.
func testListeners(t *testing.T, s, other store.Store) {
	const n, listeners = 2000, 20
	id := newID()
	source, first := begin(s, id, store.Meta{}, terms)
	eventually(t, "it is found", func() bool { return !isGone(t, other, id) })
	var wg sync.WaitGroup
	for i := range listeners {
		wg.Go(func() {
			random := rand.New(rand.NewPCG(uint64(i), 1))
			got, at := "", 0
			for {
				from := s
				if random.IntN(2) == 0 {
					from = other
				}
				listener, err := find(t, from, id).Listen(int64(at))
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Error(err)
					return
				}
				more, events, err := read(t, listener, 1+random.IntN(300))
				listener.Close()
				got += more
				at += events
				if err == io.EOF {
					break
				}
			}
			if got != events(1, n) {
				t.Errorf("listener %d got %d events, and not all of them once", i, at)
			}
		})
	}
	for at := 1; at <= n; at += 10 {
		appendEvents(t, source, at, at+9)
	}
	source.Finish(store.Chunk{}, store.End{})
	wantAll(t, first, 1, n)
	wg.Wait()
}

func wantCause(t *testing.T, source store.Source, cause error) {
	t.Helper()
	select {
	case <-source.Context().Done():
	case <-time.After(patience):
		t.Fatal("the source goes on")
	}
	if got := context.Cause(source.Context()); !errors.Is(got, cause) {
		t.Errorf("got the cause %v, want %v", got, cause)
	}
}

func testStop(t *testing.T, s, other store.Store) {
	id := newID()
	source, first := begin(s, id, store.Meta{}, terms)
	appendEvents(t, source, 1, 3)
	eventually(t, "it is found", func() bool { return !isGone(t, other, id) })
	if err := find(t, other, id).Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantCause(t, source, store.ErrStopped)
	if err := source.Append(t.Context(), store.Chunk{Data: []byte("lost"), Ends: []int{4}}); !errors.Is(err, store.ErrStopped) {
		t.Errorf("got %v", err)
	}
	// Finish still adds its last chunk.
	source.Finish(store.Chunk{Data: []byte(event(4)), Ends: []int{len(event(4))}}, store.End{Cause: "stopped"})
	wantAll(t, first, 1, 4)
	if err := find(t, other, id).Stop(t.Context()); err != nil {
		t.Errorf("when it is over, got %v", err)
	}
}

func testGrace(t *testing.T, s, _ store.Store) {
	short := terms
	short.Grace = 100 * time.Millisecond
	source, first := begin(s, newID(), store.Meta{}, short)
	time.Sleep(2 * short.Grace)
	if source.Context().Err() != nil {
		t.Error("it has ended although somebody listens")
	}
	left := time.Now()
	first.Close()
	wantCause(t, source, store.ErrAbandoned)
	if took := time.Since(left); took < short.Grace {
		t.Errorf("it has ended after %s", took)
	}
	source.Finish(store.Chunk{}, store.End{})
}

func testComingBack(t *testing.T, s, other store.Store) {
	short := terms
	short.Grace = 300 * time.Millisecond
	id := newID()
	source, first := begin(s, id, store.Meta{}, short)
	appendEvents(t, source, 1, 1)
	eventually(t, "it is found", func() bool { return !isGone(t, other, id) })
	first.Close()
	listener := listen(t, other, id, 0)
	time.Sleep(3 * short.Grace)
	if source.Context().Err() != nil {
		t.Error("it has ended although somebody came back")
	}
	listener.Close()
	wantCause(t, source, store.ErrAbandoned)
	source.Finish(store.Chunk{}, store.End{})
}

func testKeep(t *testing.T, s, other store.Store) {
	short := terms
	short.Keep = time.Second
	id := newID()
	source, first := begin(s, id, store.Meta{}, short)
	appendEvents(t, source, 1, 3)
	source.Finish(store.Chunk{}, store.End{})
	first.Close()
	eventually(t, "it is found", func() bool { return !isGone(t, other, id) })
	wantAll(t, listen(t, other, id, 1), 2, 3)
	eventually(t, "it is forgotten", func() bool { return isGone(t, s, id) && isGone(t, other, id) })
}

func testMaxSize(t *testing.T, s, other store.Store) {
	small := terms
	small.MaxSize = 10_000
	id := newID()
	source, first := begin(s, id, store.Meta{}, small)
	done := make(chan struct{})
	go func() {
		defer close(done)
		wantAll(t, first, 1, 5000)
	}()
	for n := 1; n <= 5000; n += 50 {
		appendEvents(t, source, n, n+49)
	}
	source.Finish(store.Chunk{}, store.End{})
	<-done
	eventually(t, "it cannot be resumed", func() bool { return isGone(t, other, id) })
}

func testSlowListener(t *testing.T, s, other store.Store) {
	id := newID()
	source, first := begin(s, id, store.Meta{}, terms)
	eventually(t, "it is found", func() bool { return !isGone(t, other, id) })
	slow := listen(t, other, id, 0)
	appendEvents(t, source, 1, 20_000) // fewer bytes than terms.MaxSize
	source.Finish(store.Chunk{}, store.End{})
	wantAll(t, first, 1, 20_000)
	wantAll(t, slow, 1, 20_000)
}

func testUnkeptListener(t *testing.T, s, _ store.Store) {
	small := terms
	small.MaxSize = 100
	source, first := begin(s, newID(), store.Meta{}, small)
	appendEvents(t, source, 1, 100)
	first.Close()
	wantCause(t, source, store.ErrAbandoned)
	source.Finish(store.Chunk{}, store.End{})
}
