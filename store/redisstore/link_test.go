package redisstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/redistest"
	"github.com/illumichat/caddy-illumichat/store"
)

var plainClients sync.Map // by link

// plain returns a client for what a test asks Redis itself.
func (l *link) plain() redis.UniversalClient {
	client, ok := plainClients.Load(l)
	if !ok {
		client, _ = plainClients.LoadOrStore(l, redis.NewUniversalClient(l.config.options()))
	}
	return client.(redis.UniversalClient)
}

// set sets a key to a value, and returns the error of the call or of the command.
func (l *link) set(ctx context.Context, key string) error {
	var set *redis.StatusCmd
	err := l.exec(ctx, key, callTimeout, func(ctx context.Context, p redis.Pipeliner) {
		set = p.Set(ctx, key, "", time.Minute)
	})
	if err != nil {
		return err
	}
	return set.Err()
}

// keyAt returns a key that the master with an index has.
func keyAt(c *redistest.Cluster, master int) string {
	for i := 0; ; i++ {
		if key := fmt.Sprint("illumichat:key", i); c.Owner(key) == master {
			return key
		}
	}
}

// A dead shard of a Redis Cluster affects only the data on it.
func TestDeadShard(t *testing.T) {
	c := redistest.StartCluster(t, 3, false, "--cluster-require-full-coverage", "no")
	s := openInstance(t, at(c.Masters[0].Address, c.Masters[1].Address, c.Masters[2].Address))
	keys := []string{keyAt(c, 0), keyAt(c, 1), keyAt(c, 2)}
	for _, key := range keys {
		eventually(t, "the cluster is known", func() bool { return s.link.set(t.Context(), key) == nil })
	}
	c.Masters[2].Pause()
	defer c.Masters[2].Resume()
	eventually(t, "the shard is down", func() bool { _ = s.link.set(t.Context(), keys[2]); return s.link.down(keys[2]) })
	for start := time.Now(); time.Since(start) < 2*time.Second; {
		for _, key := range keys[:2] {
			began := time.Now()
			if err := s.link.set(t.Context(), key); err != nil || s.link.down(key) {
				t.Fatalf("another shard fails: %v", err)
			}
			if took := time.Since(began); took > callTimeout {
				t.Errorf("another shard took %s", took)
			}
		}
	}
	if err := s.link.set(t.Context(), keys[2]); err != errDown && !strings.Contains(err.Error(), errDown.Error()) {
		t.Errorf("at the dead shard, got %v", err)
	}
	if allUp() == 1 && !s.link.anyDown() {
		t.Error("all is up")
	}
	c.Masters[2].Resume()
	eventually(t, "the shard is back", func() bool { return s.link.set(t.Context(), keys[2]) == nil })
}

// When a replica has become master, all works again within two seconds.
func TestFailoverOfAShard(t *testing.T) {
	c := redistest.StartCluster(t, 3, true)
	core, logs := observer.New(zapcore.InfoLevel)
	s := openLogged(t, at(c.Masters[0].Address, c.Masters[1].Address), core)
	keys := []string{keyAt(c, 0), keyAt(c, 1), keyAt(c, 2)}
	for _, key := range keys {
		eventually(t, "the cluster is known", func() bool { return s.link.set(t.Context(), key) == nil })
	}
	for _, i := range []int{2, 0} { // the config names the second one
		c.Masters[i].Kill()
		eventually(t, "the shard is down", func() bool { _ = s.link.set(t.Context(), keys[i]); return s.link.down(keys[i]) })
		c.AwaitPromotion(i)
		start := time.Now()
		for _, key := range keys {
			eventually(t, "it works again", func() bool { return s.link.set(t.Context(), key) == nil })
		}
		eventually(t, "all is up", func() bool { return !s.link.anyDown() })
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("after the failover, it took %s until all worked again", took)
		}
	}
	for _, message := range []string{"Redis cannot be reached, or refuses a command", "Redis can be reached again"} {
		if n := logs.FilterMessage(message).Len(); n != 1 {
			t.Errorf("the log says %d times: %s", n, message)
		}
	}
}

// When a Sentinel has made another server the master, all works again within two seconds.
func TestFailoverBySentinel(t *testing.T) {
	watched := redistest.StartSentinel(t)
	s := openInstance(t, fmt.Sprintf(`{"address": [%q], "master_name": "main"}`, watched.Sentinel.Address))
	const key = "illumichat:a"
	eventually(t, "Redis is up", func() bool { return s.link.set(t.Context(), key) == nil && s.counting.now() > 0 })
	watched.FailOver()
	start := time.Now()
	before := s.counting.beatTime()
	eventually(t, "it works again", func() bool {
		return s.link.set(t.Context(), key) == nil && watched.Replica.Do("EXISTS", s.keys.lease(s.instance)) == ":1\r\n" &&
			s.counting.beatTime().After(before) && !s.link.anyDown()
	})
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}

// A Redis Cluster of which one address is configured is used like any other, also with the account of the documentation.
func TestClusterBehindOneAddress(t *testing.T) {
	c := redistest.StartCluster(t, 3, false, account...)
	config := fmt.Sprintf(`{"address": [%q], "username": "caddy", "password": "secret"}`, c.Masters[1].Address)
	conforms(t, config)
	s := openInstance(t, config)
	for i := range 3 {
		key := keyAt(c, i)
		if err := s.link.set(t.Context(), key); err != nil {
			t.Errorf("at the node %d: %v", i, err)
		}
	}
	eventually(t, "the nodes are known", func() bool { return len(s.link.topology.all()) == 3 })
	if s.link.anyDown() {
		t.Error("a shard is down")
	}
}

// A node of a Redis Cluster that may not tell which slots it has redirects each call instead.
func TestClusterThatDoesNotTellItsSlots(t *testing.T) {
	c := redistest.StartCluster(t, 3, false, append(account, "-cluster|slots")...)
	s := openInstance(t, fmt.Sprintf(`{"address": [%q], "username": "caddy", "password": "secret"}`, c.Masters[1].Address))
	for i := range 3 {
		if err := s.link.set(t.Context(), keyAt(c, i)); err != nil {
			t.Errorf("at the node %d: %v", i, err)
		}
	}
}

// While a slot moves to another node, its old node redirects the calls for keys that have moved already.
func TestSlotThatMoves(t *testing.T) {
	c := redistest.StartCluster(t, 2, false)
	s := openInstance(t, at(c.Masters[0].Address, c.Masters[1].Address))
	key := keyAt(c, 0)
	eventually(t, "the cluster is known", func() bool { return s.link.set(t.Context(), key) == nil && !s.link.anyDown() })
	s.link.plain().Del(t.Context(), key)
	slot, ids := strconv.Itoa(slotOf(key)), [2]string{}
	for i, m := range c.Masters {
		_, id, _ := strings.Cut(m.Do("CLUSTER", "MYID"), "\r\n")
		ids[i] = strings.TrimSpace(id)
	}
	c.Masters[1].Do("CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
	c.Masters[0].Do("CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
	if err := s.link.set(t.Context(), key); err != nil {
		t.Errorf("while it moves: %v", err)
	}
	if got := c.Masters[1].Do("CLUSTER", "COUNTKEYSINSLOT", slot); got != ":1\r\n" {
		t.Errorf("the new node has %q keys", got)
	}
	for _, m := range c.Masters {
		m.Do("CLUSTER", "SETSLOT", slot, "NODE", ids[1])
	}
	for range 3 {
		if err := s.link.set(t.Context(), key); err != nil {
			t.Errorf("when it has moved: %v", err)
		}
	}
}

// over returns a config that reaches a TLS server through an address.
func over(certFile, address string) string {
	return fmt.Sprintf(`{"address": [%q], "tls": {"ca": {"provider": "file", "pem_files": [%q]}}}`, address, certFile)
}

// countsAfter counts requests after trouble of the connections, and checks that each counts once.
func countsAfter(t *testing.T, s *redisStore, trouble func()) {
	t.Helper()
	for n := range uint64(5) {
		decision, err := s.Reserve(newEntry("client", 0, store.Limit{Key: "a", Window: year, Requests: 1000}))
		if err != nil || s.link.anyDown() {
			t.Fatalf("after %d times, got %v, and it is down: %v", n, err, s.link.anyDown())
		}
		if counted := decision.Usage[0].Now; counted != n+1 {
			t.Fatalf("%d requests count as %d", n+1, counted)
		}
		before := s.counting.beatTime()
		eventually(t, "there is a heartbeat", func() bool { return s.counting.beatTime().After(before) })
		trouble()
	}
}

func (c *counting) beatTime() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.beatAt
}

// A server that closes idle connections is not taken for a dead one, although nobody notices the end of a TLS
// connection until it is used.
func TestIdleConnectionsAreClosed(t *testing.T) {
	server, certFile := redistest.StartTLS(t)
	s := openInstance(t, over(certFile, server.Address))
	s.countTime = callTimeout // a busy machine may need more than a visitor waits
	eventually(t, "Redis is up", func() bool { return s.counting.now() > 0 })
	countsAfter(t, s, func() { server.Do("CLIENT", "KILL", "TYPE", "normal") })
}

// A connection that a firewall has dropped without a word costs a moment, and is not taken for a dead Redis.
func TestSilentConnections(t *testing.T) {
	server, certFile := redistest.StartTLS(t)
	relay := redistest.StartRelay(t, server, 0)
	s := openInstance(t, over(certFile, relay.Address))
	s.countTime = callTimeout // a busy machine may need more than a visitor waits
	eventually(t, "Redis is up", func() bool { return s.counting.now() > 0 })
	countsAfter(t, s, relay.Silence)
}

// crowd sends 2,000 calls at once. Not all of them need be in time on a busy machine.
func crowd(t *testing.T, s *redisStore) {
	t.Helper()
	s.countTime = callTimeout
	eventually(t, "Redis is up", func() bool { _, err := s.Reserve(newEntry("client", 0)); return err == nil })
	var wg sync.WaitGroup
	var done atomic.Int32
	for i := range 1000 {
		wg.Go(func() {
			if decision, err := s.Reserve(newEntry(fmt.Sprint("client", i), 5)); err == nil && decision.Reservation != nil {
				done.Add(1)
			}
		})
		wg.Go(func() {
			if _, err := s.Find(t.Context(), "nothing"+strconv.Itoa(i)); err == store.ErrNotFound {
				done.Add(1)
			}
		})
	}
	wg.Wait()
	if t.Logf("%d of 2000 calls were in time", done.Load()); done.Load() == 0 {
		t.Error("no call was in time")
	}
}

// An instance gets along with few connections, whatever a crowd does.
func TestConnections(t *testing.T) {
	relay := redistest.StartRelay(t, redistest.StartTCP(t), 5*time.Millisecond)
	crowd(t, openInstance(t, at(relay.Address)))
	if n := relay.Peak(); n >= 20 {
		t.Errorf("there were %d connections", n)
	}
}

// That also holds for all nodes of a Redis Cluster together.
func TestConnectionsToACluster(t *testing.T) {
	c := redistest.StartCluster(t, 3, false)
	crowd(t, openInstance(t, at(c.Masters[0].Address)))
	all := 0
	for _, m := range c.Masters {
		_, clients, _ := strings.Cut(m.Do("INFO", "clients"), "connected_clients:")
		var n int
		_, _ = fmt.Sscanf(clients, "%d", &n)
		all += n - 1 // without the one that asks
	}
	if t.Logf("there are %d connections", all); all < 3 || all >= 20 {
		t.Errorf("there are %d connections", all)
	}
}

// A Redis that is far away is slow, and not down.
func TestRedisFarAway(t *testing.T) {
	relay := redistest.StartRelay(t, redistest.Start(t), 45*time.Millisecond)
	s := openInstance(t, at(relay.Address))
	eventually(t, "Redis is up", func() bool { return s.counting.now() > 0 })
	eventually(t, "there are connections", func() bool { return relay.Peak() >= countingLanes+2 })
	before := s.counting.beatTime()
	eventually(t, "there is a heartbeat", func() bool { return s.counting.beatTime().After(before) })
	for i := range 10 {
		eventually(t, "a decision is in time", func() bool {
			_, err := s.Reserve(newEntry(fmt.Sprint("client", i), 1))
			return err == nil
		})
	}
	if n := relay.Peak(); n > countingLanes+otherLanes+2 {
		t.Errorf("there were %d connections", n)
	}
}

// The calls that wait for a Redis that does not answer are bounded.
func TestQueueIsBounded(t *testing.T) {
	server := redistest.Start(t)
	s := openInstance(t, at(server.Socket))
	eventually(t, "Redis is up", func() bool { return s.counting.now() > 0 })
	server.Pause()
	defer server.Resume()
	key := s.keys.instances()
	var wg sync.WaitGroup
	var crowd atomic.Int32
	for range maxWaiting + 2*maxCommands {
		wg.Add(1)
		s.link.later(t.Context(), key, call{purpose: forCounts, timeout: callTimeout}, beatScript, []string{key}, []any{"nobody"}, func(err error) {
			if errors.Is(err, errCrowd) {
				crowd.Add(1)
			}
			wg.Done()
		})
	}
	wg.Wait()
	if crowd.Load() == 0 || crowd.Load() > 2*maxCommands {
		t.Errorf("%d calls have no room", crowd.Load())
	}
}

// A caller waits no longer than its timeout, and the calls that wait for a Redis without an answer are bounded.
func TestCallersGiveUp(t *testing.T) {
	server := redistest.Start(t)
	s := openInstance(t, at(server.Socket))
	eventually(t, "Redis is up", func() bool { return s.counting.now() > 0 })
	server.Pause()
	start := time.Now()
	var wg sync.WaitGroup
	for range 1000 {
		wg.Go(func() { _ = s.link.set(t.Context(), "illumichat:a") })
	}
	wg.Wait()
	if took := time.Since(start); took > 8*countTime { // a busy machine is slow
		t.Errorf("they waited for %s", took)
	}
	server.Resume()
	eventually(t, "Redis is found again", func() bool { return s.link.set(t.Context(), "illumichat:a") == nil })
}

// An error reply concerns only the command that it answers.
func TestErrorOfAnotherCaller(t *testing.T) {
	s := openInstance(t, at(redistest.Start(t).Socket))
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			var get *redis.StringCmd
			err := s.link.exec(t.Context(), "illumichat:a", callTimeout, func(ctx context.Context, p redis.Pipeliner) {
				if i%2 == 0 {
					p.Do(ctx, "no-such-command")
				}
				get = p.Get(ctx, "illumichat:a")
			})
			if err != nil || get.Err() != redis.Nil {
				t.Errorf("got %v and %v", err, get.Err())
			}
		})
	}
	wg.Wait()
}

// An instance starts without Redis, and finds it later. The log says plainly if that is no Redis Cluster, although the
// config says so.
func TestStartBeforeRedis(t *testing.T) {
	for name, tc := range map[string]struct {
		config func(string) string
		fits   bool
	}{
		"one address":   {func(a string) string { return at(a) }, true},
		"two addresses": {func(a string) string { return at(a, localAddress(t)) }, false},
		"the option":    {func(a string) string { return fmt.Sprintf(`{"address": [%q], "cluster": true}`, a) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			server := redistest.StartTCP(t)
			server.Kill()
			core, logs := observer.New(zapcore.DebugLevel)
			s := openLogged(t, tc.config(server.Address), core)
			eventually(t, "it is down", s.link.anyDown)
			server.Run()
			if tc.fits {
				eventually(t, "Redis is found", func() bool { return s.link.set(t.Context(), "illumichat:a") == nil })
				return
			}
			eventually(t, "the log says what is wrong", func() bool {
				return logs.FilterField(zap.String("hint", hintNoCluster)).Len() > 0 && s.link.anyDown()
			})
		})
	}
}

// An account that may not ask for the slots finds a replica that has become master, too.
func TestFailoverWithoutSlots(t *testing.T) {
	c := redistest.StartCluster(t, 3, true, append(account, "-cluster|slots")...)
	s := openInstance(t, fmt.Sprintf(`{"address": [%q], "username": "caddy", "password": "secret"}`, c.Masters[0].Address))
	key := keyAt(c, 2)
	eventually(t, "the cluster is known", func() bool { return s.link.set(t.Context(), key) == nil })
	c.Masters[2].Kill()
	eventually(t, "the shard is down", func() bool { return s.link.set(t.Context(), key) != nil })
	c.AwaitPromotion(2)
	start := time.Now()
	eventually(t, "it works again", func() bool { return s.link.set(t.Context(), key) == nil })
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
}

// A server that sends numbers of scripts as floats, or as text, is understood. One that sends anything else refuses to
// count, and is not down.
func TestRepliesOfOtherServers(t *testing.T) {
	now := time.Now().UnixMicro()
	for name, tc := range map[string]struct {
		beat, decision string
		counts         bool
	}{
		"integers": {fmt.Sprintf(":%d", now), "*2\r\n:4\r\n:0", true},
		"floats":   {fmt.Sprintf(",%d.5", now), "*2\r\n,4.0\r\n,0", true},
		"texts":    {fmt.Sprintf("$16\r\n%d", now), "*2\r\n$1\r\n4\r\n$1\r\n0", true},
		"others":   {"#t", "*2\r\n#t\r\n_", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := openInstance(t, at(otherServer(t, tc.beat, tc.decision)))
			eventually(t, "there is a heartbeat", func() bool { return s.counting.now() > 0 || !tc.counts })
			decision, err := s.Reserve(newEntry("client", 0))
			if counts := err == nil && decision.Reservation != nil; counts != tc.counts {
				t.Errorf("got %+v and %v", decision, err)
			}
			if s.link.anyDown() {
				t.Error("it is down")
			}
		})
	}
}

// otherServer runs a server with the given replies to the scripts of heartbeats and decisions. It returns its address.
func otherServer(t *testing.T, beat, decision string) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	beatHash := beatScript.Hash()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				for r := bufio.NewReader(conn); ; {
					words, err := readCommand(r)
					if err != nil {
						return
					}
					reply := "+OK"
					switch words[0] {
					case "hello":
						reply = "%1\r\n$6\r\nserver\r\n$5\r\nredis"
					case "exists":
						reply = ":1"
					case "xread":
						reply = "_"
						time.Sleep(10 * time.Millisecond) // as if it had waited
					case "eval", "evalsha":
						if reply = decision; words[1] == beatHash || strings.HasSuffix(words[1], beatLua) {
							reply = beat
						}
					}
					if _, err := io.WriteString(conn, reply+"\r\n"); err != nil {
						return
					}
				}
			}()
		}
	}()
	return listener.Addr().String()
}

// readCommand reads a command as an array of strings.
func readCommand(r *bufio.Reader) (words []string, err error) {
	number := func() (n int) {
		var line string
		if line, err = r.ReadString('\n'); err == nil {
			n, err = strconv.Atoi(strings.TrimSpace(line[1:]))
		}
		return n
	}
	for range number() {
		text := make([]byte, number()+2)
		if err == nil {
			_, err = io.ReadFull(r, text)
		}
		words = append(words, string(text[:len(text)-2]))
	}
	return words, err
}

func localAddress(t *testing.T) string { return fmt.Sprintf("127.0.0.1:%d", localhost.Port(t)) }
