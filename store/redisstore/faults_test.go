package redisstore

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
)

// lostWithin is the time within which a listener must learn that a stream is lost.
const lostWithin = 5 * time.Second

var terms = store.Terms{Grace: time.Minute, Keep: time.Minute, MaxSize: 1 << 20, MaxTotal: 64 << 20}

// begun is a stream that has a listener at its own instance.
type begun struct {
	*source
	first store.Listener
}

// claim begins a stream.
func (s *redisStore) claim(t *testing.T, id string) *begun {
	t.Helper()
	created, first := s.Create(id, store.Meta{}, terms)
	created.Open(http.Header{})
	t.Cleanup(first.Close)
	return &begun{created.(*source), first}
}

// write appends events, each of which becomes an entry in Redis.
func (s *source) write(t *testing.T, from, to int) {
	t.Helper()
	for n := from; n <= to; n++ {
		event := fmt.Sprintf("data: %d\n\n", n)
		if err := s.Append(t.Context(), store.Chunk{Data: []byte(event), Ends: []int{len(event)}}); err != nil {
			t.Fatal(err)
		}
		eventually(t, "Redis has it, or never will", s.replica.isSettled)
	}
}

// isSettled reports whether Redis has what there is. It has that sent at once, so that tests need not wait for it.
func (r *replica) isSettled() bool {
	r.of.sender(r.of.store.link.shardOf(r.key)).hasten()
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.over || r.claimed && r.next.what == nothing && !r.queued && !r.busy
}

// hasten sends all that is queued at once.
func (d *sender) hasten() {
	d.mu.Lock()
	if len(d.queue)+len(d.unread) > 0 {
		d.awaited, d.since = true, time.Time{}
	}
	d.mu.Unlock()
	d.start()
}

// listen waits until the store finds a stream, and listens to it.
func (s *redisStore) listen(t *testing.T, id string, after int64) store.Listener {
	t.Helper()
	var stream store.Stream
	eventually(t, "the stream is known", func() (found bool) {
		var err error
		stream, err = s.Find(t.Context(), id)
		return err == nil
	})
	listener, err := stream.Listen(after)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(listener.Close)
	return listener
}

// readOn reads to the end of a stream, or to an error.
func readOn(t *testing.T, listener store.Listener) (got string, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for {
		listener.Header() // else Wait would tell of it
		piece, err := listener.Read()
		if err != nil {
			return got, err
		}
		got += string(piece.Data)
		if err := listener.Wait(ctx); err != nil {
			t.Fatalf("after %q: %v", got, err)
		}
	}
}

// wantLost checks that a listener gets a part of a stream, and soon learns that the rest is lost.
func wantLost(t *testing.T, listener store.Listener, want string) {
	t.Helper()
	asked := time.Now()
	got, err := readOn(t, listener)
	if got != want || !errors.Is(err, store.ErrLost) {
		t.Errorf("got %v after %q, want it to be lost after %q", err, got, want)
	}
	if took := time.Since(asked); took > lostWithin {
		t.Errorf("that was told after %s", took)
	}
}

// restartWithout restarts Redis without the data that write has written to it. A crash can lose data like this, and so
// can a failover to a replica that is behind.
func restartWithout(t *testing.T, server *redistest.Server, s *redisStore, write func()) {
	t.Helper()
	server.Do("SAVE")
	write()
	server.Kill()
	server.Run()
	eventually(t, "Redis is found again", func() bool { return s.show() == nil })
	s.link.topology.seed.mend()
}

// If Redis has lost entries, listeners learn of it, instead of getting a stream with a gap.
func TestRedisComesBackWithLess(t *testing.T) {
	server := redistest.Start(t)
	config := at(server.Socket)
	here, there := openInstance(t, config), openInstance(t, config)
	stream := here.claim(t, "id")
	stream.write(t, 1, 3)
	restartWithout(t, server, here, func() { stream.write(t, 4, 5) })
	stream.write(t, 6, 7)
	stream.Finish(store.Chunk{}, store.End{})
	eventually(t, "Redis can be reached", there.Shared)
	wantLost(t, there.listen(t, "id", 0), "data: 1\n\ndata: 2\n\ndata: 3\n\n")
	wantLost(t, there.listen(t, "id", 4), "")
	if got, err := readOn(t, there.listen(t, "id", 6)); got != "data: 7\n\n" || err != io.EOF {
		t.Errorf("after the gap, got %q and %v", got, err)
	}
}

// If Redis has lost the end of a stream, listeners learn of it, instead of waiting.
func TestRedisComesBackWithoutTheEnd(t *testing.T) {
	server := redistest.Start(t)
	config := at(server.Socket)
	here, there := openInstance(t, config), openInstance(t, config)
	stream := here.claim(t, "id")
	stream.write(t, 1, 3)
	restartWithout(t, server, here, func() {
		stream.Finish(store.Chunk{}, store.End{})
		<-stream.replica.done
	})
	eventually(t, "Redis can be reached", there.Shared)
	wantLost(t, there.listen(t, "id", 0), "data: 1\n\ndata: 2\n\ndata: 3\n\n")
}

// If a Redis account lacks a permission, nothing else is affected, and the log says so once.
func TestRefusedCommand(t *testing.T) {
	server := redistest.Start(t)
	server.Do("ACL", "SETUSER", "default", "-xadd")
	core, logs := observer.New(zapcore.InfoLevel)
	s := openLogged(t, at(server.Socket), core)
	for n := range 3 {
		stream := s.claim(t, fmt.Sprint("id", n))
		eventually(t, "it was tried", func() bool {
			stream.replica.mu.Lock()
			defer stream.replica.mu.Unlock()
			return stream.replica.begun && s.Shared()
		})
		if err := s.show(); err != nil {
			t.Error(err)
		}
	}
	eventually(t, "that is told", func() bool { return logs.Len() > 0 })
	if logs.Len() != 1 || !s.Shared() {
		t.Errorf("it is down: %v, told: %v", !s.Shared(), logs.All())
	}
}

func openLogged(t *testing.T, config string, core zapcore.Core) *redisStore {
	t.Helper()
	c, err := provision(t, config)
	if err != nil {
		t.Fatal(err)
	}
	c.logger = zap.New(core)
	s, err := c.newStore(t.Name(), newInstance())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Destruct() }) // never fails
	return s
}

// The log holds no part of an answer, although Redis repeats the arguments of a command that it does not know.
func TestLogHoldsNoAnswer(t *testing.T) {
	server := redistest.Start(t, "--rename-command", "XADD", "")
	core, logs := observer.New(zapcore.DebugLevel)
	s := openLogged(t, at(server.Socket), core)
	s.claim(t, "an-id")
	eventually(t, "the refusal is told", func() bool { return logs.Len() > 0 })
	for _, entry := range logs.All() {
		if line := fmt.Sprint(entry.Message, entry.ContextMap()); strings.Contains(line, "an-id") || !strings.Contains(line, "unknown command") {
			t.Errorf("got the line %s", line)
		}
	}
}

// Orders are carried out whatever Redis's clock says.
func TestOrdersOfAnEarlierTime(t *testing.T) {
	server := redistest.Start(t)
	s := openInstance(t, at(server.Socket))
	stream := s.claim(t, "id")
	order := func(age time.Duration, key string, fields ...string) {
		t.Helper()
		add := &redis.XAddArgs{Stream: key, ID: fmt.Sprint(time.Now().Add(-age).UnixMilli()), Values: fields}
		if err := s.link.plain().XAdd(t.Context(), add).Err(); err != nil {
			t.Fatal(err)
		}
	}
	inbox, stops := s.keys.inbox(s.instance), s.keys.stops(s.instance)
	order(0, inbox, orderHeard, "id", orderFrom, "another", orderFor, "1000")
	order(0, stops, orderStop, "another")
	eventually(t, "the orders are obeyed", func() bool {
		return s.link.plain().XLen(t.Context(), inbox).Val()+s.link.plain().XLen(t.Context(), stops).Val() == 0
	})
	server.Do("FLUSHALL")
	order(time.Minute, stops, orderStop, "id")
	select {
	case <-stream.Context().Done():
	case <-time.After(patience):
		t.Error("the stop is not obeyed")
	}
}

// Configs whose placeholders resolve to different values do not share a store.
func TestStoresThatAreShared(t *testing.T) {
	file := filepath.Join(t.TempDir(), "address")
	key := func(config, address string) string {
		t.Helper()
		if err := os.WriteFile(file, []byte(address), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := provision(t, config)
		if err != nil {
			t.Fatal(err)
		}
		return c.poolKey("scope")
	}
	config := fmt.Sprintf(`{"address": ["{file.%s}"], "tls": {}}`, file)
	first, again, other := key(config, "a:1"), key(config, "a:1"), key(config, "b:1")
	if first != again {
		t.Error("the same config has two stores")
	}
	if first == other {
		t.Error("two addresses have one store")
	}
}

// A config that trusts another certificate, or the new content of a certificate's file, has another store. A config
// whose certificates are the same has the same one.
func TestStoresThatTrustTheSame(t *testing.T) {
	cert, _ := localhost.Certificate(t)
	content, err := os.ReadFile(cert)
	if err != nil {
		t.Fatal(err)
	}
	other := filepath.Join(t.TempDir(), "other.pem")
	key := func(ca string, certificates string) string {
		t.Helper()
		if err := os.WriteFile(other, []byte(certificates), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := provision(t, fmt.Sprintf(`{"tls": {"ca": %s}}`, ca))
		if err != nil {
			t.Fatal(err)
		}
		return c.poolKey("scope")
	}
	files := func(names ...string) string {
		list, _ := json.Marshal(names)
		return fmt.Sprintf(`{"provider": "file", "pem_files": %s}`, list)
	}
	first := key(files(cert), "")
	if again := key(files(cert), ""); again != first {
		t.Error("the same file has two stores")
	}
	if fewer := key(files(cert, other), string(content)); fewer == first {
		t.Error("fewer certificates have the same store")
	}
	before, after := key(files(other), string(content)), key(files(other), string(content)+"\n"+string(content))
	if before == after {
		t.Error("the new content of a file has the same store")
	}
}

// After a reload with another config, an instance finds what it writes itself, also while Redis fails.
func TestFindAfterAReload(t *testing.T) {
	server := redistest.Start(t)
	open := func(config, scope string) *redisStore {
		t.Helper()
		c, err := provision(t, config)
		if err != nil {
			t.Fatal(err)
		}
		s, err := c.Open(scope)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = s.Close() }) // never fails
		return s.(*redisStore)
	}
	config := at(server.Socket)
	old := open(config, t.Name())
	stream := old.claim(t, "id")
	defer stream.Finish(store.Chunk{}, store.End{})
	server.Kill()
	for name, tc := range map[string]struct {
		config, scope string
		found         bool
	}{
		"another address": {at(localAddress(t)), t.Name(), true},
		"another prefix":  {fmt.Sprintf(`{"address": [%q], "prefix": "other"}`, server.Socket), t.Name(), false},
		"another scope":   {at(localAddress(t)), "other", false},
	} {
		s := open(tc.config, tc.scope)
		if s == old {
			t.Fatalf("%s: it is the same store", name)
		}
		if _, err := s.Find(t.Context(), "id"); (err == nil) != tc.found {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// The memory of many streams without listeners is bounded, whatever Redis does. Redis keeps only the streams that can
// be resumed.
func TestAbandonedStreamsAreBounded(t *testing.T) {
	const streams, size, total = 10_000, 20_000, 16 << 20
	event := []byte("data: " + strings.Repeat("x", 192) + "\n\n")
	for name, paused := range map[string]bool{"Redis answers": false, "Redis does not": true} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			s := openInstance(t, at(server.Socket))
			eventually(t, "Redis' time is known", func() bool { return s.counting.now() > 0 })
			if paused {
				server.Pause()
			}
			terms := store.Terms{Grace: time.Minute, Keep: time.Minute, MaxSize: 1 << 20, MaxTotal: total}
			before := heap()
			var sources []store.Source
			for i := range streams {
				source, first := s.Create(fmt.Sprint("stream", i), store.Meta{}, terms)
				source.Open(http.Header{})
				first.Close()
				for n := 0; n < size && source.Append(t.Context(), store.Chunk{Data: event, Ends: []int{len(event)}}) == nil; n += len(event) {
				}
				sources = append(sources, source)
			}
			used := heap() - before
			t.Logf("%d KiB are used", used>>10)
			if most := total + total/5 + maxHeld + maxHeld/5 + streams<<10; used > most {
				t.Errorf("%d KiB are used, more than %d", used>>10, most>>10)
			}
			for _, source := range sources {
				source.Finish(store.Chunk{}, store.End{})
			}
			if !paused {
				eventually(t, "Redis keeps what can be resumed", func() bool {
					return s.link.plain().DBSize(t.Context()).Val() < total/size+10
				})
			}
		})
	}
}

func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// An instance that was taken for dead may come back. It adds nothing to a stream that was marked as lost meanwhile, and
// does not take the mark for its own entry.
func TestWriterOfALostStreamComesBack(t *testing.T) {
	for name, next := range map[string]func(*testing.T, *source){
		"an event": func(t *testing.T, s *source) { s.append(t, "data: 2\n\n") },
		"the end":  func(_ *testing.T, s *source) { s.Finish(store.Chunk{}, store.End{Reason: "stop"}) },
	} {
		t.Run(name, func(t *testing.T) {
			_, here, there := twoInstances(t)
			begun := here.claim(t, "id")
			begun.append(t, "data: 1\n\n")
			eventually(t, "Redis has the event", begun.isSettled)
			there.losses.check("id", writer{here.instance, begun.replica.claim})
			client, key := there.link.plain(), there.keys.log("id")
			lastHas := func(field string) bool {
				last := client.XRevRangeN(t.Context(), key, "+", "-", 1).Val()
				return len(last) == 1 && last[0].Values[field] != nil
			}
			eventually(t, "the stream is marked", func() bool { return lastHas(fieldLost) })
			entries := client.XLen(t.Context(), key).Val()
			givenUp := countOf(t, metrics.givenUp)
			next(t, begun.source)
			select {
			case <-begun.replica.done:
			case <-time.After(patience):
				t.Fatal("the writer does not learn that its stream is lost")
			}
			if n := countOf(t, metrics.givenUp) - givenUp; n != 1 {
				t.Errorf("%v streams were counted as given up", n)
			}
			if name == "an event" {
				begun.append(t, "data: 3\n\n")
				begun.Finish(store.Chunk{}, store.End{Reason: "stop"})
				if got, err := readOn(t, begun.first); got != "data: 1\n\ndata: 2\n\ndata: 3\n\n" || err != io.EOF {
					t.Errorf("a listener at the writer gets %q and %v", got, err)
				}
			}
			if n := client.XLen(t.Context(), key).Val(); n != entries || !lastHas(fieldLost) {
				t.Errorf("Redis has %d entries instead of %d", n, entries)
			}
			if got, err := readOn(t, there.listen(t, "id", 0)); got != "data: 1\n\n" || err != store.ErrLost {
				t.Errorf("a listener elsewhere gets %q and %v", got, err)
			}
		})
	}
}

// countOf returns the value of a counter.
func countOf(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// If Redis has an entry already because only the reply to it was lost, the stream goes on.
func TestRepeatedEntry(t *testing.T) {
	_, here, there := twoInstances(t)
	begun := here.claim(t, "id")
	begun.append(t, "data: 1\n\n")
	eventually(t, "Redis has the event", begun.isSettled)
	client, key := here.link.plain(), here.keys.log("id")
	for n := 2; n <= 3; n++ {
		event := fmt.Sprintf("data: %d\n\n", n)
		begun.replica.mu.Lock()
		id := fmt.Sprintf("%d-%d", begun.replica.events, begun.replica.sent+1)
		begun.replica.mu.Unlock()
		fields := []any{fieldData, event, fieldEnds, len(event)}
		if n == 3 {
			fields = append(fields, fieldReason, "stop", fieldCause, "")
		}
		if err := client.XAdd(t.Context(), &redis.XAddArgs{Stream: key, ID: id, Values: fields}).Err(); err != nil {
			t.Fatal(err)
		}
		if n == 2 {
			begun.append(t, event)
			eventually(t, "Redis has the event", begun.isSettled)
		} else {
			begun.Finish(store.Chunk{Data: []byte(event), Ends: []int{len(event)}}, store.End{Reason: "stop"})
		}
	}
	eventually(t, "Redis has the end", begun.isSettled)
	if got, err := readOn(t, there.listen(t, "id", 0)); got != "data: 1\n\ndata: 2\n\ndata: 3\n\n" || err != io.EOF {
		t.Errorf("a listener elsewhere gets %q and %v", got, err)
	}
	here.wantExpiring(t)
}
