package redisstore

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
)

// newBenchStore opens a store at a Redis of its own.
func newBenchStore(b *testing.B) *redisStore {
	b.Helper()
	c := &Redis{Address: []string{redistest.Start(b).Socket}, Prefix: defaultPrefix, logger: zap.NewNop()}
	c.addresses = c.Address
	s, err := c.newStore(b.Name(), newInstance())
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.Destruct() }) // never fails
	for s.counting.now() == 0 {
		time.Sleep(time.Millisecond)
	}
	return s
}

// measure begins to measure the processor time of this process and of Redis. The returned function reports it.
func (s *redisStore) measure(b *testing.B) (report func()) {
	ours, redis := processorTime(b), s.redisTime(b)
	return func() {
		b.ReportMetric(float64(processorTime(b)-ours)/float64(b.N), "cpu-ns/op")
		b.ReportMetric(float64(s.redisTime(b)-redis)/float64(b.N), "redis-ns/op")
	}
}

// processorTime returns the processor time of this process so far.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// redisTime returns the processor time of Redis so far.
func (s *redisStore) redisTime(b *testing.B) (total time.Duration) {
	b.Helper()
	info, err := s.link.plain().Info(b.Context(), "cpu").Result()
	if err != nil {
		b.Fatal(err)
	}
	for _, field := range []string{"used_cpu_sys:", "used_cpu_user:"} {
		_, after, _ := strings.Cut(info, field)
		seconds, err := time.ParseDuration(strings.TrimSpace(strings.SplitN(after, "\n", 2)[0]) + "s")
		if err != nil {
			b.Fatal(err)
		}
		total += seconds
	}
	return total
}

// An event has the size of a typical one.
var benchEvent = []byte("id: 0123456789abcdefghijkl:123\ndata: " + strings.Repeat("x", 100) + "\n\n")

var benchTerms = store.Terms{Grace: time.Minute, Keep: time.Second, MaxSize: 1 << 30, MaxTotal: 1 << 30}

// BenchmarkAppend measures an event that comes by itself: Redis has it before the next one comes.
func BenchmarkAppend(b *testing.B) {
	s := newBenchStore(b)
	begun, first := s.Create("id", store.Meta{}, benchTerms)
	begun.Open(http.Header{})
	first.Close()
	source := begun.(*source)
	chunk := store.Chunk{Data: benchEvent, Ends: []int{len(benchEvent)}}
	b.ReportAllocs()
	defer s.measure(b)()
	for b.Loop() {
		if err := source.Append(b.Context(), chunk); err != nil {
			b.Fatal(err)
		}
		for !source.replica.isSettled() {
			time.Sleep(10 * time.Microsecond)
		}
	}
}

// BenchmarkStreams measures short answers of many visitors at once: each has 20 events.
func BenchmarkStreams(b *testing.B) {
	s := newBenchStore(b)
	b.ReportAllocs()
	const visitors = 64
	var wg sync.WaitGroup
	b.ResetTimer()
	defer s.measure(b)()
	for v := range visitors {
		wg.Go(func() {
			for i := v; i < b.N; i += visitors {
				source, first := s.Create(fmt.Sprint("id", i), store.Meta{}, benchTerms)
				source.Open(http.Header{"Content-Type": {"text/event-stream"}})
				first.Close()
				for range 20 {
					_ = source.Append(b.Context(), store.Chunk{Data: benchEvent, Ends: []int{len(benchEvent)}})
				}
				source.Finish(store.Chunk{}, store.End{Reason: "stop"})
				<-done(source)
			}
		})
	}
	wg.Wait()
}

// done returns a channel that is closed when Redis has the end.
func done(s store.Source) <-chan struct{} { return s.(*source).replica.done }

// BenchmarkPace measures an event of 400 streams that have one each at the same time.
func BenchmarkPace(b *testing.B) {
	s := newBenchStore(b)
	const streams, events = 400, 1000
	sources := make([]store.Source, streams)
	chunk := store.Chunk{Data: benchEvent, Ends: []int{len(benchEvent)}}
	b.ReportAllocs()
	b.ResetTimer()
	defer s.measure(b)()
	for i := range b.N {
		if i%(streams*events) < streams { // a new answer, because one that goes on would need more and more memory
			if old := sources[i%streams]; old != nil {
				old.Finish(store.Chunk{}, store.End{})
			}
			source, first := s.Create(fmt.Sprint("id", i), store.Meta{}, benchTerms)
			source.Open(http.Header{})
			first.Close()
			sources[i%streams] = source
		}
		if err := sources[i%streams].Append(b.Context(), chunk); err != nil {
			b.Fatal(err)
		}
	}
	for _, source := range sources {
		if source != nil {
			source.Finish(store.Chunk{}, store.End{})
			<-done(source)
		}
	}
}
