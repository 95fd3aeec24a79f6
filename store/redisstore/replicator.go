package redisstore

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/store"
)

const (
	// maxHeld is how many bytes of all streams together may wait for Redis.
	maxHeld = 16 << 20

	// maxBehind is how long one stream may wait for Redis. After a longer silence, other instances would take this one
	// for lost.
	maxBehind = 5 * time.Second

	// maxBatch is roughly how many bytes are sent in one pipeline.
	maxBatch = 1 << 20
)

// replicator sends the streams of this instance to Redis. One goroutine sends all streams, so the longer Redis takes,
// the more is sent at once.
type replicator struct {
	store *redisStore
	news  chan struct{} // has a value when there is something to do

	mu       sync.Mutex // taken after the locks of replicas
	replicas map[string]*replica
	queued   []*replica
	held     int                  // bytes that wait for Redis
	removals map[string]time.Time // the keys to be removed, and when each will have expired
}

func (p *replicator) init(s *redisStore) {
	p.store = s
	p.news = make(chan struct{}, 1)
	p.replicas = make(map[string]*replica)
	p.removals = make(map[string]time.Time)
}

// begin starts to replicate a stream.
func (p *replicator) begin(id string, local store.Source, meta store.Meta, header http.Header, terms store.Terms) *replica {
	r := &replica{
		id: id, key: p.store.keys.log(id), of: p, local: local, keep: terms.Keep,
		done: make(chan struct{}),
	}
	r.entries = []*entry{{meta: encodeMeta(meta, header, p.store.instance, terms)}}
	r.behind = time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if p.store.ctx.Err() != nil { // the store is closed, because its config was replaced
		r.close()
		return r
	}
	p.mu.Lock()
	p.replicas[id] = r
	p.mu.Unlock()
	r.queue()
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

func (p *replicator) queue(r *replica) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queued = append(p.queued, r)
	p.signal()
}

func (p *replicator) signal() {
	select {
	case p.news <- struct{}{}:
	default:
	}
}

func (p *replicator) forget(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.replicas, id)
}

// remove notes a key that is to be removed. If Redis cannot be reached in time, the key expires by itself.
func (p *replicator) remove(key string, keep time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removals[key] = time.Now().Add(keep + spare)
	p.signal()
}

// order applies an order of another instance to a stream that this instance writes.
func (p *replicator) order(order, id string) {
	p.mu.Lock()
	r := p.replicas[id]
	p.mu.Unlock()
	switch {
	case r == nil && order == orderHeard:
		p.endLost(id)
	case r == nil: // the stream has ended
	case order == orderStop:
		_ = r.local.Stop(p.store.ctx) // never fails
	case order == orderHeard:
		r.local.Heard()
	}
}

// endLost marks a stream as lost in Redis if it has ended at this instance but Redis lacks its end. Redis may have lost
// entries that it had taken, and then listeners at other instances would go on waiting.
func (p *replicator) endLost(id string) {
	s := p.store
	key := s.keys.log(id)
	last, err := s.look(s.ctx, key, func(ctx context.Context, p redis.Pipeliner) *redis.XMessageSliceCmd {
		return p.XRevRangeN(ctx, key, "+", "-", 1)
	})
	if err != nil || last == nil || last.end != nil || last.lost {
		return
	}
	_ = s.link.exec(s.ctx, key, callTimeout, func(ctx context.Context, p redis.Pipeliner) {
		p.XAdd(ctx, &redis.XAddArgs{Stream: key, ID: last.next(), NoMkStream: true, Values: []any{fieldLost, 1}})
	}) // if this fails, the listener's next message tries again
}

// renew renews the time to live of all keys.
func (p *replicator) renew() {
	p.mu.Lock()
	all := make([]*replica, 0, len(p.replicas))
	for _, r := range p.replicas {
		all = append(all, r)
	}
	p.mu.Unlock()
	for _, r := range all {
		r.mu.Lock()
		r.renewal = true
		r.queue()
		r.mu.Unlock()
	}
}

// run sends what is queued, until the store is closed.
func (p *replicator) run() {
	for {
		select {
		case <-p.news:
		case <-p.store.ctx.Done():
			return
		}
		for more := true; more && p.store.ctx.Err() == nil; {
			more = p.send(p.take())
		}
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
	return len(p.replicas) == 0
}

// take empties the queue, and returns the replicas that were in it.
func (p *replicator) take() []*replica {
	p.mu.Lock()
	defer p.mu.Unlock()
	queued := p.queued
	p.queued = nil
	return queued
}

// send sends what the replicas have, up to about maxBatch bytes, and removes keys. It returns false if there was
// nothing to send.
func (p *replicator) send(replicas []*replica) (more bool) {
	removals := p.removalsDue()
	if len(replicas) == 0 && len(removals) == 0 {
		return false
	}
	var shipments []*shipment
	size := 0
	for _, r := range replicas {
		if size >= maxBatch {
			p.queue(r)
			continue
		}
		if s := p.ship(r); s != nil {
			shipments = append(shipments, s)
			if s.entry != nil {
				size += len(s.entry.data)
			}
		}
	}
	// The keys may be at different shards. The link puts the commands into few pipelines.
	var sending sync.WaitGroup
	var failed atomic.Bool
	for _, s := range shipments {
		sending.Go(func() {
			if !s.send(p.store) {
				failed.Store(true)
			}
		})
	}
	for _, r := range removals {
		sending.Go(func() {
			if !r.send(p.store) {
				failed.Store(true)
			}
		})
	}
	sending.Wait()
	for _, s := range shipments {
		s.settle()
	}
	p.settle(removals)
	if failed.Load() {
		p.store.pause(p.store.ctx)
	}
	return true
}

// removal is a key to be removed from Redis.
type removal struct {
	key string
	del *redis.IntCmd // nil: it was not carried out
}

// send removes the key. It returns false if that failed.
func (r *removal) send(s *redisStore) bool {
	var del *redis.IntCmd
	if s.link.exec(s.ctx, r.key, callTimeout, func(ctx context.Context, p redis.Pipeliner) { del = p.Del(ctx, r.key) }) != nil {
		return false
	}
	r.del = del
	return !isRefusal(del.Err())
}

// removalsDue returns the removals of keys that have not expired yet, and forgets the other removals.
func (p *replicator) removalsDue() (due []*removal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, expires := range p.removals {
		if time.Now().After(expires) {
			delete(p.removals, key)
			continue
		}
		due = append(due, &removal{key: key})
	}
	return due
}

// settle forgets the removals that Redis has carried out.
func (p *replicator) settle(removals []*removal) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range removals {
		if r.del != nil && r.del.Err() == nil {
			delete(p.removals, r.key)
		}
	}
}
