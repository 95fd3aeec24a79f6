package redisstore

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
)

// patience is the longest wait for something that should happen soon.
const patience = 10 * time.Second

// year is the longest window. No new one begins while a test runs.
const year = 366 * 24 * time.Hour

// quick is how long a call that is bounded by countTime may take in a test.
const quick = countTime + 250*time.Millisecond

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !condition(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("this did not happen in %s: %s", patience, what)
		}
	}
}

// assistant is the assistant of the tests' requests.
const assistant = "asst_demo"

var lastID atomic.Int64

// newEntry returns a request of a client that may have most requests at once.
func newEntry(client string, most int, limits ...store.Limit) store.Request {
	id := fmt.Sprint("request-", lastID.Add(1))
	return store.Request{ID: id, Client: client, Assistant: assistant, MaxPerClient: most, Limits: limits}
}

// newListener returns the request of a listener to a stream that another instance writes.
func newListener(client string, most int, stream string) store.Request {
	e := newEntry(client, most)
	e.Listens, e.Follows, e.Assistant = true, stream, ""
	return e
}

func (s *redisStore) mustEnter(t *testing.T, e store.Request) store.Decision {
	t.Helper()
	decision, err := s.Reserve(e)
	if err != nil {
		t.Fatal(err)
	}
	return decision
}

// wantIn checks that a request is admitted.
func (s *redisStore) wantIn(t *testing.T, e store.Request) store.Reservation {
	t.Helper()
	decision := s.mustEnter(t, e)
	if decision.Reservation == nil {
		t.Fatalf("it is not let in: %+v", decision)
	}
	return decision.Reservation
}

// wantOut checks that a request is refused, and that no cool-down is the reason.
func (s *redisStore) wantOut(t *testing.T, e store.Request) store.Decision {
	t.Helper()
	decision := s.mustEnter(t, e)
	if decision.Reservation != nil || decision.Probe || decision.CoolDown != 0 {
		t.Fatalf("got %+v", decision)
	}
	return decision
}

// openInstances opens instances that count together. They give Redis more time to count than usual, because the counts
// must be exact even on a busy machine.
func openInstances(t *testing.T, server *redistest.Server, n int) []*redisStore {
	t.Helper()
	instances := make([]*redisStore, n)
	for i := range instances {
		instances[i] = openInstance(t, at(server.Socket))
		instances[i].countTime = callTimeout
	}
	return instances
}

// atOnce sends n requests to each instance, all at once. It returns the reservations of those that were admitted.
func atOnce(t *testing.T, instances []*redisStore, n int, e func() store.Request) (stays []store.Reservation) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, s := range instances {
		for range n {
			entry := e()
			wg.Go(func() {
				decision, err := s.Reserve(entry)
				mu.Lock()
				defer mu.Unlock()
				if err != nil {
					t.Error(err)
				} else if decision.Reservation != nil {
					stays = append(stays, decision.Reservation)
				}
			})
		}
	}
	wg.Wait()
	return stays
}

// The common count of several instances is exact, even for many requests at once. A request that has not reached the
// upstream does not count.
func TestLimitOfAllInstances(t *testing.T) {
	instances := openInstances(t, redistest.Start(t), 4)
	counted := store.Limit{Key: "a", Window: year, Requests: 100}
	enter := func() store.Request { return newEntry("", 0, counted) }
	stays := atOnce(t, instances, 50, enter)
	if len(stays) != 100 {
		t.Fatalf("%d were let in, want 100", len(stays))
	}
	decision := instances[0].wantOut(t, enter())
	if u := decision.Usage[0]; u.Now != 100 || u.Prev != 0 || u.Elapsed <= 0 || u.Elapsed >= year {
		t.Errorf("got the usage %+v", u)
	}
	for i, stay := range stays[:30] {
		if used := stay.Release(false); len(used) != 1 || used[0].Now != uint64(99-i) {
			t.Fatalf("got %+v", used)
		}
	}
	for _, stay := range stays[30:] {
		if used := stay.Release(true); used != nil {
			t.Fatalf("got %+v", used)
		}
	}
	if n := len(atOnce(t, instances, 50, enter)); n != 30 {
		t.Errorf("%d were let in, want 30", n)
	}
	instances[1].wantIn(t, newEntry("", 0, store.Limit{Key: "b", Window: year, Requests: 100}))
	instances[1].wantIn(t, newEntry("", 0, store.Limit{Key: "a", Window: time.Minute, Requests: 100}))
	// A limit whose number of requests changes keeps its count.
	instances[2].wantOut(t, newEntry("", 0, store.Limit{Key: "a", Window: year, Requests: 50}))
	instances[2].wantIn(t, newEntry("", 0, store.Limit{Key: "a", Window: year, Requests: 101}))
}

// A request counts in all its limits or in none.
func TestLimitsOfAllInstances(t *testing.T) {
	s := openInstance(t, at(redistest.Start(t).Socket))
	wide := store.Limit{Key: "wide", Window: year, Requests: 1_000_000_000}
	narrow := store.Limit{Key: "narrow", Window: year, Requests: 2}
	s.wantIn(t, newEntry("", 0, wide, narrow))
	s.wantIn(t, newEntry("", 0, wide, narrow))
	if u := s.wantOut(t, newEntry("", 0, wide, narrow)).Usage; u[0].Now != 2 || u[1].Now != 2 {
		t.Errorf("got %+v", u)
	}
	held := s.wantIn(t, newEntry("client", 1))
	if u := s.wantOut(t, newEntry("client", 1, wide)).Usage; u[0].Now != 2 {
		t.Errorf("got %+v", u)
	}
	held.Release(true)
	if u := s.mustEnter(t, newEntry("client", 1, wide)).Usage; u[0].Now != 3 {
		t.Errorf("got %+v", u)
	}
}

// The previous window counts in proportion to what is left of it, rounded up, however large the numbers are.
func TestSlidingWindow(t *testing.T) {
	s := openInstance(t, at(redistest.Start(t).Socket))
	for i := range 200 {
		length := time.Second + time.Duration(rand.Int64N(int64(year-time.Second)))
		if i%2 == 0 {
			length = year - time.Duration(rand.Int64N(int64(time.Hour)))
		}
		length = length.Truncate(time.Microsecond)
		prev := rand.Int64N(1_000_000_000) + 1
		l := store.Limit{Key: fmt.Sprint(i), Window: length, Requests: 1_000_000_000}
		// The count of the previous window.
		now, err := s.link.plain().Time(t.Context()).Result()
		if err != nil {
			t.Fatal(err)
		}
		window := now.UnixMicro() / length.Microseconds()
		key := newReservation(s, &store.Request{Limits: []store.Limit{l}}).limits[0].key
		if err := s.link.plain().HSet(t.Context(), key, "window", window-1, "now", prev, "prev", 7).Err(); err != nil {
			t.Fatal(err)
		}
		decision := s.mustEnter(t, newEntry("", 0, l))
		u := decision.Usage[0]
		if u.Prev != uint64(prev) || u.Now != 1 {
			if length < time.Minute {
				continue // the next window may have begun
			}
			t.Fatalf("got %+v, want what was counted before, %d", u, prev)
		}
		// With this limit, one more request just fits, at that moment or later.
		weight := new(big.Int).Mul(big.NewInt(prev), big.NewInt(int64(length-u.Elapsed)))
		weight.Add(weight, big.NewInt(int64(length-1))).Div(weight, big.NewInt(int64(length)))
		l.Requests = int(weight.Int64() + 2)
		if next := s.mustEnter(t, newEntry("", 0, l)); next.Reservation == nil {
			t.Errorf("%d in %s, %s after: there is no room for one more of %d", prev, length, u.Elapsed, l.Requests)
		}
	}
}

// weightedBy runs the function weighted of enter.lua.
func weightedBy(t *testing.T, s *redisStore, prev, rest, length int64) int64 {
	t.Helper()
	_, after, _ := strings.Cut(enterLua, "local function weighted")
	body, _, _ := strings.Cut(after, "\nend\n")
	script := redis.NewScript("local function weighted" + body + "\nend\nreturn weighted(tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]))")
	got, err := script.Run(t.Context(), s.link.plain(), []string{"any"}, prev, rest, length).Int64()
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestWeightIsExact(t *testing.T) {
	s := openInstance(t, at(redistest.Start(t).Socket))
	const longest = int64(366 * 24 * time.Hour / time.Microsecond)
	check := func(prev, rest, length int64) {
		t.Helper()
		want := new(big.Int).Mul(big.NewInt(prev), big.NewInt(rest))
		want.Add(want, big.NewInt(length-1)).Div(want, big.NewInt(length))
		if got := weightedBy(t, s, prev, rest, length); got != want.Int64() {
			t.Errorf("%d * %d / %d: got %d, want %s", prev, rest, length, got, want)
		}
	}
	for range 300 {
		length := 1_000_000 + rand.Int64N(longest-1_000_000)
		check(rand.Int64N(1_000_000_001), 1+rand.Int64N(length), length)
	}
	check(0, 1, longest)
	check(1, 1, longest)
	check(1_000_000_000, longest, longest)
	check(1_000_000_000, longest-1, longest)
	check(999_999_999, longest/3, longest)
	check(7, 2_000_000, 14_000_000)        // a whole number
	check(700_000_000, longest/7, longest) // and a large one
}

// If Redis's clock is put back a little, as after a failover, the counts stay.
func TestWindowFromTheFuture(t *testing.T) {
	s := openInstance(t, at(redistest.Start(t).Socket))
	now, err := s.link.plain().Time(t.Context()).Result()
	if err != nil {
		t.Fatal(err)
	}
	// The next window begins in a second.
	l := store.Limit{Key: "a", Window: time.Duration(now.Add(time.Second).UnixMicro()/20_000) * time.Microsecond, Requests: 5}
	key := newReservation(s, &store.Request{Limits: []store.Limit{l}}).limits[0].key
	next := now.UnixMicro()/l.Window.Microseconds() + 1
	if err := s.link.plain().HSet(t.Context(), key, "window", next, "now", 5, "prev", 0).Err(); err != nil {
		t.Fatal(err)
	}
	if u := s.wantOut(t, newEntry("", 0, l)).Usage[0]; u.Now != 5 || u.Elapsed != 0 {
		t.Errorf("got %+v", u)
	}
}

// leave releases a reservation, and waits until the other instances know.
func leave(t *testing.T, stay store.Reservation) {
	t.Helper()
	stay.Release(true)
	eventually(t, "Redis knows that it has left", stay.(*reservation).store.counting.isIdle)
}

func TestClientOfAllInstances(t *testing.T) {
	instances := openInstances(t, redistest.Start(t), 4)
	enter := func() store.Request { return newEntry("client", 3) }
	for range 3 {
		stays := atOnce(t, instances, 20, enter)
		if len(stays) != 3 {
			t.Fatalf("%d were let in, want 3", len(stays))
		}
		instances[0].wantOut(t, enter())
		leave(t, stays[0])
		leave(t, stays[0]) // a second call frees nothing more
		again := atOnce(t, instances, 20, enter)
		if len(again) != 1 {
			t.Fatalf("%d were let in, want 1", len(again))
		}
		for _, stay := range slices.Concat(stays[1:], again) {
			leave(t, stay)
		}
	}
	held := instances[0].wantIn(t, enter())
	instances[1].wantIn(t, newEntry("another", 1))
	instances[1].wantIn(t, newEntry("client", 0)) // this request is not counted
	instances[1].wantOut(t, newEntry("client", 1))
	leave(t, held)
	instances[1].wantIn(t, newEntry("client", 1))
}

// A visitor who comes back to another instance needs no second slot. Only a third listener does.
func TestListenersOfAllInstances(t *testing.T) {
	instances := openInstances(t, redistest.Start(t), 2)
	a, b := instances[0], instances[1]
	asked := newEntry("client", 1)
	stream := a.wantIn(t, asked)
	a.CoolDown(assistant, time.Hour) // does not matter to listeners
	first := b.wantIn(t, newListener("client", 1, asked.ID))
	second := a.wantIn(t, newListener("client", 1, asked.ID))
	b.wantOut(t, newListener("client", 1, asked.ID))
	leave(t, b.wantIn(t, newListener("client", 2, asked.ID)))
	b.wantOut(t, newListener("client", 1, "")) // its instance writes the stream and has no place left
	b.wantOut(t, newListener("client", 1, "another"))
	leave(t, b.wantIn(t, newListener("another", 1, asked.ID))) // takes up a slot of its own client
	leave(t, first)
	third := b.wantIn(t, newListener("client", 1, asked.ID))

	// Once the stream has ended, each listener takes up a slot.
	leave(t, stream)
	b.wantOut(t, newListener("client", 2, asked.ID))
	leave(t, b.wantIn(t, newListener("client", 3, asked.ID)))
	leave(t, second)
	b.wantOut(t, newListener("client", 1, ""))
	leave(t, third)
	b.wantIn(t, newListener("client", 1, ""))
}

// The reservations of an instance that was killed are free in less than five seconds, and are removed in the end.
func TestDeadInstance(t *testing.T) {
	server := redistest.Start(t)
	instances := openInstances(t, server, 2)
	a, dead := instances[0], instances[1]
	for range 3 {
		dead.wantIn(t, newEntry("client", 3))
	}
	a.wantOut(t, newEntry("client", 3))
	start := time.Now()
	dead.cancel()
	dead.loops.Wait()
	held := make(map[store.Reservation]bool)
	for len(held) == 0 {
		if decision := a.mustEnter(t, newEntry("client", 3)); decision.Reservation != nil {
			held[decision.Reservation] = true
		}
		if time.Since(start) > 5*time.Second {
			t.Fatal("its requests are counted for too long")
		}
		time.Sleep(20 * time.Millisecond)
	}
	// Simulate that a minute has passed.
	if err := a.link.plain().ZRem(t.Context(), a.keys.instances(), dead.instance).Err(); err != nil {
		t.Fatal(err)
	}
	a.wantIn(t, newEntry("client", 3))
	if n := a.link.plain().HLen(t.Context(), a.keys.requests("client")).Val(); n != 2 {
		t.Errorf("%d requests are kept, want 2", n)
	}
}

func TestCoolDownOfAllInstances(t *testing.T) {
	instances := openInstances(t, redistest.Start(t), 2)
	a, b := instances[0], instances[1]
	enter := func() store.Request { return newEntry("", 0) }
	wantProbe := func(s *redisStore) store.Reservation {
		t.Helper()
		decision := s.mustEnter(t, enter())
		if decision.Reservation == nil || !decision.Probe {
			t.Fatalf("got %+v", decision)
		}
		return decision.Reservation
	}
	wantTaken := func(s *redisStore) {
		t.Helper()
		if decision := s.mustEnter(t, enter()); decision.Reservation != nil || !decision.Probe || decision.CoolDown != 0 {
			t.Fatalf("got %+v", decision)
		}
	}
	wantCold := func(s *redisStore, least, most time.Duration) {
		t.Helper()
		if decision := s.mustEnter(t, enter()); decision.Reservation != nil || decision.CoolDown <= least || decision.CoolDown > most {
			t.Fatalf("got %+v, want a cool-down of %s to %s", decision, least, most)
		}
	}
	// end simulates that the cool-down has elapsed.
	end := func() {
		t.Helper()
		if err := a.link.plain().HSet(t.Context(), a.keys.coolDown(assistant), "until", 1).Err(); err != nil {
			t.Fatal(err)
		}
	}

	a.CoolDown(assistant, time.Hour)
	wantCold(b, 59*time.Minute, time.Hour)
	b.CoolDown(assistant, time.Second) // does not shorten the longer cool-down
	wantCold(a, 59*time.Minute, time.Hour)
	if ttl := a.link.plain().TTL(t.Context(), a.keys.coolDown(assistant)).Val(); ttl < 90*time.Minute || ttl > 2*time.Hour {
		t.Errorf("it is kept for %s", ttl)
	}

	end()
	probe := wantProbe(b)
	wantTaken(a)
	wantTaken(b)
	probe.Release(true) // without an answer, so the next request is the probe
	probe = wantProbe(a)
	wantTaken(b)
	b.CoolDown(assistant, time.Minute) // the answer prolongs the cool-down
	probe.EndTurn(true)
	wantCold(a, 59*time.Second, time.Minute)

	end()
	late := wantProbe(a)
	// Simulate that the instance of the probe has died.
	if err := a.link.plain().HSet(t.Context(), a.keys.coolDown(assistant), "lapses", 1).Err(); err != nil {
		t.Fatal(err)
	}
	probe = wantProbe(b)
	late.EndTurn(true) // does not end the turn of the next probe
	wantTaken(a)
	probe.EndTurn(true)
	for range 3 {
		for _, s := range instances {
			if decision := s.mustEnter(t, enter()); decision.Reservation == nil || decision.Probe {
				t.Fatalf("got %+v", decision)
			}
		}
	}
	if n := a.link.plain().Exists(t.Context(), a.keys.coolDown(assistant)).Val(); n != 0 {
		t.Error("the cool-down is kept")
	}

	// Only one of many simultaneous requests is the probe. A request that a limit refuses is not.
	a.CoolDown(assistant, time.Hour)
	end()
	none := store.Limit{Key: "a", Window: year, Requests: 0}
	a.wantOut(t, newEntry("", 0, none))
	if n := len(atOnce(t, instances, 20, enter)); n != 1 {
		t.Errorf("%d go alone", n)
	}
}

// Requests wait only briefly for a Redis that does not answer, and later requests do not wait at all. Calls that were
// made meanwhile have no lasting effect.
func TestCountingWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	a, b := openInstance(t, at(server.Socket)), openInstance(t, at(server.Socket))
	kept := a.wantIn(t, newEntry("client", 9))
	left := a.wantIn(t, newEntry("client", 9))
	eventually(t, "a beat has come through", func() bool { return a.counting.now() > 0 })
	in := func(client string) int64 { return b.link.plain().HLen(t.Context(), b.keys.requests(client)).Val() }

	server.Pause()
	// A reply that was on its way shows that Redis answers, and the calls that it overtakes wait.
	eventually(t, "no reply is on its way", func() bool { return a.link.shardOf(a.keys.requests("lost")).silentFor() > 100*time.Millisecond })
	start := time.Now()
	var wg sync.WaitGroup
	for range 5 {
		wg.Go(func() {
			if decision, err := a.Reserve(newEntry("lost", 9)); err == nil {
				t.Errorf("got %+v", decision)
			}
		})
	}
	wg.Wait()
	if took := time.Since(start); took > quick {
		t.Errorf("the first ones took %s", took)
	}
	start = time.Now()
	for range 100 {
		if _, err := a.Reserve(newEntry("lost", 9)); err == nil {
			t.Error("there is no error")
		}
		a.CoolDown(assistant, time.Hour)
	}
	left.Release(true)
	if took := time.Since(start); took > countTime {
		t.Errorf("more took %s, and should not have waited", took)
	}
	server.Resume()
	eventually(t, "Redis is asked again", func() bool {
		decision, err := a.Reserve(newEntry("", 0))
		return err == nil && decision.Reservation != nil
	})
	eventually(t, "what has left is removed", func() bool { return in("client") == 1 })
	eventually(t, "what had no answer is removed", func() bool {
		a.counting.mu.Lock()
		defer a.counting.mu.Unlock()
		return len(a.counting.leftovers) == 0
	})
	if n := in("lost"); n != 0 {
		t.Errorf("%d requests are counted that were not let in", n)
	}
	leave(t, kept)
	if n := in("client"); n != 0 {
		t.Errorf("%d requests are counted that have left", n)
	}
}

// A turn that ends while Redis does not answer does not hold up other requests afterwards.
func TestTurnThatEndsWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	instances := openInstances(t, server, 2)
	a, b := instances[0], instances[1]
	beginsToEnd(t, a)
	probe := a.wantIn(t, newEntry("", 0))
	if decision := b.mustEnter(t, newEntry("", 0)); decision.Reservation != nil {
		t.Fatalf("got %+v", decision)
	}
	server.Pause()
	probe.EndTurn(true)
	server.Resume()
	start := time.Now()
	eventually(t, "others are let in", b.isLetIn)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// A call that reaches Redis after its caller has given up has no effect.
func TestLateCall(t *testing.T) {
	a := openInstance(t, at(redistest.Start(t).Socket))
	eventually(t, "a beat has come through", func() bool { return a.counting.now() > 0 })
	l := store.Limit{Key: "a", Window: year, Requests: 9}
	for _, test := range []struct {
		age  time.Duration
		late bool
	}{{0, false}, {time.Second, false}, {2100 * time.Millisecond, true}, {time.Hour, true}} {
		sent := a.counting.now() - test.age.Microseconds()
		e := newEntry("client", 9, l)
		stay := newReservation(a, &e)
		keys := []string{a.keys.coolDown(assistant), a.keys.instances(), stay.place.key, stay.mark, stay.limits[0].key}
		reply, err := enterScript.Run(t.Context(), a.link.plain(), keys, e.ID, a.instance, sent, 9, "", l.Window.Microseconds(), 9).Int64Slice()
		if err != nil {
			t.Fatal(err)
		}
		if late := reply[0] == verdictLate; late != test.late {
			t.Errorf("after %s: got %v", test.age, reply)
		}
		if counted := a.link.plain().HExists(t.Context(), stay.place.key, e.ID).Val(); counted == test.late {
			t.Errorf("after %s: it is counted: %v", test.age, counted)
		}
	}
	if got := a.link.plain().HGet(t.Context(), a.keys.limit(year.String()+" a"), "now").Val(); got != "2" {
		t.Errorf("got a count of %s", got)
	}
}

// A visitor whose answer has just ended at another instance is not refused, although Redis does not know the end yet.
func TestClientThatIsLeaving(t *testing.T) {
	_, here, there := twoInstances(t)
	leaving := here.wantIn(t, newEntry("client", 1))
	time.AfterFunc(leavingTime/4, func() { leaving.Release(true) })
	leave(t, there.wantIn(t, newEntry("client", 1)))
}

// A chat costs one call, and a second one only if there is something to free.
func TestCallsPerRequest(t *testing.T) {
	server := redistest.Start(t)
	s := openInstance(t, at(server.Socket))
	counted := store.Limit{Key: "a", Window: year, Requests: 100}
	calls := func() (n int) {
		t.Helper()
		stats, err := s.link.plain().Info(t.Context(), "commandstats").Result()
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(stats, "cmdstat_evalsha:calls=")
		_, _ = fmt.Sscanf(rest, "%d", &n)
		return n
	}
	s.wantIn(t, newEntry("warm", 1, counted)).Release(false) // loads the scripts
	s.cancel()                                               // stops the heartbeats, which are calls as well
	s.loops.Wait()
	s.ctx, s.cancel = t.Context(), func() {}
	for _, test := range []struct {
		name    string
		entry   store.Request
		reached bool
		want    int
	}{
		{"nothing is counted", newEntry("", 0), true, 0}, // a plain command asks for a cool-down
		{"nothing is counted, nor reached", newEntry("", 0), false, 0},
		{"a limit", newEntry("", 0, counted), true, 1},
		{"a limit, not reached", newEntry("", 0, counted), false, 2},
		{"a client", newEntry("client", 1, counted), true, 2},
		{"a client, not reached", newEntry("client", 1, counted), false, 2},
	} {
		before := calls()
		if stay := s.wantIn(t, test.entry); test.reached {
			leave(t, stay)
		} else {
			stay.Release(false)
		}
		if got := calls() - before; got != test.want {
			t.Errorf("%s: %d scripts, want %d", test.name, got, test.want)
		}
	}
}

// The names of keys do not show visitors' addresses, and all keys expire.
func TestKeysOfCounts(t *testing.T) {
	s := openInstance(t, at(redistest.Start(t).Socket))
	eventually(t, "a beat has come through", func() bool { return s.counting.now() > 0 })
	s.wantIn(t, newEntry("192.0.2.1", 1, store.Limit{Key: "192.0.2.1", Window: time.Hour, Requests: 1}))
	s.CoolDown("192.0.2.1"+strings.Repeat("x", 200), time.Hour)
	names, err := s.link.plain().Keys(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(names) < 4 {
		t.Errorf("there are only %q", names)
	}
	for _, name := range names {
		if strings.Contains(name, "192.0.2.") || len(name) > 100 {
			t.Errorf("got the key %q", name)
		}
		if ttl := s.link.plain().TTL(t.Context(), name).Val(); ttl <= 0 || ttl > 25*time.Hour {
			t.Errorf("%q is kept for %s", name, ttl)
		}
	}
}

// beginsToEnd begins a cool-down in Redis, and waits until it has elapsed.
func beginsToEnd(t *testing.T, s *redisStore) {
	t.Helper()
	eventually(t, "Redis' time is known", func() bool { return s.counting.now() > 0 })
	var until string
	eventually(t, "there is one", func() bool {
		s.CoolDown(assistant, 50*time.Millisecond) // has no effect if the call takes that long to arrive
		until = s.link.plain().HGet(t.Context(), s.keys.coolDown(assistant), "until").Val()
		return until != ""
	})
	eventually(t, "it is over", func() bool {
		return s.link.plain().Time(t.Context()).Val().UnixMicro() > mustInt(t, until)
	})
}

func mustInt(t *testing.T, word string) int64 {
	t.Helper()
	n, err := strconv.ParseInt(word, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// isLetIn reports whether Redis admits one more request.
func (s *redisStore) isLetIn() bool {
	decision, err := s.Reserve(newEntry("", 0))
	return err == nil && decision.Reservation != nil
}

// A request that may have become the probe, but got no reply, does not keep the turn for long.
func TestTurnOfAnUnknownOutcome(t *testing.T) {
	server := redistest.Start(t)
	instances := openInstances(t, server, 2)
	a, b := instances[0], instances[1]
	a.wantIn(t, newEntry("", 0)) // so that Redis has the script
	beginsToEnd(t, a)
	server.Pause()
	if _, err := a.Reserve(newEntry("", 0)); err == nil {
		t.Error("a Redis that does not answer lets it in")
	}
	server.Resume()
	eventually(t, "another is let in", b.isLetIn)
}

// An instance that dies does not keep the turn either.
func TestTurnOfADeadInstance(t *testing.T) {
	server := redistest.Start(t)
	instances := openInstances(t, server, 2)
	a, b := instances[0], instances[1]
	beginsToEnd(t, a)
	if stay := a.wantIn(t, newEntry("", 0)); stay == nil || b.isLetIn() {
		t.Fatal("two go alone")
	}
	a.cancel()
	a.loops.Wait()
	died := time.Now()
	eventually(t, "another is let in", b.isLetIn)
	if took := time.Since(died); took > lostWithin+time.Second {
		t.Errorf("that took %s", took)
	}
}

// A further attempt waits for a cool-down, and for the probe of another request, as a first attempt does.
func TestTurnsAgain(t *testing.T) {
	instances := openInstances(t, redistest.Start(t), 2)
	a, b := instances[0], instances[1]
	again := func(stay store.Reservation) store.Decision {
		t.Helper()
		decision, err := stay.NextTurn()
		if err != nil {
			t.Fatal(err)
		}
		return decision
	}
	mine, other := a.wantIn(t, newEntry("", 0)), b.wantIn(t, newEntry("", 0))
	if got := again(mine); got.Reservation == nil || got.Probe {
		t.Errorf("without a cool-down, got %+v", got)
	}
	b.CoolDown(assistant, time.Minute)
	if got := again(mine); got.Reservation != nil || got.CoolDown < 50*time.Second {
		t.Errorf("during one, got %+v", got)
	}
	if err := a.link.plain().Del(t.Context(), a.keys.coolDown(assistant)).Err(); err != nil {
		t.Fatal(err)
	}
	beginsToEnd(t, a)
	if got := again(mine); got.Reservation == nil || !got.Probe {
		t.Errorf("after one, got %+v", got)
	}
	if got := again(mine); got.Reservation == nil || !got.Probe {
		t.Errorf("when it asks again, got %+v", got)
	}
	if got := again(other); got.Reservation != nil || !got.Probe {
		t.Errorf("besides, got %+v", got)
	}
	mine.EndTurn(true)
	if got := again(other); got.Reservation == nil || got.Probe {
		t.Errorf("after the answer, got %+v", got)
	}
}

// A cool-down that reaches Redis late does not end later because of that.
func TestLateCoolDown(t *testing.T) {
	s := openInstances(t, redistest.Start(t), 1)[0]
	eventually(t, "Redis' time is known", func() bool { return s.counting.now() > 0 })
	ago := func(d time.Duration) int64 { return s.counting.now() - d.Microseconds() }
	for _, call := range []struct{ wait, late, left time.Duration }{
		{time.Minute, 2 * time.Minute, 0},
		{time.Minute, 20 * time.Second, 40 * time.Second},
	} {
		if _, err := s.count("", coolDownScript, []string{s.keys.coolDown(assistant)}, call.wait.Microseconds(), ago(call.late)); err != nil {
			t.Fatal(err)
		}
		decision := s.mustEnter(t, newEntry("", 0))
		if left := decision.CoolDown; left > call.left || left < call.left-5*time.Second {
			t.Errorf("%s late, %s are left of %s", call.late, left, call.wait)
		}
	}
}

// A visitor's finish does not wait for a Redis far away, and the client's next request finds the room free.
func TestLeavingWaitsForNothing(t *testing.T) {
	server := redistest.Start(t)
	far := openInstance(t, at(redistest.StartRelay(t, server, 50*time.Millisecond).Address))
	far.countTime = callTimeout
	eventually(t, "Redis is up", func() bool { return far.counting.now() > 0 })
	enter := func() (stay store.Reservation) {
		t.Helper()
		eventually(t, "there is a decision", func() bool {
			decision, err := far.Reserve(newEntry("client", 1))
			if stay = decision.Reservation; err == nil && stay == nil {
				t.Fatal("there is no room")
			}
			return err == nil
		})
		return stay
	}
	stay := enter()
	for range 5 {
		start := time.Now()
		stay.Release(true)
		if took := time.Since(start); took > 50*time.Millisecond {
			t.Errorf("leaving took %s", took)
		}
		stay = enter()
	}
	stay.Release(true)
	near := openInstance(t, at(server.Socket))
	if err := far.Destruct(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a closed store has left nothing", func() bool {
		return near.link.plain().Exists(t.Context(), near.keys.requests("client")).Val() == 0
	})
}

// An instance that has much to tell Redis keeps its heartbeats.
func TestMuchToTell(t *testing.T) {
	server := redistest.Start(t)
	s := openInstance(t, at(redistest.StartRelay(t, server, 10*time.Millisecond).Address))
	eventually(t, "Redis is up", func() bool { return s.counting.now() > 0 })
	for i := range 1000 {
		s.counting.overLater(fmt.Sprint("request", i), s.keys.coolDown(fmt.Sprint("assistant", i)), true, 0)
		s.counting.leftOver(field{s.keys.requests("client"), fmt.Sprint(i)}, 0)
	}
	start := time.Now()
	eventually(t, "all is told", func() bool {
		if since := time.Since(s.counting.beatTime()); since > leaseTime {
			t.Fatalf("there was no heartbeat for %s", since)
		}
		return len(s.counting.turnsOver()) == 0 && len(s.counting.due()) == 0
	})
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it took %s", took)
	}
}

// A call that is repeated, because its reply was lost, counts once. If it arrives only after the request has left, it
// has no effect.
func TestRepeatedCalls(t *testing.T) {
	s := openInstance(t, at(redistest.Start(t).Socket))
	s.countTime = callTimeout
	l := store.Limit{Key: "a", Window: year, Requests: 9}
	e := newEntry("client", 1, l)
	stay := newReservation(s, &e)
	enter := func() []int64 {
		t.Helper()
		reply, err := s.enter(stay, &e)
		if err != nil {
			t.Fatal(err)
		}
		return reply
	}
	counted := func() string { return s.link.plain().HGet(t.Context(), stay.limits[0].key, "now").Val() }
	first := enter()
	if again := enter(); !slices.Equal(again, first) || first[0] != verdictAdmitted {
		t.Errorf("first %v, then %v", first, again)
	}
	if n := counted(); n != "1" {
		t.Errorf("it counts as %s", n)
	}
	s.wantOut(t, newEntry("client", 1, l))
	if _, err := stay.decide(first); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if used := stay.Release(false); len(used) != 1 || used[0].Now != 0 {
			t.Errorf("when it has left, got %+v", used)
		}
	}
	if late := enter(); late[0] != verdictLate {
		t.Errorf("a call that comes late has %v", late)
	}
	leave(t, s.wantIn(t, e)) // a page may use an id again
	if n := counted(); n != "1" {
		t.Errorf("the second request counts as %s", n)
	}
}

// If the clock of Redis goes back, no cool-down, no turn and no dead instance lasts longer because of that, and limits
// hold no longer than their window.
func TestClockGoesBack(t *testing.T) {
	server, clock := redistest.StartWithClock(t)
	s := openInstance(t, at(server.Socket))
	s.countTime = callTimeout
	eventually(t, "Redis is up", func() bool { return s.counting.now() > 0 })
	l := store.Limit{Key: "a", Window: 3 * time.Second, Requests: 2}
	now := func() time.Time { return s.link.plain().Time(t.Context()).Val() }
	before := now()
	s.CoolDown(assistant, 2*time.Second)
	s.CoolDown("other", time.Hour)
	dead := openInstance(t, at(server.Socket))
	dead.countTime = callTimeout
	dead.wantIn(t, newListener("client", 1, ""))
	dead.cancel()
	dead.loops.Wait()
	listener := newListener("another", 0, "")
	listener.Limits = []store.Limit{l}
	s.wantIn(t, listener)
	s.wantIn(t, listener)

	clock.Shift(-time.Hour)
	eventually(t, "the clock goes back", func() bool { return now().Before(before.Add(-time.Minute)) })
	start := time.Now()
	decision := s.mustEnter(t, newEntry("", 0))
	if decision.CoolDown > 2*time.Second {
		t.Errorf("the cool-down lasts %s", decision.CoolDown)
	}
	eventually(t, "the cool-down ends", func() bool { return s.mustEnter(t, newEntry("", 0)).CoolDown == 0 })
	if took := time.Since(start); took > 4*time.Second {
		t.Errorf("the cool-down ended after %s", took)
	}
	other := newEntry("", 0)
	other.Assistant = "other"
	if left := s.mustEnter(t, other).CoolDown; left < 50*time.Minute || left > time.Hour {
		t.Errorf("a cool-down of an hour lasts %s", left)
	}
	eventually(t, "the limit has room", func() bool { return s.mustEnter(t, listener).Reservation != nil })
	free := newListener("client", 1, "")
	eventually(t, "the dead instance takes up nothing", func() bool { return s.mustEnter(t, free).Reservation != nil })
	if took := time.Since(start); took > 9*time.Second {
		t.Errorf("all was well after %s", took)
	}
}
