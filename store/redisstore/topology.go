package redisstore

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// noCluster is a part of the reply of a server that is no node of a Redis Cluster to a question about its cluster.
const noCluster = "cluster support disabled"

const (
	slotCount = 16384 // the number of hash slots of a Redis Cluster

	// reloadInterval is the shortest time between two attempts to learn which node has which slots. askNext is how long
	// one node may take before the next one is asked, too.
	reloadInterval = 200 * time.Millisecond
	askNext        = 100 * time.Millisecond
)

// topology knows the shards, and which of them has which hash slots. It begins with one shard for all slots. If that
// turns out to be a node of a Redis Cluster, because it redirects a command, topology learns the other nodes from it.
type topology struct {
	link *link
	seed *shard // the configured server, or the first of them

	reloading atomic.Bool

	mu     sync.RWMutex
	shards map[string]*shard // by address
	slots  []*shard          // by slot; nil: the seed has them all
	others []string          // the addresses of replicas, which may become masters
	misfit error             // why the configured Redis Cluster cannot be used; nil: it can
	closed bool
}

func (t *topology) init(l *link) {
	t.link = l
	t.seed = newShard(l, l.config.addresses[0], l.config.client())
	t.shards = map[string]*shard{t.seed.address: t.seed}
	if l.config.isCluster() {
		t.reload()
	}
}

// shardOf returns the shard that has a key.
func (t *topology) shardOf(key string) *shard {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.slots == nil {
		return t.seed
	}
	return t.slots[slotOf(key)]
}

// all returns the shards that have slots.
func (t *topology) all() (all []*shard) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if t.slots == nil {
		return []*shard{t.seed}
	}
	var last *shard
	for _, s := range t.slots {
		if s != last && !slices.Contains(all, s) {
			all = append(all, s)
		}
		last = s
	}
	return all
}

// shardAt returns the shard with an address. The caller holds the lock.
func (t *topology) shardAt(address string) *shard {
	if s := t.shards[address]; s != nil {
		return s
	}
	s := newShard(t.link, address, redis.NewClient(t.link.config.nodeOptions(address)))
	t.shards[address] = s
	return s
}

// redirect returns the commands that the node of a Redis Cluster redirects to another shard, and that shard. It returns
// no commands if the node has carried out all of them.
func (t *topology) redirect(ctx context.Context, key string, commands []redis.Cmder) (to *shard, again []redis.Cmder) {
	for _, c := range commands {
		if address, ok := redis.IsMovedError(c.Err()); ok {
			to = t.learn(key, address)
			again = append(again, c)
		} else if address, ok := redis.IsAskError(c.Err()); ok {
			t.mu.Lock()
			to = t.shardAt(reachable(address, t.seed.address))
			t.mu.Unlock()
			again = append(again, redis.NewCmd(ctx, "asking"), c)
		}
	}
	return to, again
}

// learn notes that a node has the slot of a key, and looks which slots the nodes have now.
func (t *topology) learn(key, address string) *shard {
	defer t.reload()
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.slots == nil {
		t.slots = slices.Repeat([]*shard{t.seed}, slotCount)
	}
	slot := slotOf(key)
	if !t.closed {
		t.slots[slot] = t.shardAt(reachable(address, t.slots[slot].address))
	}
	return t.slots[slot]
}

// isCluster reports whether the server is a node of a Redis Cluster, or configured as one.
func (t *topology) isCluster() bool {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.slots != nil || t.link.config.isCluster()
}

// reload learns in the background which node has which slots. It does nothing if there is no Redis Cluster.
func (t *topology) reload() {
	if !t.isCluster() || !t.reloading.CompareAndSwap(false, true) {
		return
	}
	go func() {
		defer t.reloading.Store(false)
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.link.ctx, callTimeout)
		defer cancel()
		t.load(ctx)
		select {
		case <-time.After(reloadInterval - time.Since(began)):
		case <-t.link.ctx.Done():
		}
	}()
}

// load asks the nodes which slots they have, one after the other until one answers.
func (t *topology) load(ctx context.Context) {
	type answer struct {
		from  string
		slots []redis.ClusterSlot
		err   error
	}
	nodes := t.nodes()
	answers := make(chan answer, len(nodes))
	next := time.NewTicker(askNext)
	defer next.Stop()
	for asked, answered := 0, 0; answered < len(nodes); {
		if asked < len(nodes) {
			address := nodes[asked]
			asked++
			go func() {
				slots, err := t.ask(ctx, address)
				answers <- answer{address, slots, err}
			}()
		}
		select {
		case a := <-answers:
			answered++
			switch {
			case a.err == nil && len(a.slots) > 0:
				if t.take(a.slots, a.from) {
					t.link.tellWell()
				}
				return
			case isReply(a.err):
				t.refuse(a.err)
				t.guess()
			}
		case <-next.C:
		case <-ctx.Done():
			return
		}
	}
}

// nodes returns the addresses of all nodes that are known, and those first that can be reached.
func (t *topology) nodes() (nodes []string) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var down []string
	for address, s := range t.shards {
		if s.down() {
			down = append(down, address)
		} else {
			nodes = append(nodes, address)
		}
	}
	for _, address := range slices.Concat(t.others, t.link.config.addresses, down) {
		if !slices.Contains(nodes, address) {
			nodes = append(nodes, address)
		}
	}
	return nodes
}

// ask asks a node which slots the nodes of its cluster have.
func (t *topology) ask(ctx context.Context, address string) ([]redis.ClusterSlot, error) {
	client := redis.NewClient(t.link.config.nodeOptions(address))
	defer client.Close()
	//lint:ignore SA1019 Redis 6.2 has no CLUSTER SHARDS
	return client.ClusterSlots(ctx).Result()
}

// take replaces what is known by what a node has answered. It reports whether a shard that was down is no longer a part
// of the cluster.
func (t *topology) take(answer []redis.ClusterSlot, from string) (mended bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return false
	}
	slots := t.slots
	if slots == nil {
		slots = slices.Repeat([]*shard{t.seed}, slotCount)
	}
	used, others := make(map[*shard]bool), []string(nil)
	for _, r := range answer {
		if len(r.Nodes) == 0 || r.Start < 0 || r.End >= slotCount {
			continue
		}
		s := t.shardAt(reachable(r.Nodes[0].Addr, from))
		for slot := r.Start; slot <= r.End; slot++ {
			slots[slot] = s
		}
		for _, n := range r.Nodes[1:] {
			others = append(others, reachable(n.Addr, from))
		}
	}
	for _, s := range slots {
		used[s] = true
	}
	t.slots, t.others, t.misfit = slots, others, nil
	for address, s := range t.shards {
		if !used[s] {
			delete(t.shards, address)
			mended = mended || s.down()
			s.retire()
		}
	}
	return mended
}

// refuse notes that a node refuses to tell which slots it has. Then topology learns only from redirections.
func (t *topology) refuse(err error) {
	t.link.refused(err)
	if strings.Contains(err.Error(), noCluster) {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.misfit = err
	}
}

// guess lets nodes that can be reached have the slots of those that cannot. A node redirects a call for a slot that it
// does not have, so that topology learns who has it now, although no node tells all slots.
func (t *topology) guess() {
	t.mu.Lock()
	defer t.mu.Unlock()
	i := slices.IndexFunc(t.slots, func(s *shard) bool { return !s.down() })
	if i < 0 {
		return
	}
	up := t.slots[i]
	for slot, s := range t.slots {
		if s.down() {
			t.slots[slot] = up
		}
	}
}

// unfit returns why the configured Redis Cluster cannot be used, or nil.
func (t *topology) unfit() error {
	t.mu.RLock()
	defer t.mu.RUnlock()
	return t.misfit
}

func (t *topology) close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	var errs []error
	for _, s := range t.shards {
		errs = append(errs, s.close())
	}
	return errors.Join(errs...)
}

// reachable returns the address of a node that another node has told. A node may tell no host or no port, which are
// then those of the other node. It may also tell its loopback address, which means its own host.
func reachable(told, from string) string {
	host, port, err := net.SplitHostPort(told)
	fromHost, fromPort, fromErr := net.SplitHostPort(from)
	if err != nil || fromErr != nil {
		return told
	}
	if ip := net.ParseIP(host); host == "" || host == "?" || ip != nil && ip.IsLoopback() && !isLoopback(fromHost) {
		host = fromHost
	}
	if port == "0" {
		port = fromPort
	}
	return net.JoinHostPort(host, port)
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// slotOf returns the hash slot of a key: the CRC16 of the part in braces, if there is one, or of the whole key.
func slotOf(key string) int {
	if _, after, ok := strings.Cut(key, "{"); ok {
		if tag, _, ok := strings.Cut(after, "}"); ok && tag != "" {
			key = tag
		}
	}
	crc := uint16(0)
	for i := range len(key) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^key[i]]
	}
	return int(crc % slotCount)
}

// crcTable is the table of CRC16/XMODEM.
var crcTable = func() (table [256]uint16) {
	for i := range table {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		table[i] = crc
	}
	return table
}()
