package redisstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
)

// twoInstances opens stores of two instances.
func twoInstances(t *testing.T) (server *redistest.Server, here, there *redisStore) {
	t.Helper()
	server = redistest.Start(t)
	config := at(server.Socket)
	return server, openInstance(t, config), openInstance(t, config)
}

// append appends an event of some size in one chunk.
func (s *source) append(t *testing.T, event string) {
	t.Helper()
	if err := s.Append(t.Context(), store.Chunk{Data: []byte(event), Ends: []int{len(event)}}); err != nil {
		t.Error(err)
	}
}

// appendEach appends an event some times. Each time, it becomes an entry in Redis.
func (s *source) appendEach(t *testing.T, event string, times int) {
	t.Helper()
	for range times {
		s.append(t, event)
		eventually(t, "Redis has it", s.replica.isSettled)
	}
}

// await reads until something is there, and returns it.
func await(ctx context.Context, listener store.Listener) (string, error) {
	for {
		listener.Header()
		piece, err := listener.Read()
		if err != nil || len(piece.Data) > 0 {
			return string(piece.Data), err
		}
		if err := listener.Wait(ctx); err != nil {
			return "", err
		}
	}
}

// awaitEvent waits until a listener gets an event, within a time that is shorter than lookInterval.
func awaitEvent(t *testing.T, listener store.Listener, want string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lookInterval/2)
	defer cancel()
	if got, err := await(ctx, listener); got != want || err != nil {
		t.Fatalf("got %.40q and %v, want %.40q", got, err, want)
	}
}

// The number of connections and goroutines does not grow with the listeners.
func TestManyListeners(t *testing.T) {
	streams, each := 4000, 5
	if raceEnabled {
		streams, each = 1000, 5
	}
	server := redistest.Start(t)
	relay := redistest.StartRelay(t, server, 0)
	here, there := openInstance(t, at(server.Socket)), openInstance(t, at(relay.Address))
	sources := make([]*begun, streams)
	for i := range sources {
		sources[i] = here.claim(t, fmt.Sprint("id", i))
	}
	listeners := make([]store.Listener, 0, streams*each)
	for i := range sources {
		for range each {
			listeners = append(listeners, there.listen(t, fmt.Sprint("id", i), 0))
		}
	}
	before := runtime.NumGoroutine()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for _, listener := range listeners {
		wg.Go(func() {
			got := ""
			for got != "data: 1\n\ndata: 2\n\ndata: 3\n\n" {
				more, err := await(ctx, listener)
				if got += more; err != nil {
					t.Errorf("got %q and %v", got, err)
					return
				}
			}
		})
	}
	eventually(t, "nothing is fetched any more", func() bool { return !there.fetches() })
	own := runtime.NumGoroutine() - before - len(listeners)
	for n := 1; n <= 3; n++ {
		for _, s := range sources {
			s.append(t, fmt.Sprintf("data: %d\n\n", n))
		}
	}
	began := time.Now()
	wg.Wait()
	t.Logf("%d listeners to %d streams: %d connections, %d more goroutines, the last event came after %s",
		len(listeners), streams, relay.Peak(), own, time.Since(began))
	if n := relay.Peak(); n >= 20 {
		t.Errorf("there are %d connections", n)
	}
	if own > 100 {
		t.Errorf("there are %d more goroutines", own)
	}
}

// fetches reports whether something is fetched.
func (s *redisStore) fetches() bool {
	s.following.mu.Lock()
	defer s.following.mu.Unlock()
	return s.following.fetches > 0
}

// An event reaches another instance at once, also if a listener has just come.
func TestEventsComeAtOnce(t *testing.T) {
	_, here, there := twoInstances(t)
	stream := here.claim(t, "id")
	listener := there.listen(t, "id", 0)
	for n := 1; n <= 50; n++ {
		event := fmt.Sprintf("data: %d\n\n", n)
		stream.append(t, event)
		awaitEvent(t, listener, event)
		listener.Close()
		late := there.listen(t, "id", int64(n))
		defer late.Close()
		listener = late
	}
}

// An event takes two round trips to another instance: the news of it goes along with it, and then it is fetched.
func TestEventsTakeTwoRoundTrips(t *testing.T) {
	const roundTrip = 100 * time.Millisecond
	relay := redistest.StartRelay(t, redistest.Start(t), roundTrip/2)
	here, there := openInstance(t, at(relay.Address)), openInstance(t, at(relay.Address))
	stream := here.claim(t, "id")
	listener := there.listen(t, "id", 0)
	var took []time.Duration
	for n := 1; n <= 11; n++ {
		event := fmt.Sprintf("data: %d\n\n", n)
		sent := time.Now()
		stream.append(t, event)
		awaitEvent(t, listener, event)
		took = append(took, time.Since(sent))
	}
	// Some events take longer, because the link checks its connections meanwhile.
	slices.Sort(took)
	if took[3] > 5*roundTrip/2 {
		t.Errorf("they take %s", took)
	}
}

// If news is lost, a listener still gets the event soon.
func TestLostNews(t *testing.T) {
	_, here, there := twoInstances(t)
	stream := here.claim(t, "id")
	stream.append(t, "data: 1\n\n")
	listener := there.listen(t, "id", 0)
	awaitEvent(t, listener, "data: 1\n\n")
	eventually(t, "the listener is known", func() bool { return len(here.readers.news([]string{"id"})) > 0 })
	eventually(t, "nothing is on its way", func() bool { return here.isQuiet(t, there) && there.isQuiet(t, here) && !there.fetches() })
	f := there.following.all()[0]
	f.mu.Lock()
	f.told = time.Now().Add(time.Minute) // so that nobody tells of the listener again
	f.mu.Unlock()
	here.readers.mu.Lock()
	clear(here.readers.until)
	here.readers.mu.Unlock()
	began := time.Now()
	stream.append(t, "data: 2\n\n")
	ctx, cancel := context.WithTimeout(t.Context(), 2*lookInterval)
	defer cancel()
	if got, err := await(ctx, listener); got != "data: 2\n\n" || err != nil {
		t.Errorf("got %q and %v", got, err)
	}
	t.Logf("it came after %s", time.Since(began))
}

// isQuiet reports whether the instance has told another one everything, and that one has read it.
func (s *redisStore) isQuiet(t *testing.T, other *redisStore) bool {
	t.Helper()
	s.orders.mu.Lock()
	defer s.orders.mu.Unlock()
	return len(s.orders.boxes) == 0 && s.link.plain().XLen(t.Context(), s.keys.inbox(other.instance)).Val() == 0
}

// Whatever GETs ask for, a stop arrives at once, a listener who waits is not abandoned, and there are few messages.
func TestCrowdOfGETs(t *testing.T) {
	_, here, there := twoInstances(t)
	terms.Grace = time.Second
	defer func() { terms.Grace = time.Minute }()
	ended, live, quiet, stopped := here.claim(t, "ended"), here.claim(t, "live"), here.claim(t, "quiet"), here.claim(t, "stopped")
	ended.append(t, "data: 1\n\n")
	live.append(t, "data: 1\n\n")
	ended.Finish(store.Chunk{}, store.End{})
	listener := there.listen(t, "quiet", 0)
	eventually(t, "the end is known", func() bool {
		stream, err := there.Find(t.Context(), "ended")
		if err != nil {
			return false
		}
		_, err = stream.Listen(1)
		return err == io.EOF
	})
	quiet.first.Close()
	before := there.calls(t, "xadd")
	crowd, disperse := context.WithCancel(t.Context())
	var gets atomic.Int64
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for n := 0; crowd.Err() == nil; n++ {
				there.get(t, []string{"ended", "live", "unknown", "stopped"}[(i+n)%4], int64(n%2))
				gets.Add(1)
			}
		})
	}
	const lasting = 3 * time.Second
	began := time.Now()
	eventually(t, "some time has passed", func() bool { return time.Since(began) > lasting })
	stream, err := there.Find(t.Context(), "stopped")
	if err != nil {
		t.Fatal(err)
	}
	asked := time.Now()
	if err := stream.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-stopped.Context().Done():
	case <-time.After(time.Second):
		t.Error("the stop has not arrived within a second")
	}
	took := time.Since(asked)
	disperse()
	wg.Wait()
	n := there.calls(t, "xadd") - before
	t.Logf("%d GETs in %s, %d messages, the stop took %s", gets.Load(), lasting, n, took)
	if gets.Load() < 540*3 {
		t.Errorf("there were only %d GETs", gets.Load())
	}
	if n > 60 {
		t.Errorf("they caused %d messages", n)
	}
	if err := context.Cause(quiet.Context()); err != nil {
		t.Errorf("the quiet listener is abandoned: %v", err)
	}
	quiet.append(t, "data: 1\n\n")
	awaitEvent(t, listener, "data: 1\n\n")
}

// calls returns how often Redis has carried out a command.
func (s *redisStore) calls(t *testing.T, command string) int {
	t.Helper()
	stats, err := s.link.plain().Info(t.Context(), "commandstats").Result()
	if err != nil {
		t.Fatal(err)
	}
	_, after, found := strings.Cut(stats, "cmdstat_"+command+":calls=")
	if !found {
		return 0
	}
	count, _, _ := strings.Cut(after, ",")
	n, err := strconv.Atoi(count)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// get does what a GET does, and leaves after the first piece.
func (s *redisStore) get(t *testing.T, id string, after int64) {
	stream, err := s.Find(t.Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return
	}
	if err != nil {
		t.Errorf("finding %s: %v", id, err)
		return
	}
	listener, err := stream.Listen(after)
	if err == io.EOF {
		return
	}
	if err != nil {
		t.Errorf("listening to %s: %v", id, err)
		return
	}
	defer listener.Close()
	_, _ = listener.Read()
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	_, _ = await(ctx, listener)
}

// A GET of an answer that has ended tells nobody anything. GETs that come and go are one listener to the others, and read
// only what is new.
func TestGETsThatLeave(t *testing.T) {
	const n = 100
	_, here, there := twoInstances(t)
	ended, live := here.claim(t, "ended"), here.claim(t, "live")
	ended.append(t, "data: 1\n\n")
	live.append(t, "data: 1\n\n")
	ended.Finish(store.Chunk{}, store.End{})
	<-ended.replica.done
	eventually(t, "Redis has the event", live.isSettled) // which is an XADD, too
	told := there.calls(t, "xadd")
	for range n {
		there.get(t, "ended", 0)
	}
	if more := there.calls(t, "xadd") - told; more > 0 {
		t.Errorf("GETs of an answer that has ended cause %d messages", more)
	}
	there.get(t, "live", 1)
	eventually(t, "the listener is known", func() bool { return len(here.readers.news([]string{"live"})) > 0 })
	told, read := there.calls(t, "xadd"), there.calls(t, "xrange")
	for range n {
		there.get(t, "live", 1)
	}
	if more := there.calls(t, "xadd") - told; more > 5 {
		t.Errorf("GETs of a live answer cause %d messages", more)
	}
	if more := there.calls(t, "xrange") - read; more > n+n/10 { // one each to find it
		t.Errorf("GETs of a live answer read %d times", more)
	}
}

// Listeners that do not read on cost little memory, wherever in their streams they are.
func TestMemoryOfStalledListeners(t *testing.T) {
	const streams, each, entries = 50, 20, 20
	_, here, there := twoInstances(t)
	event := "data: " + strings.Repeat("x", 30<<10) + "\n\n"
	for i := range streams {
		s := here.claim(t, fmt.Sprint("id", i))
		s.appendEach(t, event, entries)
	}
	before := heap()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var held []any
	for i := range streams {
		for n := range each {
			listener := there.listen(t, fmt.Sprint("id", i), int64(n))
			piece, err := await(ctx, listener)
			if err != nil {
				t.Fatal(err)
			}
			held = append(held, listener, piece)
		}
	}
	eventually(t, "nothing is fetched any more", func() bool { return !there.fetches() })
	used := (heap() - before) / (streams * each)
	runtime.KeepAlive(held)
	t.Logf("each of %d listeners uses %d KiB", len(held)/2, used>>10)
	if used > 128<<10 {
		t.Errorf("that is too much")
	}
}

// One fetch gets many small entries, but few large ones.
func TestFetchesAreSized(t *testing.T) {
	_, here, there := twoInstances(t)
	for _, tc := range []struct{ entries, size, most int }{
		{400, 100, 30},
		{40, 10 << 10, 25},
		{10, 40 << 10, 15},
	} {
		id := fmt.Sprint("id", tc.size)
		s := here.claim(t, id)
		event := "data: " + strings.Repeat("x", tc.size) + "\n\n"
		for range tc.entries {
			s.append(t, event)
			eventually(t, "Redis has it", s.replica.isSettled)
		}
		s.Finish(store.Chunk{}, store.End{})
		<-s.replica.done
		listener := there.listen(t, id, 0)
		before := there.calls(t, "xrange")
		largest := 0
		for got := 0; got < tc.entries*len(event); {
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			piece, err := await(ctx, listener)
			cancel()
			if err != nil {
				t.Fatalf("after %d bytes: %v", got, err)
			}
			got += len(piece)
			largest = max(largest, there.held(id))
		}
		if n := there.calls(t, "xrange") - before; n > tc.most {
			t.Errorf("%d entries of %d bytes take %d fetches", tc.entries, tc.size, n)
		}
		if largest > max(maxFetch, tc.size)+8<<10 {
			t.Errorf("of entries with %d bytes, %d bytes are held for one listener", tc.size, largest)
		}
	}
}

// The memory of all that is held for listeners is a part of the store's budget.
func TestListenersShareTheBudget(t *testing.T) {
	const entries = 40
	_, here, there := twoInstances(t)
	s := here.claim(t, "id")
	event := "data: " + strings.Repeat("x", 10<<10) + "\n\n"
	s.appendEach(t, event, entries)
	s.Finish(store.Chunk{}, store.End{})
	// Another use has taken everything.
	total := terms.MaxTotal
	if !there.budget.Take(total, total) {
		t.Fatal("there is no room")
	}
	got, err := readOn(t, there.listen(t, "id", 0))
	if len(got) != entries*len(event) || err != io.EOF {
		t.Errorf("without room, got %d bytes and %v", len(got), err)
	}
	listener := there.listen(t, "id", 1)
	awaitEvent(t, listener, event)
	eventually(t, "the next is there", func() bool { return there.held("id") > 0 })
	if n := there.held("id"); n != len(event) {
		t.Errorf("without room, %d bytes are held", n)
	}
	listener.Close()
	there.budget.GiveBack(total)
	if got, err = readOn(t, there.listen(t, "id", 0)); len(got) != entries*len(event) || err != io.EOF {
		t.Errorf("with room, got %d bytes and %v", len(got), err)
	}
	if !there.budget.Take(total, total) {
		t.Error("not everything was given back")
	}
}

// Listeners who do not read leave half of the budget for the answers that their instance writes.
func TestSlowListenersLeaveRoom(t *testing.T) {
	const streams, entries = 16, 6
	_, here, there := twoInstances(t)
	before := terms
	defer func() { terms = before }()
	terms.MaxTotal = 256 << 10
	terms.MaxSize = terms.MaxTotal
	event := "data: " + strings.Repeat("x", 10<<10) + "\n\n"
	for i := range streams {
		s := here.claim(t, fmt.Sprint("id", i))
		s.appendEach(t, event, entries)
		s.Finish(store.Chunk{}, store.End{})
		eventually(t, "Redis has the end", s.replica.isSettled)
		s.first.Close()
	}
	for i := range streams {
		l := there.listen(t, fmt.Sprint("id", i), 0)
		defer l.Close()
		awaitEvent(t, l, event)
	}
	eventually(t, "nothing is fetched any more", func() bool { return !there.fetches() })
	if !there.budget.Take(terms.MaxTotal/2, terms.MaxTotal) {
		t.Error("there is no room for an answer")
	}
}

// held returns how many bytes are held of a stream that is followed.
func (s *redisStore) held(id string) (n int) {
	for _, f := range s.following.all() {
		if f.id != id {
			continue
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, m := range f.mirrors {
			n += m.bytes
		}
	}
	return n
}

// A listener that is slow holds up no other one, loses nothing, and nothing is held for it beyond a window.
func TestSlowListener(t *testing.T) {
	const n = 100
	_, here, there := twoInstances(t)
	s := here.claim(t, "id")
	event := func(n int) string { return fmt.Sprintf("data: %d %s\n\n", n, strings.Repeat("x", 8<<10)) }
	fast, slow, slower := there.listen(t, "id", 0), there.listen(t, "id", 0), there.listen(t, "id", 0)
	var want strings.Builder
	for i := 1; i <= n; i++ {
		s.append(t, event(i))
		awaitEvent(t, fast, event(i))
		want.WriteString(event(i))
		if i == 1 {
			awaitEvent(t, slow, event(1))
		}
		if held := there.held("id"); held > window+maxFetch {
			t.Fatalf("after %d events, %d bytes are held", i, held)
		}
	}
	s.Finish(store.Chunk{}, store.End{Reason: "stop"})
	if got, err := readOn(t, slow); event(1)+got != want.String() || err != io.EOF {
		t.Errorf("the slow one got %d bytes and %v", len(got), err)
	}
	if got, err := readOn(t, slower); got != want.String() || err != io.EOF {
		t.Errorf("the slower one got %d bytes and %v", len(got), err)
	}
	if got, err := readOn(t, fast); got != "" || err != io.EOF || fast.End().Reason != "stop" {
		t.Errorf("the fast one got %q and %v", got, err)
	}
}

// Listeners that come at different times read the stream's new entries together.
func TestListenersMeet(t *testing.T) {
	_, here, there := twoInstances(t)
	s := here.claim(t, "id")
	s.write(t, 1, 5)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var listeners []store.Listener
	for after := range 5 {
		listener := there.listen(t, "id", int64(after))
		for range 5 - after {
			if _, err := await(ctx, listener); err != nil {
				t.Fatal(err)
			}
		}
		listeners = append(listeners, listener)
	}
	s.write(t, 6, 6)
	for _, listener := range listeners {
		awaitEvent(t, listener, "data: 6\n\n")
	}
	if n := there.mirrors("id"); n != 1 {
		t.Errorf("%d mirrors read it", n)
	}
	for _, listener := range listeners {
		listener.Close()
	}
	eventually(t, "it is not followed any more", func() bool { return len(there.following.all()) == 0 })
}

func (s *redisStore) mirrors(id string) int {
	for _, f := range s.following.all() {
		if f.id == id {
			f.mu.Lock()
			defer f.mu.Unlock()
			return len(f.mirrors)
		}
	}
	return 0
}

// die ends an instance as a crash does: nothing is sent to Redis any more.
func (s *redisStore) die() {
	s.cancel()
	s.loops.Wait()
	_ = s.link.close()
}

// A stream whose instance is gone is lost for those who listen, and over for those who come later and have everything.
func TestInstanceIsGone(t *testing.T) {
	server, here, there := twoInstances(t)
	third := openInstance(t, at(server.Socket))
	stream := here.claim(t, "id")
	stream.write(t, 1, 3)
	listener, behind := there.listen(t, "id", 0), there.listen(t, "id", 1)
	awaitEvent(t, listener, "data: 1\n\n")
	here.die()
	wantLost(t, listener, "data: 2\n\ndata: 3\n\n")
	wantLost(t, behind, "data: 2\n\ndata: 3\n\n")
	eventually(t, "that is recorded", func() bool {
		found, err := third.Find(t.Context(), "id")
		if err != nil {
			t.Fatal(err)
		}
		late, err := found.Listen(3)
		if err == nil {
			late.Close()
		}
		return err == io.EOF
	})
	found, err := third.Find(t.Context(), "id")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := found.Listen(1000); err != io.EOF {
		t.Errorf("after more than there is, got %v", err)
	}
	wantLost(t, third.listen(t, "id", 2), "data: 3\n\n")
}

// A stream whose instance is gone before it was opened leaves its id to others.
func TestInstanceIsGoneBeforeTheHeader(t *testing.T) {
	_, here, there := twoInstances(t)
	_, first := here.Create("id", store.Meta{}, terms)
	defer first.Close()
	listener := there.listen(t, "id", 0)
	here.die()
	wantLost(t, listener, "")
	eventually(t, "the id is free", func() bool {
		_, err := there.Find(t.Context(), "id")
		return err == store.ErrNotFound
	})
	source, second, taken := there.Claim("id", store.Meta{}, terms, nil)
	if taken != nil {
		t.Fatal("the id is taken")
	}
	defer second.Close()
	source.Fail(nil)
}

// Only the stream of the given instance and claim is marked as lost, and only if it has no end.
func TestWhatIsMarkedAsLost(t *testing.T) {
	_, here, there := twoInstances(t)
	ended, live := here.claim(t, "ended"), here.claim(t, "live")
	ended.write(t, 1, 2)
	live.write(t, 1, 2)
	ended.Finish(store.Chunk{}, store.End{})
	<-ended.replica.done
	lost := func(id, instance, claim string) string {
		t.Helper()
		key := here.keys.log(id)
		if _, err := here.link.script(t.Context(), key, callTimeout, lostScript, []string{key}, instance, claim); err != nil {
			t.Fatal(err)
		}
		last, err := here.link.plain().XRevRangeN(t.Context(), key, "+", "-", 1).Result()
		if err != nil || len(last) == 0 {
			return ""
		}
		e, err := decodeEntry(last[0])
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(e.lost, " ", e.before())
	}
	entries := here.link.plain().XLen(t.Context(), here.keys.log("live")).Val()
	for _, tc := range []struct{ id, instance, claim, want string }{
		{"live", there.instance, "", "false 1"},
		{"live", here.instance, "another", "false 1"},
		{"ended", here.instance, "", "false 2"},
		{"unknown", here.instance, "", ""},
		{"live", here.instance, live.replica.claim, "true 2"},
		{"live", here.instance, "", "true 2"},
	} {
		if got := lost(tc.id, tc.instance, tc.claim); got != tc.want {
			t.Errorf("%+v: got %q", tc, got)
		}
	}
	if n := here.link.plain().XLen(t.Context(), here.keys.log("live")).Val(); n != entries+1 {
		t.Errorf("there are %d marks", n-entries)
	}
}

// A stream that Redis does not take can still be stopped from elsewhere.
func TestStopOfWhatRedisHasNot(t *testing.T) {
	_, here, there := twoInstances(t)
	stream := here.claim(t, "id")
	stream.write(t, 1, 1)
	found, err := there.Find(t.Context(), "id")
	if err != nil {
		t.Fatal(err)
	}
	stream.replica.mu.Lock()
	stream.replica.giveUp()
	stream.replica.mu.Unlock()
	if err := found.Stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case <-stream.Context().Done():
	case <-time.After(patience):
		t.Error("it goes on")
	}
}

// Stop returns an error if Redis does not have the order.
func TestStopWithoutRedis(t *testing.T) {
	server, here, there := twoInstances(t)
	here.claim(t, "id").write(t, 1, 1)
	found, err := there.Find(t.Context(), "id")
	if err != nil {
		t.Fatal(err)
	}
	server.Pause()
	defer server.Resume()
	if err := found.Stop(t.Context()); err == nil {
		t.Error("it seems to be told")
	}
}

// What instances tell each other expires, also if nobody reads it.
func TestMessagesExpire(t *testing.T) {
	_, here, there := twoInstances(t)
	for range 2 {
		there.orders.heard("gone", "id")
		if err := there.orders.stop(t.Context(), "gone", "id"); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{here.keys.inbox("gone"), here.keys.stops("gone")} {
		eventually(t, "it is there", func() bool { return here.link.plain().XLen(t.Context(), key).Val() > 0 })
		if ttl := here.link.plain().PTTL(t.Context(), key).Val(); ttl <= 0 || ttl > controlTime {
			t.Errorf("%s is kept for %s", key, ttl)
		}
	}
}

// If Redis fails, listeners learn of it soon, and only then.
func TestRedisFails(t *testing.T) {
	server, here, there := twoInstances(t)
	stream := here.claim(t, "id")
	stream.write(t, 1, 1)
	short, long := there.listen(t, "id", 0), there.listen(t, "id", 1)
	awaitEvent(t, short, "data: 1\n\n")
	server.Pause()
	began := time.Now()
	eventually(t, "a moment has passed", func() bool { return time.Since(began) > 2*time.Second })
	if _, err := short.Read(); err != nil {
		t.Errorf("after a moment, got %v", err)
	}
	wantLost(t, long, "")
	if took := time.Since(began); took > lostWithin {
		t.Errorf("that was told after %s", took)
	}
	server.Resume()
}

// A Stream can be listened to long after it was found.
func TestListenLater(t *testing.T) {
	_, here, there := twoInstances(t)
	stream := here.claim(t, "id")
	stream.write(t, 1, 2)
	found, err := there.Find(t.Context(), "id")
	if err != nil {
		t.Fatal(err)
	}
	stream.Finish(store.Chunk{}, store.End{})
	<-stream.replica.done
	found.(*remote).known.Load().asked = time.Now().Add(-time.Hour)
	if _, err := found.Listen(2); err != io.EOF {
		t.Errorf("got %v", err)
	}
}

// An instance may begin to listen to a stream while an entry of it is on its way, in one pipeline with news for that
// instance of another stream. It is told of both.
func TestNewsForANewReader(t *testing.T) {
	_, here, there := twoInstances(t)
	eventually(t, "Redis knows it", here.leased.Load)
	to := here.link.shardOf(here.keys.inbox(there.instance))
	isTold := func(already announcements, ids ...string) map[string]struct{} {
		here.announced(already, ids)
		here.orders.mu.Lock()
		defer here.orders.mu.Unlock()
		if b := here.orders.boxes[address{there.instance, orderNews}]; b != nil {
			return b.ids
		}
		return nil
	}
	here.orders.mu.Lock() // so that the outbox is not emptied
	here.orders.boxes[address{there.instance, orderNews}] = &outbox{ids: make(map[string]struct{})}
	here.orders.mu.Unlock()
	until := time.Now().Add(time.Minute)
	here.readers.add("known", there.instance, until)
	news := here.announce(to, []string{"first", "known", "last"})
	if len(news) != 1 {
		t.Fatalf("there are %d announcements", len(news))
	}
	if told := isTold(news, "first", "known", "last"); len(told) > 0 {
		t.Errorf("told again: %v", told)
	}
	here.readers.add("first", there.instance, until)
	here.readers.add("last", there.instance, until)
	told := isTold(news, "first", "known", "last")
	if _, again := told["known"]; again || len(told) != 2 {
		t.Errorf("told of %v", told)
	}
}

// While the shard of an instance's inbox is dead, its listeners get what the other shards have, soon.
func TestNewsBesideADeadInbox(t *testing.T) {
	c := redistest.StartCluster(t, 3, false, "--cluster-require-full-coverage", "no")
	config := at(c.Masters[0].Address, c.Masters[1].Address, c.Masters[2].Address)
	open := func(fits func(owner int) bool) (s *redisStore) {
		for s = openInstance(t, config); !fits(c.Owner(s.keys.inbox(s.instance))); s = openInstance(t, config) {
			_ = s.Destruct()
		}
		eventually(t, "Redis knows it", s.leased.Load)
		return s
	}
	here, there := open(func(owner int) bool { return owner != 2 }), open(func(owner int) bool { return owner == 2 })
	id := ""
	for i := 0; id == "" || c.Owner(here.keys.log(id)) == 2; i++ {
		id = fmt.Sprint("id", i)
	}
	source := here.claim(t, id)
	listener := there.listen(t, id, 0)
	source.append(t, "data: 0\n\n")
	awaitEvent(t, listener, "data: 0\n\n")
	c.Masters[2].Kill()
	eventually(t, "the shard is down", func() bool { return there.link.down(there.keys.inbox(there.instance)) })
	for n := range 5 {
		event := fmt.Sprintf("data: %d\n\n", n+1)
		began := time.Now()
		source.append(t, event)
		awaitEvent(t, listener, event)
		if took := time.Since(began); took > deafLookTime+2*slack {
			t.Errorf("an event takes %s", took)
		}
	}
}
