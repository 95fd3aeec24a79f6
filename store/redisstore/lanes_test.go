package redisstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
)

// visitors runs f again and again, for n visitors at once, until the returned function is called. f returns false if the
// visitor is to wait a moment.
func visitors(t *testing.T, n int, f func(ctx context.Context, visitor int) bool) (leave func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() {
			for ctx.Err() == nil {
				if !f(ctx, i) {
					time.Sleep(20 * time.Millisecond)
				}
			}
		})
	}
	return func() {
		cancel()
		all.Wait()
	}
}

// watchDown returns a function that reports whether a shard was down meanwhile.
func watchDown(t *testing.T, s *redisStore) (wasDown func() bool) {
	var down atomic.Bool
	leave := visitors(t, 1, func(context.Context, int) bool {
		if s.link.anyDown() {
			down.Store(true)
		}
		time.Sleep(time.Millisecond)
		return true
	})
	return func() bool {
		leave()
		return down.Load()
	}
}

// isCertain reports whether Redis has decided who has claimed the stream.
func (s *source) isCertain() bool {
	s.replica.mu.Lock()
	defer s.replica.mu.Unlock()
	return s.replica.claimed
}

// claimQuickly claims ids one after the other. It returns the longest time that one took, and how many the instance has
// decided alone.
func (s *redisStore) claimQuickly(t *testing.T, name string, n int) (longest time.Duration, alone int) {
	t.Helper()
	for i := range n {
		began := time.Now()
		src, _ := s.mustClaim(t, fmt.Sprint(name, i))
		longest = max(longest, time.Since(began))
		if !src.isCertain() {
			alone++
		}
		src.Fail(nil)
	}
	return longest, alone
}

// A crowd of visitors who look for streams that do not exist does not delay a claim, which an instance would otherwise
// decide alone, nor what goes to Redis.
func TestClaimInACrowdOfReaders(t *testing.T) {
	relay := redistest.StartRelay(t, redistest.StartTCP(t), 10*time.Millisecond)
	s := openInstance(t, at(relay.Address))
	eventually(t, "Redis knows it", s.leased.Load)
	s.claimQuickly(t, "before", 1) // from now on, Redis knows the script
	var waiting, asked, crowd atomic.Int32
	leave := visitors(t, 6000, func(ctx context.Context, i int) bool {
		waiting.Add(1)
		_, err := s.Find(ctx, fmt.Sprint("unknown", i))
		waiting.Add(-1)
		asked.Add(1)
		if errors.Is(err, errCrowd) {
			crowd.Add(1)
		}
		return err == nil || err == store.ErrNotFound
	})
	eventually(t, "thousands wait", func() bool { return waiting.Load() > 4000 && asked.Load() > 1000 })
	wasDown := watchDown(t, s)
	longest, alone := s.claimQuickly(t, "mine", 10)
	src, _ := s.mustClaim(t, "stream")
	src.Open(http.Header{})
	began := time.Now()
	src.append(t, "data: 1\n\n")
	eventually(t, "the entry is in Redis", src.isSettled)
	delay := time.Since(began)
	src.Fail(nil)
	down := wasDown()
	t.Logf("a claim takes %s, %d of 10 were decided alone; an entry takes %s; Redis was taken to be down: %v; %d looks", longest, alone, delay, down, asked.Load())
	leave()
	if alone > 0 || longest > claimTime/2 {
		t.Errorf("a claim took %s, and %d were decided alone", longest, alone)
	}
	if delay > callTimeout {
		t.Errorf("an entry took %s to Redis", delay)
	}
	if down {
		t.Error("Redis was taken to be down")
	}
}

// narrow is a TCP relay that lets only some bytes a second come back from the server, over all connections together.
type narrow struct {
	address string
	rate    atomic.Int64 // 0: there is no limit

	mu   sync.Mutex
	free time.Time // when the line is free again
}

func startNarrow(t *testing.T, to string) *narrow {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	n := &narrow{address: listener.Addr().String()}
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			shut := func() { _, _ = in.Close(), out.Close() }
			go func() { defer shut(); _, _ = io.Copy(out, in) }()
			go func() { defer shut(); n.copy(in, out) }()
		}
	}()
	return n
}

// copy copies what the server sends.
func (n *narrow) copy(to io.Writer, from io.Reader) {
	data := make([]byte, 16<<10)
	for {
		size, err := from.Read(data)
		if err != nil {
			return
		}
		time.Sleep(n.wait(size))
		if _, err := to.Write(data[:size]); err != nil {
			return
		}
	}
}

// wait returns how long some bytes take on the line, behind those that are on it.
func (n *narrow) wait(size int) time.Duration {
	rate := n.rate.Load()
	if rate == 0 {
		return 0
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if now := time.Now(); n.free.Before(now) {
		n.free = now
	}
	n.free = n.free.Add(time.Duration(size) * time.Second / time.Duration(rate))
	return time.Until(n.free)
}

// Visitors who read large parts of streams over a narrow line do not delay counts, stops and claims beyond what the line
// allows, and Redis is not taken to be down.
func TestLargeRepliesOverANarrowLine(t *testing.T) {
	server := redistest.StartTCP(t)
	line := startNarrow(t, server.Address)
	here, there := openInstance(t, at(server.Socket)), openInstance(t, at(line.address))
	eventually(t, "Redis knows them", func() bool { return here.leased.Load() && there.leased.Load() })
	src := here.claim(t, "id")
	event := "data: " + strings.Repeat("x", 1000) + "\n\n"
	chunk := store.Chunk{Data: bytes.Repeat([]byte(event), 60)}
	for i := range 60 {
		chunk.Ends = append(chunk.Ends, (i+1)*len(event))
	}
	for range 16 {
		if err := src.Append(t.Context(), chunk); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the entry is in Redis", src.isSettled)
	}
	there.claimQuickly(t, "before", 1)
	_ = there.orders.stop(t.Context(), here.instance, "nothing") // from now on, Redis knows the scripts
	there.mustEnter(t, newEntry("client", 3)).Reservation.Release(true)
	stream, err := there.Find(t.Context(), "id")
	if err != nil {
		t.Fatal(err)
	}
	line.rate.Store(300e6 / 8)
	var read atomic.Int64
	leave := visitors(t, 800, func(ctx context.Context, i int) bool {
		l, err := stream.Listen(int64(i) + 1)
		if err != nil {
			return false
		}
		defer l.Close()
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		for range 20 {
			got, err := await(ctx, l)
			if err != nil {
				return false
			}
			read.Add(int64(len(got)))
		}
		return true
	})
	eventually(t, "visitors read", func() bool { return read.Load() > 2<<20 })
	wasDown := watchDown(t, there)
	var counts, stops, alone int
	var claim, stop time.Duration
	for i := range 20 {
		if d, err := there.Reserve(newEntry(fmt.Sprint("c", i), 3)); err != nil {
			counts++
		} else {
			d.Reservation.Release(true)
		}
		began := time.Now()
		if err := there.orders.stop(t.Context(), here.instance, "nothing"); err != nil {
			stops++
		}
		stop = max(stop, time.Since(began))
		took, n := there.claimQuickly(t, fmt.Sprint("mine", i, "-"), 1)
		claim, alone = max(claim, took), alone+n
	}
	down := wasDown()
	t.Logf("of 20, %d counts and %d stops failed, and %d claims were decided alone; a stop takes %s, a claim %s; visitors read %d bytes", counts, stops, alone, stop, claim, read.Load())
	line.rate.Store(0)
	leave()
	if counts > 2 || stops > 2 { // a busy machine is slow
		t.Errorf("%d counts and %d stops failed", counts, stops)
	}
	if alone > 0 {
		t.Errorf("%d claims were decided alone", alone)
	}
	if down {
		t.Error("Redis was taken to be down")
	}
}

// A crowd of visitors who look for streams does not delay one who stops a stream: the look takes one round trip.
func TestFindToStopInACrowdOfLooks(t *testing.T) {
	const delay = 40 * time.Millisecond
	server := redistest.StartTCP(t)
	relay := redistest.StartRelay(t, server, delay)
	here, there := openInstance(t, at(server.Socket)), openInstance(t, at(relay.Address))
	eventually(t, "Redis knows them", func() bool { return here.leased.Load() && there.leased.Load() })
	here.claim(t, "id")
	eventually(t, "it is found", func() bool { _, err := there.FindToStop(t.Context(), "id"); return err == nil })
	leave := visitors(t, 6*maxCommands, func(ctx context.Context, i int) bool {
		_, err := there.Find(ctx, fmt.Sprint("unknown", i))
		return errors.Is(err, store.ErrNotFound)
	})
	defer leave()
	eventually(t, "the crowd has to wait", func() bool {
		began := time.Now()
		_, _ = there.Find(t.Context(), "id")
		return time.Since(began) > 6*delay
	})
	var took []time.Duration
	for range 9 {
		began := time.Now()
		if _, err := there.FindToStop(t.Context(), "id"); err != nil {
			t.Fatal(err)
		}
		took = append(took, time.Since(began))
	}
	slices.Sort(took)
	if median := took[len(took)/2]; median > 4*delay {
		t.Errorf("a look takes %s", median)
	}
}

// A crowd of visitors who are counted does not delay a stop, whatever the names of the keys: a stop takes one round trip,
// although those who are counted wait for several.
func TestStopInACrowdOfCounts(t *testing.T) {
	server := redistest.StartTCP(t)
	relay := redistest.StartRelay(t, server, 40*time.Millisecond)
	here, there := openInstance(t, at(server.Socket)), openInstance(t, at(relay.Address))
	eventually(t, "Redis knows them", func() bool { return here.leased.Load() && there.leased.Load() })
	_ = there.orders.stop(t.Context(), here.instance, "nothing") // from now on, Redis knows the script
	shard, client := there.link.topology.seed, ""
	for i := 0; client == "" || shard.lane(there.keys.requests(client), forCounts) != shard.lane(there.keys.stops(here.instance), forCounts); i++ {
		client = fmt.Sprint("client", i)
	}
	var asked, late atomic.Int32
	leave := visitors(t, 6*maxCommands, func(context.Context, int) bool {
		d, err := there.Reserve(newListener(client, 5, "anything"))
		asked.Add(1)
		if err == nil && d.Reservation != nil {
			d.Reservation.Release(true)
		} else if err != nil {
			late.Add(1)
		}
		return err == nil
	})
	eventually(t, "there are more counts than one pipeline has", func() bool { return late.Load() > maxCommands })
	wasDown := watchDown(t, there)
	var longest time.Duration
	failed := 0
	for range 20 {
		began := time.Now()
		if err := there.orders.stop(t.Context(), here.instance, "nothing"); err != nil {
			failed++
		}
		longest = max(longest, time.Since(began))
	}
	down := wasDown()
	t.Logf("a stop takes %s, and %d of 20 failed; Redis was taken to be down: %v; %d of %d counts were late", longest, failed, down, late.Load(), asked.Load())
	leave()
	if failed > 3 { // a busy machine is slow
		t.Errorf("%d stops failed", failed)
	}
	if down {
		t.Error("Redis was taken to be down")
	}
}

// While Redis answers nothing, calls that read or count wait for their time and no longer, and only a heartbeat marks
// the shard as down. After a count without an answer, the next ones do not wait.
func TestOnlyHeartbeatsDecide(t *testing.T) {
	server := redistest.Start(t)
	s := openInstance(t, at(server.Socket))
	eventually(t, "Redis is up", func() bool { return s.counting.now() > 0 })
	shard := s.link.topology.seed
	for _, p := range []purpose{forCounts, forStops, forReads} {
		late := fmt.Errorf("dialing: %w", context.DeadlineExceeded)
		if !isLate(late) || p.decides() {
			t.Errorf("a late call for %d decides", p)
		}
	}
	eventually(t, "no heartbeat can decide", func() bool { return shard.beating.CompareAndSwap(false, true) })
	defer shard.beating.Store(false)
	server.Pause()
	_, err := s.Find(t.Context(), "id")
	_, counted := s.Reserve(newEntry("client", 3))
	if err == nil || counted == nil || shard.down() {
		t.Errorf("got %v and %v; down: %v", err, counted, shard.down())
	}
	began := time.Now()
	for range 20 {
		if _, err := s.Reserve(newEntry("client", 3)); !errors.Is(err, errDown) {
			t.Errorf("got %v", err)
		}
	}
	if took := time.Since(began); took > countTime {
		t.Errorf("more counts took %s", took)
	}
	shard.beating.Store(false)
	eventually(t, "a heartbeat decides", shard.down)
	server.Resume()
	eventually(t, "it is up again", func() bool { _, err := s.Reserve(newEntry("client", 3)); return err == nil })
}

// A pipeline of reads has fewer commands when replies are large, and more when they are small again.
func TestReadsAreBoundedByTheirReplies(t *testing.T) {
	s := openInstance(t, at(redistest.Start(t).Socket))
	n := &lane{shard: s.link.topology.seed, purpose: forReads, reply: firstReply}
	commands := s.link.commands(t.Context(), func(ctx context.Context, p redis.Pipeliner) { p.XRange(ctx, "key", "-", "+") })
	taken := func(most int) int {
		n.served, n.queue = true, nil
		for range 2 * maxCommands {
			n.queue = append(n.queue, &call{ctx: t.Context(), commands: commands, most: most})
		}
		return len(n.take())
	}
	if got, want := taken(0), maxReplies/firstReply; got != want {
		t.Errorf("the first pipeline has %d calls, not %d", got, want)
	}
	n.reply = 1
	if got, want := taken(64<<10), maxReplies/(16<<10); got != want {
		t.Errorf("a pipeline for large entries has %d calls, not %d", got, want)
	}
	if got := taken(0); got != maxCommands {
		t.Errorf("a pipeline for small entries has %d calls", got)
	}
	all := make([]redis.Cmder, maxCommands)
	for i := range all {
		all[i] = commands[0]
	}
	n.learn(all, context.DeadlineExceeded)
	if got := taken(0); got != maxCommands/2 {
		t.Errorf("after a timeout, a pipeline has %d calls", got)
	}
	for range 20 {
		n.learn(all, context.DeadlineExceeded)
	}
	if got := taken(0); got != 1 {
		t.Errorf("after many timeouts, a pipeline has %d calls", got)
	}
	for range 100 {
		n.learn(all, nil)
	}
	if got := taken(0); got != maxCommands {
		t.Errorf("after small replies, a pipeline has %d calls", got)
	}
}

// The end of a long outage is noticed as soon as that of a short one: go-redis dials less often after many failures.
func TestEndOfALongOutage(t *testing.T) {
	server := redistest.StartTCP(t)
	s := openInstance(t, at(server.Address))
	eventually(t, "Redis is up", func() bool { return s.counting.now() > 0 })
	server.Kill()
	eventually(t, "it is down", s.link.anyDown)
	for range 100 {
		if err := s.link.topology.seed.client.Ping(t.Context()).Err(); err == nil {
			t.Fatal("Redis answers")
		}
	}
	server.Run()
	began := time.Now()
	eventually(t, "it is up", func() bool { return !s.link.anyDown() })
	if took := time.Since(began); took > beatInterval+slack {
		t.Errorf("it took %s", took)
	} else {
		t.Logf("it took %s", took)
	}
}
