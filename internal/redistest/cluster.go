package redistest

import (
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
)

// Cluster is a Redis Cluster. The masters share the hash slots evenly. Each replica follows the master with the same
// index.
type Cluster struct {
	Masters, Replicas []*Server

	tb testing.TB
}

// StartCluster starts a Redis Cluster on loopback ports, with one replica for each master or with none. It waits until
// the cluster is ready. A node counts as failed after a second, so a replica becomes master two or three seconds after
// its master was killed.
func StartCluster(tb testing.TB, masters int, replicated bool, options ...string) *Cluster {
	tb.Helper()
	c := &Cluster{tb: tb}
	var all []*Server
	node := func() *Server {
		bus := strconv.Itoa(localhost.Port(tb))
		s := StartTCP(tb, append([]string{
			"--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-node-timeout", "1000",
		}, options...)...)
		if len(all) > 0 {
			_, port, _ := net.SplitHostPort(s.Address)
			all[0].Do("CLUSTER", "MEET", "127.0.0.1", port, bus)
		}
		all = append(all, s)
		return s
	}
	const slots = 16384
	for i := range masters {
		s := node()
		s.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/masters), strconv.Itoa((i+1)*slots/masters-1))
		c.Masters = append(c.Masters, s)
	}
	if replicated {
		for range masters {
			c.Replicas = append(c.Replicas, node())
		}
	}
	c.await(all, "cluster_state:ok", "cluster_known_nodes:"+strconv.Itoa(len(all)))
	for i, s := range c.Replicas {
		s.Do("CLUSTER", "REPLICATE", c.Masters[i].id())
	}
	for _, s := range c.Replicas {
		s.await("INFO", "replication", "master_link_status:up")
	}
	c.await(all, "cluster_state:ok")
	return c
}

// Owner returns the index of the master that had the slot of a key when the cluster was started.
func (c *Cluster) Owner(key string) int {
	c.tb.Helper()
	answer := c.Replicas
	if len(answer) == 0 {
		answer = c.Masters
	}
	slot, err := strconv.Atoi(strings.TrimSpace(strings.TrimPrefix(answer[0].Do("CLUSTER", "KEYSLOT", key), ":")))
	if err != nil {
		c.tb.Fatal(err)
	}
	for i := range c.Masters {
		if slot < (i+1)*16384/len(c.Masters) {
			return i
		}
	}
	return 0
}

// AwaitPromotion waits until the replica with an index is a master.
func (c *Cluster) AwaitPromotion(i int) { c.Replicas[i].await("INFO", "replication", "role:master") }

func (c *Cluster) await(nodes []*Server, words ...string) {
	c.tb.Helper()
	for _, s := range nodes {
		for _, word := range words {
			s.await("CLUSTER", "INFO", word)
		}
	}
}

// await repeats a command until the answer has a line that ends with the given text, for at most 20 seconds.
func (s *Server) await(command, word, text string) {
	s.tb.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		answer, err := s.ask(command, word)
		if err == nil && strings.Contains(answer, text+"\r\n") {
			return
		}
		if time.Now().After(end) {
			s.tb.Fatalf("%s %s does not become %s: %v: %s", command, word, text, err, answer)
		}
	}
}

// id returns the id of a cluster's node.
func (s *Server) id() string {
	s.tb.Helper()
	_, id, _ := strings.Cut(s.Do("CLUSTER", "MYID"), "\r\n")
	return strings.TrimSpace(id)
}

// Watched is a master with a replica, and the Sentinel that watches them. The Sentinel knows the master by the name
// "main".
type Watched struct{ Master, Replica, Sentinel *Server }

// StartSentinel starts a master, a replica and a Sentinel.
func StartSentinel(tb testing.TB, options ...string) *Watched {
	tb.Helper()
	w := &Watched{Master: StartTCP(tb, options...)}
	host, port, _ := net.SplitHostPort(w.Master.Address)
	w.Replica = StartTCP(tb, append([]string{"--replicaof", host + " " + port}, options...)...)
	w.Replica.await("INFO", "replication", "master_link_status:up")
	w.Sentinel = StartTCP(tb, "--sentinel", "--sentinel", "monitor", "main", host, port, "1")
	return w
}

// FailOver makes the replica the master, and waits for that. The former master becomes its replica.
func (w *Watched) FailOver() {
	w.Sentinel.tb.Helper()
	// The Sentinel refuses until it knows enough of the replica.
	w.Sentinel.await("SENTINEL FAILOVER", "main", "+OK")
	w.Replica.await("INFO", "replication", "role:master")
}
