package redisstore

import (
	"sync"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// readers knows which other instances listen to the streams that this instance writes.
type readers struct {
	store *redisStore

	mu    sync.Mutex
	until map[string]map[string]time.Time // by stream and reading instance: until when the instance listens
}

func (r *readers) init(s *redisStore) {
	r.store = s
	r.until = make(map[string]map[string]time.Time)
}

// heard notes that an instance listens to streams for some time. A new listener gets news at once, because it may have
// missed entries. A stream that this instance does not write any more may lack its end in Redis, so that is
// checked in the background.
func (r *readers) heard(from string, ids []string, last time.Duration) {
	var begun []string
	until := time.Now().Add(last)
	for _, id := range ids {
		held := r.store.claims.isHeld(id) // asked first, because a claim that ends in between leaves a source
		source := r.store.replicator.sourceOf(id)
		if source == nil && held {
			continue // the stream begins at this moment
		}
		if source == nil {
			r.store.losses.check(id, writer{instance: r.store.instance})
			r.heardLocally(id)
			begun = append(begun, id) // the listener may have missed the end
			continue
		}
		source.Heard()
		if r.add(id, from, until) {
			begun = append(begun, id)
			r.store.replicator.hasten(id)
		}
	}
	if len(begun) > 0 {
		r.store.orders.news(from, begun...)
	}
}

// heardLocally restarts the grace period of a stream that goes on, although Redis has not taken it.
func (r *readers) heardLocally(id string) {
	stream, err := r.store.local.Find(r.store.ctx, id)
	if err != nil {
		return
	}
	if source, ok := stream.(store.Source); ok {
		source.Heard()
	}
}

// add notes until when an instance listens to a stream. It reports whether that is new.
func (r *readers) add(id, from string, until time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	of := r.until[id]
	if of == nil {
		of = make(map[string]time.Time)
		r.until[id] = of
	}
	known := time.Now().Before(of[from])
	of[from] = until
	return !known
}

// read reports whether another instance listens to a stream.
func (r *readers) read(id string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for _, until := range r.until[id] {
		if now.Before(until) {
			return true
		}
	}
	return false
}

// news returns the streams to announce to each instance after entries of the given streams were sent to Redis.
func (r *readers) news(ids []string) map[string][]string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var told map[string][]string
	now := time.Now()
	for _, id := range ids {
		for instance, until := range r.until[id] {
			if now.After(until) {
				continue
			}
			if told == nil {
				told = make(map[string][]string)
			}
			told[instance] = append(told[instance], id)
		}
	}
	return told
}

// prune forgets instances that listen no longer.
func (r *readers) prune() {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	for id, of := range r.until {
		for instance, until := range of {
			if now.After(until) {
				delete(of, instance)
			}
		}
		if len(of) == 0 {
			delete(r.until, id)
		}
	}
}
