package store_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
	"github.com/illumichat/caddy-illumichat/store/storetest"
)

func openMemory(t *testing.T) store.Store {
	t.Helper()
	s, err := new(store.Memory).Open(t.Name())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestMemory(t *testing.T) { storetest.Run(t, openMemory) }

// The memory of many streams without listeners is bounded, whether the streams have ended or not.
func TestMemoryIsBounded(t *testing.T) {
	const streams, size, total = 10_000, 20_000, 16 << 20
	event := []byte("data: " + strings.Repeat("x", 192) + "\n\n")
	for name, finish := range map[string]bool{"finished": true, "abandoned": false} {
		t.Run(name, func(t *testing.T) {
			s := openMemory(t)
			terms := store.Terms{Grace: time.Minute, Keep: time.Minute, MaxSize: 1 << 20, MaxTotal: total}
			before := heap()
			var sources []store.Source
			kept := 0
			for i := range streams {
				source, first := s.Create(fmt.Sprint("stream", i), store.Meta{}, terms)
				source.Open(http.Header{})
				first.Close()
				for n := 0; n < size && source.Append(t.Context(), store.Chunk{Data: event, Ends: []int{len(event)}}) == nil; n += len(event) {
				}
				if finish {
					source.Finish(store.Chunk{}, store.End{})
				} else {
					sources = append(sources, source)
				}
			}
			for i := range streams {
				if _, err := s.Find(t.Context(), fmt.Sprint("stream", i)); err == nil {
					kept++
				}
			}
			used := heap() - before
			t.Logf("%d of %d streams are kept, in %d KiB", kept, streams, used>>10)
			if kept < total/size/2 || kept > total/size {
				t.Errorf("%d streams are kept", kept)
			}
			// A stream that is no longer kept takes up little memory, until its source finishes.
			if most := total + total/5 + len(sources)*2<<10; used > most {
				t.Errorf("%d KiB are used, more than %d", used>>10, most>>10)
			}
			if _, err := s.Find(t.Context(), fmt.Sprint("stream", streams-1)); finish != (err == nil) {
				t.Errorf("of the last stream, got %v", err)
			}
			for _, source := range sources {
				source.Finish(store.Chunk{}, store.End{})
			}
		})
	}
}

// The bytes that listeners have yet to read are bounded as well.
func TestMemoryOfSlowListenersIsBounded(t *testing.T) {
	const total = 4 << 20
	s := openMemory(t)
	terms := store.Terms{Grace: time.Minute, Keep: time.Minute, MaxSize: 1 << 20, MaxTotal: total}
	event := []byte("data: " + strings.Repeat("x", 992) + "\n\n")
	before := heap()
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // so that Append fails instead of waiting for a listener
	var listeners []store.Listener
	for i := range 200 {
		source, listener := s.Create(fmt.Sprint("stream", i), store.Meta{}, terms)
		source.Open(http.Header{})
		for n := 0; n < 900 && source.Append(ctx, store.Chunk{Data: event, Ends: []int{len(event)}}) == nil; n++ {
		}
		source.Finish(store.Chunk{}, store.End{})
		listeners = append(listeners, listener)
	}
	// Beyond the total, a stream that is no longer kept holds at most a window and a segment for its listener.
	if used, most := heap()-before, total+total/5+len(listeners)*(80<<10); used > most {
		t.Errorf("%d KiB are used, more than %d", used>>10, most>>10)
	}
	for _, listener := range listeners {
		listener.Close()
	}
	if used := heap() - before; used > total+total/5 {
		t.Errorf("when nobody listens, %d KiB are used", used>>10)
	}
}

// Streams that have failed, and claims that came too late, take up no memory.
func TestFailedStreamsAreForgotten(t *testing.T) {
	s := openMemory(t)
	terms := store.Terms{Grace: time.Minute, Keep: time.Minute, MaxSize: 1 << 10, MaxTotal: 64 << 10}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 500 {
				source, listener, taken := s.Claim("id", store.Meta{}, terms, nil)
				if taken != nil {
					continue
				}
				listener.Close()
				source.Fail(nil)
			}
		})
	}
	wg.Wait()
	source, listener, taken := s.Claim("id", store.Meta{}, terms, nil)
	if taken != nil {
		t.Fatal("the id is still taken")
	}
	defer listener.Close()
	if _, err := s.Find(t.Context(), "id"); err != nil {
		t.Errorf("there is no room for a stream: %v", err)
	}
	source.Fail(nil)
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

func BenchmarkMemory(b *testing.B) {
	s, err := new(store.Memory).Open(b.Name())
	if err != nil {
		b.Fatal(err)
	}
	defer s.Close()
	event := []byte("data: " + strings.Repeat("x", 92) + "\n\n")
	ends := []int{len(event)}
	b.ReportAllocs()
	terms := store.Terms{Grace: time.Minute, Keep: time.Minute, MaxSize: 1 << 20, MaxTotal: 1 << 30}
	var source store.Source
	var listener store.Listener
	n := 0
	for b.Loop() {
		if n%5000 == 0 {
			if source != nil {
				source.Finish(store.Chunk{}, store.End{})
			}
			terms.Keep = time.Nanosecond
			source, listener = s.Create(fmt.Sprint(n), store.Meta{}, terms)
			source.Open(http.Header{})
		}
		n++
		if err := source.Append(b.Context(), store.Chunk{Data: event, Ends: ends}); err != nil {
			b.Fatal(err)
		}
		if piece, err := listener.Read(); err != nil || piece.Events != 1 {
			b.Fatal(piece, err)
		}
	}
}
