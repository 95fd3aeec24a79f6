package redisstore

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

const (
	// maxHeld is how many bytes of streams that have ended may wait for Redis. Those of other streams are in memory
	// anyway.
	maxHeld = 16 << 20

	// maxBehind is how long one stream may wait for Redis. After a longer silence, other instances would take this one
	// for lost.
	maxBehind = 5 * time.Second

	// maxBatch is roughly how many bytes are sent in one pipeline.
	maxBatch = 1 << 20
)

// replicator sends the streams of this instance to Redis. Each shard has a sender of its own, so a shard that is down
// holds up only its own streams.
type replicator struct {
	store *redisStore

	mu       sync.Mutex // taken after the locks of replicas
	replicas map[string]*replica
	unkept   map[*replica]struct{} // abandoned streams that go on
	unclean  map[*replica]struct{} // abandoned streams of which Redis has yet to do something
	senders  map[*shard]*sender
	held     int // bytes that wait for Redis, of streams that have ended
}

func (p *replicator) init(s *redisStore) {
	p.store = s
	p.replicas = make(map[string]*replica)
	p.unkept, p.unclean = make(map[*replica]struct{}), make(map[*replica]struct{})
	p.senders = make(map[*shard]*sender)
}

// begin starts to replicate a stream.
func (p *replicator) begin(id string, local store.Source, meta string, terms store.Terms, c claimed) *replica {
	key := p.store.keys.log(id)
	r := &replica{
		id: id, key: key, keyArg: key, of: p, local: local, tail: store.NewTail(local),
		meta: meta, claim: c.claim, replaces: c.replaces, chosen: c.chosen, claimed: c.certain, begun: c.begun,
		keep: terms.Keep, done: make(chan struct{}),
	}
	if r.claimed {
		r.sent = 1
	}
	r.mu.Lock()
	if p.store.ctx.Err() != nil { // the store is closed, because its config was replaced
		r.close()
	} else {
		p.mu.Lock()
		p.replicas[id] = r
		p.mu.Unlock()
	}
	d := r.queue()
	r.mu.Unlock()
	d.start()
	return r
}

// hold reserves room for n bytes that wait for Redis. It returns false if there is no room.
func (p *replicator) hold(n int) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.held+n > maxHeld {
		return false
	}
	p.held += n
	return true
}

func (p *replicator) release(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held -= n
}

// forget forgets a replica, unless another one has its id by now.
func (p *replicator) forget(r *replica) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.replicas[r.id] == r {
		delete(p.replicas, r.id)
	}
}

// find returns the replica of a stream that Redis does not have to its end. It returns nil if there is none.
func (p *replicator) find(id string) *replica {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.replicas[id]
}

// sourceOf returns a stream that this instance writes and replicates, or nil.
func (p *replicator) sourceOf(id string) store.Source {
	p.mu.Lock()
	defer p.mu.Unlock()
	if r := p.replicas[id]; r != nil {
		return r.local
	}
	return nil
}

// stop stops a stream that this instance writes, even if Redis has not taken all of it.
func (p *replicator) stop(id string) {
	if stream := store.Taken(p.store.local, id); stream != nil { // else the stream has ended
		_ = stream.Stop(context.WithoutCancel(p.store.ctx)) // never fails, because it is local
	}
}

// failing returns the claim of a stream that has failed, which Redis may not know yet. It returns "" if there is none.
func (p *replicator) failing(id string) string {
	r := p.find(id)
	if r == nil {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failed == nil {
		return ""
	}
	return r.claim
}

// renew renews the time to live of all keys.
func (p *replicator) renew() {
	p.mu.Lock()
	all := slices.AppendSeq(slices.Collect(maps.Values(p.replicas)), maps.Keys(p.unkept))
	p.mu.Unlock()
	for _, r := range all {
		r.renew()
	}
}

// flush waits until everything is sent, for the given time at most. It does not wait while Redis is down.
func (p *replicator) flush(most time.Duration) {
	for end := time.Now().Add(most); !p.isIdle() && !p.store.link.allDown() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

func (p *replicator) isIdle() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.replicas)+len(p.unclean) == 0
}

// enqueue puts a replica into the queue of its shard. The caller must start the returned sender afterwards.
func (p *replicator) enqueue(r *replica) *sender {
	d := p.sender(p.store.link.shardOf(r.key))
	d.add(r, r.urgency())
	return d
}

// cleaning notes that Redis has yet to do something with an abandoned stream. goesOn says whether the stream goes on.
func (p *replicator) cleaning(r *replica, goesOn bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.unclean[r] = struct{}{}
	if goesOn {
		p.unkept[r] = struct{}{}
	} else {
		delete(p.unkept, r)
	}
}

// cleaned notes that Redis has done that.
func (p *replicator) cleaned(r *replica) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.unclean, r)
}

// hasten sends what waits of a stream, because another instance has begun to listen.
func (p *replicator) hasten(id string) {
	if r := p.find(id); r != nil {
		r.hasten()
	}
}

// sender returns the sender of a shard.
func (p *replicator) sender(s *shard) *sender {
	p.mu.Lock()
	defer p.mu.Unlock()
	d := p.senders[s]
	if d == nil {
		d = newSender(p, s)
		p.senders[s] = d
	}
	return d
}

// drop forgets the sender of a shard that is no longer a part of the Redis Cluster.
func (p *replicator) drop(s *shard) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.senders, s)
}
