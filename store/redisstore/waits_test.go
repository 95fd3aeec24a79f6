package redisstore

import (
	"context"
	"io"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
)

// calls returns how many commands of a kind Redis has refused or carried out.
func calls(t *testing.T, server *redistest.Server, command string) (n int) {
	t.Helper()
	for line := range strings.SplitSeq(server.Do("INFO", "commandstats"), "\r\n") {
		if stats, ok := strings.CutPrefix(line, "cmdstat_"+command+":"); ok {
			for stat := range strings.SplitSeq(stats, ",") {
				name, value, _ := strings.Cut(stat, "=")
				if name == "calls" || name == "rejected_calls" {
					n += number64(t, value)
				}
			}
		}
	}
	return n
}

func number64(t *testing.T, text string) int {
	t.Helper()
	n := 0
	for _, c := range text {
		n = 10*n + int(c-'0')
	}
	return n
}

// A page that has chosen an id does not wait for a Redis that refuses the claim: the instance decides alone at once.
func TestRefusedClaim(t *testing.T) {
	server := redistest.Start(t)
	s := openInstance(t, at(server.Socket))
	eventually(t, "Redis knows it", s.leased.Load)
	server.Do("ACL", "SETUSER", "default", "-xadd")
	before := calls(t, server, "eval") + calls(t, server, "evalsha")
	for _, id := range []string{"a", "b", "c"} {
		began := time.Now()
		source, _ := s.mustClaim(t, id)
		if took := time.Since(began); took > 2*slack {
			t.Errorf("a claim took %s", took)
		}
		source.Fail(nil)
	}
	if n := calls(t, server, "eval") + calls(t, server, "evalsha") - before; n > 50 {
		t.Errorf("Redis was asked %d times", n)
	}
}

// While a Redis Cluster is down, a claim waits for it, but does not ask all the time.
func TestClaimWhileTheClusterIsDown(t *testing.T) {
	c := redistest.StartCluster(t, 1, false)
	s := openInstance(t, at(c.Masters[0].Address))
	eventually(t, "the cluster is known", func() bool { return s.link.set(t.Context(), "illumichat:a") == nil })
	c.Masters[0].Do("CLUSTER", "DELSLOTS", "0")
	eventually(t, "the cluster is down", func() bool {
		return strings.Contains(c.Masters[0].Do("CLUSTER", "INFO"), "cluster_state:fail")
	})
	before := calls(t, c.Masters[0], "eval") + calls(t, c.Masters[0], "evalsha")
	began := time.Now()
	source, _ := s.mustClaim(t, "id")
	if took := time.Since(began); took > claimTime+slack {
		t.Errorf("a claim took %s", took)
	}
	source.Fail(nil)
	if n := calls(t, c.Masters[0], "eval") + calls(t, c.Masters[0], "evalsha") - before; n > 100 {
		t.Errorf("Redis was asked %d times", n)
	}
}

// Those who claim an id at the same time at one instance do not wait one after the other for a Redis that is far away.
func TestClaimsWaitTogether(t *testing.T) {
	server := redistest.Start(t)
	relay := redistest.StartRelay(t, server, 0)
	near, far := openInstance(t, at(server.Socket)), openInstance(t, at(relay.Address))
	eventually(t, "Redis knows them", func() bool { return near.leased.Load() && far.leased.Load() })
	near.mustClaim(t, "id")
	far.wantTaken(t, "id") // from now on, Redis knows the script
	near.mustClaim(t, "another")
	relay.Delay(100 * time.Millisecond)
	began := time.Now()
	var claims sync.WaitGroup
	for range 10 {
		claims.Go(func() {
			if _, _, taken := far.Claim("another", store.Meta{}, terms, nil); taken == nil {
				t.Error("the id is not taken")
			}
		})
	}
	claims.Wait()
	if took := time.Since(began); took > claimTime+slack {
		t.Errorf("they took %s", took)
	}
}

// A Redis whose answers take less than countTime is up again after a failure, although a heartbeat has two calls.
func TestRedisFarAwayComesBack(t *testing.T) {
	relay := redistest.StartRelay(t, redistest.Start(t), 70*time.Millisecond)
	s := openInstance(t, at(relay.Address))
	eventually(t, "Redis is up", func() bool { return s.counting.now() > 0 })
	s.link.topology.seed.fail(errDown)
	eventually(t, "it is up again", s.Shared)
}

// A listener of whom the writing instance hears after the end of the answer gets the end at once.
func TestEndForALateListener(t *testing.T) {
	_, here, there := twoInstances(t)
	stream := here.claim(t, "id")
	stream.append(t, "data: 1\n\n")
	listener := there.listen(t, "id", 0)
	awaitEvent(t, listener, "data: 1\n\n")
	eventually(t, "the listener is known", func() bool { return len(here.readers.news([]string{"id"})) > 0 })
	f := there.following.all()[0]
	f.mu.Lock()
	f.told = time.Now().Add(time.Minute) // so that nobody tells of the listener
	f.looked = time.Now()
	f.mu.Unlock()
	here.readers.mu.Lock()
	clear(here.readers.until)
	here.readers.mu.Unlock()
	stream.Finish(store.Chunk{}, store.End{})
	<-stream.replica.done
	f.tellAgain()
	ctx, cancel := context.WithTimeout(t.Context(), lookInterval/2)
	defer cancel()
	if got, err := await(ctx, listener); got != "" || err != io.EOF {
		t.Errorf("got %q and %v", got, err)
	}
}
