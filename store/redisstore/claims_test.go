package redisstore

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
)

// slack is how much longer a busy machine may take than what a test allows.
const slack = 200 * time.Millisecond

// mustClaim claims an id that must be free.
func (s *redisStore) mustClaim(t *testing.T, id string) (*source, store.Listener) {
	t.Helper()
	begun, first, taken := s.Claim(id, store.Meta{}, terms, nil)
	if taken != nil {
		t.Fatalf("%s is taken", id)
	}
	t.Cleanup(first.Close)
	return begun.(*source), first
}

// wantTaken checks that an id is taken.
func (s *redisStore) wantTaken(t *testing.T, id string) store.Stream {
	t.Helper()
	_, _, taken := s.Claim(id, store.Meta{}, terms, nil)
	if taken == nil {
		t.Fatalf("%s is not taken", id)
	}
	return taken
}

// claimIn returns the claim that a stream has in Redis, or "".
func (s *redisStore) claimIn(t *testing.T, id string) string {
	t.Helper()
	entries, err := s.link.plain().XRangeN(t.Context(), s.keys.log(id), "-", "+", 1).Result()
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) == 0 {
		return ""
	}
	return fmt.Sprint(entries[0].Values[fieldClaim])
}

// wantExpiring checks that each key in Redis has a time to live.
func (s *redisStore) wantExpiring(t *testing.T) {
	t.Helper()
	for _, key := range s.link.plain().Keys(t.Context(), "*").Val() {
		if ttl := s.link.plain().PTTL(t.Context(), key).Val(); ttl == -1 {
			t.Errorf("%s never expires", key)
		}
	}
}

// Of many who claim an id at two instances far from Redis, one begins the stream. Nobody waits for more than one call.
func TestClaimsFarAway(t *testing.T) {
	server := redistest.Start(t)
	config := at(redistest.StartRelay(t, server, 15*time.Millisecond).Address)
	instances := []*redisStore{openInstance(t, config), openInstance(t, config)}
	for _, s := range instances {
		eventually(t, "it has a lease", s.leased.Load)
	}
	for round := range 5 {
		id := fmt.Sprint("id", round)
		var mu sync.Mutex
		var begun []store.Source
		var claims sync.WaitGroup
		for i := range 20 {
			claims.Go(func() {
				source, first, taken := instances[i%2].Claim(id, store.Meta{Owner: "me"}, terms, nil)
				if taken != nil {
					if taken.Meta().Owner != "me" {
						t.Errorf("got the owner %q", taken.Meta().Owner)
					}
					return
				}
				defer first.Close()
				mu.Lock()
				defer mu.Unlock()
				begun = append(begun, source)
			})
		}
		claims.Wait()
		if len(begun) != 1 {
			t.Fatalf("%d streams have one id", len(begun))
		}
		if got := instances[0].claimIn(t, id); got != begun[0].(*source).replica.claim {
			t.Errorf("Redis has the claim %s, and not that of the stream", got)
		}
		begun[0].Fail(nil)
	}
}

// If the reply to a claim is lost, the claim is repeated, and the stream is there at all instances.
func TestLostReplyToAClaim(t *testing.T) {
	config := at(redistest.Start(t).Socket)
	here, there := openInstance(t, config), openInstance(t, config)
	eventually(t, "Redis knows them", func() bool { return here.leased.Load() && there.leased.Load() })
	c := claimed{claim: "a claim", chosen: true, begun: true} // as it is without a reply in time
	meta := encodeMeta(store.Meta{}, terms)
	if reply, err := here.askClaim(t.Context(), "id", meta, terms, c.claim, ""); reply != int64(1) || err != nil {
		t.Fatalf("got %v and %v", reply, err)
	}
	local, first := here.local.Create("id", store.Meta{}, terms)
	source := here.replicate("id", local, meta, terms, c)
	defer first.Close()
	source.Open(http.Header{})
	source.add(t, "data: 1\n\n")
	there.wantTaken(t, "id")
	listener := there.listen(t, "id", 0)
	source.Finish(store.Chunk{}, store.End{})
	for _, l := range []store.Listener{first, listener} {
		if got, _ := readOn(t, l); got != "data: 1\n\n" {
			t.Errorf("got %q", got)
		}
	}
	here.wantExpiring(t)
}

// claim.lua may run twice, also when the stream has gone on in between.
func TestRepeatedClaim(t *testing.T) {
	s := openInstance(t, at(redistest.Start(t).Socket))
	ask := func(claim, replaceable string) bool {
		t.Helper()
		reply, err := s.askClaim(t.Context(), "id", "{}", terms, claim, replaceable)
		if err != nil {
			t.Fatal(err)
		}
		return reply == int64(1)
	}
	add := func(claim string, fields ...any) {
		t.Helper()
		args := append([]any{claim, 0, "0-*"}, fields...)
		if err := appendScript.Run(t.Context(), s.link.plain(), []string{s.keys.log("id")}, args...).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if !ask("a", "") {
			t.Error("its own claim is refused")
		}
	}
	if ask("b", "") || ask("b", "c") {
		t.Error("a claim is replaced")
	}
	if !ask("b", "a") || ask("a", "") {
		t.Error("a claim that may be replaced is not")
	}
	add("b", fieldHead, "{}")
	if !ask("b", "") || ask("c", "b") {
		t.Error("a claim of an open stream is replaced")
	}
	add("b", fieldFailed, "")
	if !ask("b", "") || !ask("c", "") {
		t.Error("a stream that has failed keeps its id")
	}
	add("c", fieldLost, 1)
	if !ask("d", "") {
		t.Error("a stream that was lost before it was opened keeps its id")
	}
	s.wantExpiring(t)
}

// The id of an instance that has died while it asked is free again. If the instance was only slow, it writes nothing
// into the new stream. A stream that was opened stays.
func TestClaimOfADeadInstance(t *testing.T) {
	server := redistest.Start(t)
	config := at(server.Socket)
	relay := redistest.StartRelay(t, server, 0)
	here, there := openInstance(t, config), openInstance(t, at(relay.Address))
	slow, firstOfSlow := there.mustClaim(t, "asking")
	opened, _ := there.mustClaim(t, "opened")
	opened.Open(http.Header{})
	eventually(t, "Redis has the header", opened.replica.isSettled)
	here.wantTaken(t, "asking")

	relay.Pause()
	var begun store.Source
	var first store.Listener
	eventually(t, "its id is free", func() bool {
		begun, first, _ = here.Claim("asking", store.Meta{}, terms, nil)
		return begun != nil
	})
	defer first.Close()
	here.wantTaken(t, "opened")
	relay.Resume()

	slow.Open(http.Header{})
	slow.add(t, "data: of the slow one\n\n")
	select {
	case <-slow.replica.done:
	case <-time.After(patience):
		t.Error("the slow one does not stop")
	}
	begun.Open(http.Header{})
	begun.(*source).add(t, "data: 1\n\n")
	begun.Finish(store.Chunk{}, store.End{})
	slow.Finish(store.Chunk{}, store.End{})
	if got, _ := readOn(t, first); got != "data: 1\n\n" {
		t.Errorf("got %q", got)
	}
	if got, _ := readOn(t, firstOfSlow); got != "data: of the slow one\n\n" {
		t.Errorf("at the slow one, got %q", got)
	}
	eventually(t, "Redis has the end", begun.(*source).replica.isSettled)
	if got, _ := readOn(t, openInstance(t, config).listen(t, "asking", 0)); got != "data: 1\n\n" {
		t.Errorf("elsewhere, got %q", got)
	}
	here.wantExpiring(t)
}

// After an outage, the lease of a live instance may be gone until its next heartbeat. Its claim is not replaced meanwhile.
func TestClaimOfALiveInstanceWithoutLease(t *testing.T) {
	_, here, there := twoInstances(t)
	eventually(t, "Redis knows them", func() bool { return here.leased.Load() && there.leased.Load() })
	client := here.link.plain()
	for i := range 3 {
		id := fmt.Sprint("id", i)
		mine, _ := here.mustClaim(t, id)
		renewed := here.leased.renewed.Load()
		eventually(t, "a heartbeat", func() bool { return here.leased.renewed.Load() != renewed })
		if err := client.Del(t.Context(), here.keys.lease(here.instance)).Err(); err != nil {
			t.Fatal(err)
		}
		there.wantTaken(t, id)
		if got := there.claimIn(t, id); got != mine.replica.claim {
			t.Errorf("Redis has the claim %q", got)
		}
		mine.Fail(nil)
	}
}

// A claim renews a lease that the last heartbeats have not renewed.
func TestClaimRenewsTheLease(t *testing.T) {
	s := openInstance(t, at(redistest.Start(t).Socket))
	eventually(t, "Redis knows it", s.leased.Load)
	s.cancel() // no heartbeat any more
	s.loops.Wait()
	s.ctx = context.WithoutCancel(s.ctx)
	lease := s.keys.lease(s.instance)
	eventually(t, "the lease has expired", func() bool { return s.link.plain().Exists(t.Context(), lease).Val() == 0 })
	s.mustClaim(t, "id")
	if s.link.plain().Exists(t.Context(), lease).Val() == 0 {
		t.Error("the claim has no lease")
	}
	_ = s.link.close()
}

// The clock of Redis may go back just after an instance has died. Its lease then lives on, but nobody waits for it.
func TestLeaseWhenTheClockGoesBack(t *testing.T) {
	server, clock := redistest.StartWithClock(t)
	dead, alive := openInstance(t, at(server.Socket)), openInstance(t, at(server.Socket))
	eventually(t, "Redis knows them", func() bool { return dead.leased.Load() && alive.leased.Load() })
	open := dead.claim(t, "open")
	dead.mustClaim(t, "claimed")
	dead.mustClaim(t, "also claimed")
	eventually(t, "Redis has the header", open.isSettled)
	listener := alive.listen(t, "open", 0)
	dead.cancel()
	_ = dead.link.close()
	clock.Shift(-time.Hour)
	died := time.Now()
	if got, err := readOn(t, listener); err != store.ErrLost {
		t.Errorf("the listener gets %q and %v", got, err)
	}
	if took := time.Since(died); took > 5*time.Second {
		t.Errorf("the listener has waited for %s", took)
	}
	if ttl := alive.link.plain().PTTL(t.Context(), dead.keys.lease(dead.instance)).Val(); ttl < time.Minute {
		t.Errorf("the lease lives for %s, so this test proves nothing", ttl)
	}
	alive.mustClaim(t, "claimed") // the listener has told that the instance is dead
	third := openInstance(t, at(server.Socket))
	eventually(t, "another one finds out by itself", func() bool {
		begun, first, taken := third.Claim("also claimed", store.Meta{}, terms, nil)
		if taken != nil {
			return false
		}
		first.Close()
		begun.Fail(nil)
		return true
	})
	living, _ := alive.mustClaim(t, "living")
	third.wantTaken(t, "living")
	living.Fail(nil)
}

// A lease is absent if it does not exist or is not renewed. The lease of an older version has no value.
func TestLeaseValues(t *testing.T) {
	start := time.Now()
	var v leaseValue
	for i, look := range []struct {
		at     time.Duration
		value  string
		absent bool
	}{
		{0, "1", false}, {leaseTime, "1", false}, {leaseTime + 1, "1", true}, {2 * leaseTime, "2", false},
		{3 * leaseTime, noLease, true}, {4 * leaseTime, "3", false}, {5 * leaseTime, "", false}, {9 * leaseTime, "", false},
	} {
		if got := v.isAbsent(start.Add(look.at), look.value); got != look.absent {
			t.Errorf("look %d: absent: %v", i, got)
		}
	}
}

// While Redis does not answer, an instance decides alone. A visitor waits for that at most once, for claimTime.
func TestClaimWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	config := at(server.Socket)
	here, there := openInstance(t, config), openInstance(t, config)
	eventually(t, "Redis knows it", here.leased.Load)
	server.Pause()
	defer server.Resume()
	start := time.Now()
	source, first := here.mustClaim(t, "id")
	if took := time.Since(start); took > claimTime+slack {
		t.Errorf("a claim took %s", took)
	}
	eventually(t, "that Redis is down is noted", func() bool { return !here.Shared() })
	start = time.Now()
	if here.wantTaken(t, "id").Meta() != (store.Meta{}) {
		t.Error("another one has it")
	}
	other, _ := here.mustClaim(t, "other")
	source.Open(http.Header{})
	if first.Header() == nil {
		t.Error("there is no header, although Redis is down")
	}
	if took := time.Since(start); took > slack {
		t.Errorf("what follows took %s", took)
	}
	other.Fail([]byte("a reason"))
	server.Resume()
	eventually(t, "Redis knows the stream", func() bool { return there.claimIn(t, "id") == source.replica.claim })
	eventually(t, "Redis knows nothing of the failed one", func() bool {
		return here.replicator.find("other") == nil && there.claimIn(t, "other") == ""
	})
	source.Finish(store.Chunk{}, store.End{})
	eventually(t, "Redis knows the end", source.replica.isSettled)
	here.wantExpiring(t)
}

// The id of a stream that is no longer kept is taken while the stream goes on, but not by an instance that has died.
func TestUnkeptClaimOfADeadInstance(t *testing.T) {
	server := redistest.Start(t)
	config := at(server.Socket)
	relay := redistest.StartRelay(t, server, 0)
	here, there := openInstance(t, config), openInstance(t, at(relay.Address))
	small := terms
	small.MaxSize = 100
	dying, _, _ := there.Claim("id", store.Meta{}, small, nil)
	dying.Open(http.Header{})
	for n := range 20 {
		dying.(*source).add(t, fmt.Sprintf("data: %d\n\n", n))
	}
	eventually(t, "Redis has only the claim", func() bool { _, err := here.Find(t.Context(), "id"); return err != nil })
	if ttl := here.link.plain().PTTL(t.Context(), here.keys.log("id")).Val(); ttl <= 0 || ttl > small.Keep+spare {
		t.Errorf("the claim is kept for %s", ttl)
	}
	here.wantTaken(t, "id")
	relay.Pause()
	eventually(t, "its id is free", func() bool {
		begun, first, _ := here.Claim("id", store.Meta{}, terms, nil)
		if begun == nil {
			return false
		}
		first.Close()
		begun.Open(http.Header{})
		begun.Finish(store.Chunk{}, store.End{Reason: "stop"})
		return true
	})
	relay.Resume()
	dying.Finish(store.Chunk{}, store.End{}) // must not remove what is not its own
	eventually(t, "the dead one has told Redis", func() bool {
		dying.(*source).replica.mu.Lock()
		defer dying.(*source).replica.mu.Unlock()
		return dying.(*source).replica.cleanup == nothing
	})
	if stream, err := openInstance(t, config).Find(t.Context(), "id"); err != nil {
		t.Errorf("the new stream is gone: %v", err)
	} else if stream.(*remote).known.Load().last.end == nil {
		t.Error("the new stream has no end")
	}
}

// A stream that is not kept from the beginning has only its claim in Redis, also if the reply to the claim was lost. The
// claim expires, and goes with the stream.
func TestUnkeptFromTheBeginning(t *testing.T) {
	server := redistest.Start(t)
	relay := redistest.StartRelay(t, server, 0)
	here, there := openInstance(t, at(relay.Address)), openInstance(t, at(server.Socket))
	eventually(t, "Redis knows them", func() bool { return here.leased.Load() && there.leased.Load() })
	if !here.budget.Take(terms.MaxTotal, terms.MaxTotal) {
		t.Fatal("there is no room")
	}
	relay.Pause()
	source, first := here.mustClaim(t, "id")
	defer first.Close()
	relay.Resume()
	source.Open(http.Header{})
	eventually(t, "it is taken elsewhere", func() bool { return there.claimIn(t, "id") == source.replica.claim })
	eventually(t, "Redis has the mark", func() bool {
		known, err := there.newRemote("id", nil).look(t.Context(), forStops)
		return err == nil && known.last.unkept
	})
	here.wantExpiring(t)
	there.wantTaken(t, "id")
	here.replicator.renew()
	eventually(t, "Redis has done everything", here.replicator.isIdle)
	here.wantExpiring(t)
	source.Finish(store.Chunk{}, store.End{})
	here.flush()
	if claim := there.claimIn(t, "id"); claim != "" {
		t.Errorf("after its end, Redis has the claim %s", claim)
	}
}

// If two instances have decided alone, the first one whose claim reaches Redis has the id. The other one keeps its
// stream for itself.
func TestTwoClaimsWithoutRedis(t *testing.T) {
	server := redistest.Start(t)
	relay := redistest.StartRelay(t, server, 0)
	config := at(server.Socket)
	here, there := openInstance(t, at(relay.Address)), openInstance(t, config)
	eventually(t, "Redis knows them", func() bool { return here.leased.Load() && there.leased.Load() })
	relay.Pause()
	mine, first := here.mustClaim(t, "id")
	theirs, firstOfTheirs := there.mustClaim(t, "id")
	relay.Resume()
	for _, s := range []*source{mine, theirs} {
		s.Open(http.Header{})
	}
	select {
	case <-mine.replica.done:
	case <-time.After(maxBehind / 2): // it does not give up, but learns that it is too late
		t.Error("the second one does not stop")
	}
	mine.add(t, "data: mine\n\n")
	theirs.add(t, "data: theirs\n\n")
	mine.Finish(store.Chunk{}, store.End{})
	theirs.Finish(store.Chunk{}, store.End{})
	if got, _ := readOn(t, first); got != "data: mine\n\n" {
		t.Errorf("got %q", got)
	}
	if got, _ := readOn(t, firstOfTheirs); got != "data: theirs\n\n" {
		t.Errorf("at the other one, got %q", got)
	}
	eventually(t, "Redis knows the end", theirs.replica.isSettled)
	if got, _ := readOn(t, openInstance(t, config).listen(t, "id", 0)); got != "data: theirs\n\n" {
		t.Errorf("elsewhere, got %q", got)
	}
	if got := here.claimIn(t, "id"); got != theirs.replica.claim {
		t.Errorf("Redis has the claim %s", got)
	}
}

// Listeners get the header once Redis has the claim. If Redis takes too long, they do not wait for it.
func TestHeaderWaitsForTheClaim(t *testing.T) {
	server := redistest.Start(t)
	far := openInstance(t, at(redistest.StartRelay(t, server, 40*time.Millisecond).Address))
	near := openInstance(t, at(server.Socket))
	eventually(t, "Redis knows them", func() bool { return far.leased.Load() && near.leased.Load() })
	for i := range 5 {
		id := fmt.Sprint("id", i)
		source, first := far.Create(id, store.Meta{}, terms)
		source.Open(http.Header{})
		if first.Header() != nil {
			t.Error("the header is there at once")
		}
		eventually(t, "the header is there", func() bool { return first.Header() != nil })
		if _, err := near.Find(t.Context(), id); err != nil {
			t.Errorf("a listener knows the stream, but another instance does not: %v", err)
		}
		first.Close()
		source.Finish(store.Chunk{}, store.End{})
	}
	server.Pause()
	defer server.Resume()
	source, first := near.Create("paused", store.Meta{}, terms)
	defer first.Close()
	start := time.Now()
	source.Open(http.Header{})
	eventually(t, "the header is there", func() bool { return first.Header() != nil })
	if took := time.Since(start); took > announceTime+slack {
		t.Errorf("the header took %s", took)
	}
	source.Finish(store.Chunk{}, store.End{})
}

// A stream whose id the server chose expires, too, and after its end sooner.
func TestStreamsExpire(t *testing.T) {
	s := openInstance(t, at(redistest.Start(t).Socket))
	source := s.claim(t, "id")
	ttl := func() time.Duration { return s.link.plain().PTTL(t.Context(), source.replica.key).Val() }
	eventually(t, "Redis knows it", source.isSettled)
	if got := ttl(); got <= terms.Keep || got > terms.Keep+spare {
		t.Errorf("at first, it is kept for %s", got)
	}
	source.write(t, 1, 2)
	source.Finish(store.Chunk{}, store.End{})
	eventually(t, "Redis knows the end", source.isSettled)
	if got := ttl(); got <= 0 || got > terms.Keep {
		t.Errorf("in the end, it is kept for %s", got)
	}
	s.wantExpiring(t)
}

// A claim that was acknowledged before the stream opens does not delay the header.
func TestHeaderAfterTheClaim(t *testing.T) {
	s := openInstance(t, at(redistest.Start(t).Socket))
	source, first := s.Create("id", store.Meta{}, terms)
	defer first.Close()
	eventually(t, "Redis knows the stream", func() bool { return s.claimIn(t, "id") != "" })
	eventually(t, "the reply is there", source.(interface{ isSettled() bool }).isSettled)
	source.Open(http.Header{})
	if first.Header() == nil {
		t.Error("the header waits")
	}
	source.Finish(store.Chunk{}, store.End{})
}

func (s *source) isSettled() bool { return s.replica.isSettled() }

// An id is free for this instance as soon as its stream has failed, even before Redis knows that. A stream that has
// failed is soon forgotten.
func TestFailureFreesTheID(t *testing.T) {
	server := redistest.Start(t)
	s := openInstance(t, at(redistest.StartRelay(t, server, 20*time.Millisecond).Address))
	for range 3 {
		source, first := s.mustClaim(t, "id")
		source.Fail([]byte("a reason"))
		if _, err := readOn(t, first); err == nil || err.Error() != (&store.Failed{}).Error() {
			t.Errorf("got %v", err)
		}
	}
	last, _ := s.mustClaim(t, "last")
	last.Fail([]byte("a reason"))
	for _, id := range []string{"id", "last"} {
		eventually(t, "Redis knows that it has failed", func() bool { return s.replicator.find(id) == nil })
		if ttl := s.link.plain().PTTL(t.Context(), s.keys.log(id)).Val(); ttl <= 0 || ttl > failedTime {
			t.Errorf("%s is kept for %s", id, ttl)
		}
	}
	s.wantExpiring(t)
}

// Redis may forget the scripts, as after a failover.
func TestForgottenScripts(t *testing.T) {
	server := redistest.Start(t)
	s := openInstance(t, at(server.Socket))
	for i := range 3 {
		server.Do("SCRIPT", "FLUSH")
		source, first := s.mustClaim(t, fmt.Sprint("id", i))
		server.Do("SCRIPT", "FLUSH")
		source.Open(http.Header{})
		source.write(t, 1, 1)
		server.Do("SCRIPT", "FLUSH")
		source.Finish(store.Chunk{}, store.End{})
		eventually(t, "Redis knows the end", source.isSettled)
		first.Close()
		if n := s.link.plain().XLen(t.Context(), source.replica.key).Val(); n < 3 {
			t.Errorf("Redis has %d entries", n)
		}
	}
	s.wantExpiring(t)
}

// A shard that is down does not delay what belongs to others.
func TestStreamsBesideADeadShard(t *testing.T) {
	c := redistest.StartCluster(t, 2, false, "--cluster-require-full-coverage", "no")
	s := openInstance(t, at(c.Masters[0].Address, c.Masters[1].Address))
	sources := make([]*source, 2)
	for i := 0; sources[0] == nil || sources[1] == nil; i++ {
		id := fmt.Sprint("id", i)
		if owner := c.Owner(s.keys.log(id)); sources[owner] == nil {
			eventually(t, "the cluster is known", func() bool { return s.link.set(t.Context(), s.keys.log(id)+"x") == nil })
			sources[owner], _ = s.mustClaim(t, id)
			sources[owner].Open(http.Header{})
			eventually(t, "Redis knows it", sources[owner].isSettled)
		}
	}
	c.Masters[1].Pause()
	defer c.Masters[1].Resume()
	sources[1].add(t, "data: 1\n\n")
	for range 100 {
		start := time.Now()
		sources[0].add(t, "data: 1\n\n")
		eventually(t, "Redis has it", sources[0].isSettled)
		if took := time.Since(start); took > slack {
			t.Errorf("an event at the other shard took %s", took)
		}
	}
	if sources[1].isSettled() {
		t.Error("the paused shard has answered")
	}
	c.Masters[1].Resume()
	for _, source := range sources {
		source.Finish(store.Chunk{}, store.End{})
		eventually(t, "Redis knows the end", source.isSettled)
		if source.replica.end == nil || source.replica.cleanup != nothing {
			t.Error("a stream was given up")
		}
	}
}

// What waits for Redis after the end of a stream is counted, and the count returns to zero.
func TestHeldBytes(t *testing.T) {
	server := redistest.Start(t)
	s := openInstance(t, at(server.Socket))
	eventually(t, "Redis knows it", s.leased.Load)
	held := func() int {
		s.replicator.mu.Lock()
		defer s.replicator.mu.Unlock()
		return s.replicator.held
	}
	server.Pause()
	defer server.Resume()
	var sources []*source
	for i := range 5 {
		begun, first := s.Create(fmt.Sprint("id", i), store.Meta{}, terms)
		begun.Open(http.Header{})
		for range 100 {
			begun.(*source).add(t, "data: "+strings.Repeat("x", 500)+"\n\n")
		}
		begun.Finish(store.Chunk{}, store.End{})
		first.Close()
		sources = append(sources, begun.(*source))
	}
	if n := held(); n == 0 || n > 5*100*600 {
		t.Errorf("%d bytes are held", n)
	}
	server.Resume()
	for _, source := range sources {
		eventually(t, "Redis knows the end", source.isSettled)
	}
	if n := held(); n != 0 {
		t.Errorf("%d bytes are held in the end", n)
	}
}

// add appends an event in one chunk.
func (s *source) add(t *testing.T, event string) {
	t.Helper()
	if err := s.Append(t.Context(), store.Chunk{Data: []byte(event), Ends: []int{len(event)}}); err != nil {
		t.Error(err)
	}
}

// A listener elsewhere may be faster than the reply to the claim. Its stream is not lost.
func TestListenerBeforeTheReply(t *testing.T) {
	s := openInstance(t, at(redistest.Start(t).Socket))
	_, unlock := s.claims.lock("id")
	s.readers.heard("another", []string{"id"}, time.Minute)
	unlock()
	s.losses.mu.Lock()
	defer s.losses.mu.Unlock()
	if len(s.losses.waiting)+len(s.losses.checked) > 0 {
		t.Error("a stream that begins is taken for lost")
	}
}

// One goroutine at a time has the lock of an id, and locks that nobody has are forgotten.
func TestIDLocks(t *testing.T) {
	var locks idLocks
	var inside [2]atomic.Int32
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			_, unlock := locks.lock(fmt.Sprint(i % 2))
			defer unlock()
			if n := inside[i%2].Add(1); n != 1 {
				t.Errorf("%d have the lock", n)
			}
			runtime.Gosched()
			inside[i%2].Add(-1)
		})
	}
	all.Wait()
	if len(locks.locks) > 0 {
		t.Errorf("%d locks are left", len(locks.locks))
	}
}

// A listener of a stream that has failed may tell of itself late, when this instance has claimed the id again. The new
// stream is not marked as lost.
func TestLateCheckOfAnEarlierStream(t *testing.T) {
	server := redistest.Start(t)
	relay := redistest.StartRelay(t, server, 20*time.Millisecond)
	here, there := openInstance(t, at(relay.Address)), openInstance(t, at(server.Socket))
	eventually(t, "Redis knows them", func() bool { return here.leased.Load() && there.leased.Load() })
	isChecked := func(id string) bool {
		here.losses.mu.Lock()
		defer here.losses.mu.Unlock()
		_, waits := here.losses.waiting[id]
		return !here.losses.checked[id].IsZero() && !waits
	}
	for i := range 5 {
		id := fmt.Sprint("id", i)
		earlier, _ := here.mustClaim(t, id)
		earlier.Fail([]byte("a reason"))
		select {
		case <-earlier.replica.done:
		case <-time.After(patience):
			t.Fatal("Redis does not know the failure")
		}
		_, unlock := here.claims.lock(fmt.Sprint("busy", i)) // holds up the round of checks before
		here.losses.check(fmt.Sprint("busy", i), writer{instance: here.instance})
		eventually(t, "a check is on its way", func() bool { return isChecked(fmt.Sprint("busy", i)) })
		here.readers.heard(there.instance, []string{id}, time.Minute)
		again, _ := here.mustClaim(t, id)
		unlock()
		eventually(t, "the stream is checked", func() bool { return isChecked(id) })
		here.losses.mark(id, writer{instance: here.instance}) // even then
		if got := there.wantTaken(t, id); got.Meta() != (store.Meta{}) {
			t.Errorf("got %+v", got.Meta())
		}
		if n := there.link.plain().XLen(t.Context(), there.keys.log(id)).Val(); n != 1 {
			t.Errorf("Redis has %d entries", n)
		}
		again.Fail(nil)
	}
}

// A check that is on its way holds up a claim of the same id until Redis has answered it.
func TestCheckLocksTheID(t *testing.T) {
	server := redistest.Start(t)
	relay := redistest.StartRelay(t, server, 0)
	s := openInstance(t, at(relay.Address))
	eventually(t, "Redis knows it", s.leased.Load)
	relay.Pause()
	defer relay.Resume()
	s.losses.check("id", writer{instance: s.instance})
	eventually(t, "the id is locked", func() bool { return s.claims.isHeld("id") })
	relay.Resume()
	begun, _ := s.mustClaim(t, "id")
	begun.Open(http.Header{})
	eventually(t, "Redis has the header", begun.isSettled)
	if got := s.claimIn(t, "id"); got != begun.replica.claim {
		t.Errorf("Redis has the claim %q", got)
	}
	begun.Finish(store.Chunk{}, store.End{})
}
