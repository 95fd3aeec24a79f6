package redisstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/store"
)

// claimed is how a stream was claimed.
type claimed struct {
	claim    string // a random text that no other claim has
	replaces string // a claim of this instance that this one replaces; "": none
	chosen   bool   // the page chose the id
	certain  bool   // Redis has the claim
	begun    bool   // Redis may have the claim
}

// claimTime is how long a claim waits for Redis. That is longer than a count waits, because a claim that this instance
// decides alone may have the question paid for twice.
const claimTime = time.Second

// claimID asks Redis for the id of a new stream. If another stream has it, claimID returns what Redis has of that one. If
// Redis gives no answer in time, c.certain stays false: then this instance decides alone.
func (s *redisStore) claimID(id, meta string, terms store.Terms, c *claimed) (taken *extent) {
	ctx, cancel := context.WithTimeout(s.ctx, claimTime)
	defer cancel()
	s.ensureLease(ctx)
	replaceable := c.replaces
	for asked := 0; asked < 2; {
		reply, err := s.askClaim(ctx, id, meta, terms, c.claim, replaceable)
		if err != nil {
			c.begun = c.begun || !errors.Is(err, errDown)
			if isReply(err) && !isPassing(err) || !s.awaitRedis(ctx, id) {
				return nil
			}
			continue // to ask again is safe, because Redis knows the claim by its nonce
		}
		asked++
		if reply == int64(1) {
			c.certain, c.begun = true, true
			return nil
		}
		taken, err = claimReply(reply)
		if err != nil {
			s.link.refused(err)
			return nil
		}
		if taken.claim == replaceable || taken.last.number() > 1 && !taken.last.unkept || !s.isDead(ctx, id, taken) {
			return taken
		}
		replaceable = taken.claim
	}
	return taken
}

// isPassing reports whether Redis refuses a command only for now, as during a failover.
func isPassing(err error) bool {
	return redis.IsClusterDownError(err) || redis.IsTryAgainError(err) || redis.IsMasterDownError(err) || redis.IsReadOnlyError(err)
}

// awaitRedis waits before a claim is sent again: a moment, or until a Redis can be reached that could be reached a moment
// ago. It returns false if Redis has not answered for longer than claims wait, or if ctx ends.
func (s *redisStore) awaitRedis(ctx context.Context, id string) bool {
	for again := false; ; again = true {
		shard := s.link.shardOf(s.keys.log(id)) // another one, after a failover
		switch {
		case !shard.down() && again:
			return true
		case shard.down() && shard.silentFor() > claimTime:
			return false
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
			return false
		}
	}
}

func (s *redisStore) askClaim(ctx context.Context, id, meta string, terms store.Terms, claim, replaceable string) (any, error) {
	key := s.keys.log(id)
	kept := (terms.Keep + spare).Milliseconds()
	return s.link.script(ctx, key, claimTime, claimScript.Script, []string{key}, claim, kept, replaceable,
		fieldMeta, meta, fieldInstance, s.instance, fieldClaim, claim)
}

// claimReply reads the reply of claim.lua that another claim has the stream.
func claimReply(reply any) (*extent, error) {
	entries, ok := reply.([]any)
	if !ok || len(entries) != 2 {
		return nil, errReply
	}
	first, err := messageOf(entries[0])
	if err != nil {
		return nil, err
	}
	last, err := messageOf(entries[1])
	if err != nil {
		return nil, err
	}
	return newExtent(time.Now(), first, last)
}

// messageOf reads an entry in the reply of a script.
func messageOf(reply any) (redis.XMessage, error) {
	parts, ok := reply.([]any)
	if !ok || len(parts) != 2 {
		return redis.XMessage{}, errReply
	}
	fields, ok := parts[1].([]any)
	if !ok || len(fields)%2 != 0 {
		return redis.XMessage{}, errReply
	}
	m := redis.XMessage{ID: fmt.Sprint(parts[0]), Values: make(map[string]any)}
	for i := 0; i < len(fields); i += 2 {
		m.Values[fmt.Sprint(fields[i])] = fields[i+1]
	}
	return m, nil
}

// isDead reports whether nobody writes a claimed stream any more: its instance is dead, or is this one and knows nothing
// of it. It returns false if it cannot find out.
func (s *redisStore) isDead(ctx context.Context, id string, taken *extent) bool {
	if taken.instance == s.instance {
		r := s.replicator.find(id)
		return r == nil || r.claim != taken.claim
	}
	return s.isAbandoned(ctx, taken.instance)
}

// ensureLease renews the lease of this instance if the last heartbeats have not done so. Otherwise, another instance
// could replace a claim of this one.
func (s *redisStore) ensureLease(ctx context.Context) {
	if s.leased.isFresh() {
		return
	}
	began := time.Now()
	lease := s.keys.lease(s.instance)
	var set *redis.StatusCmd
	err := s.link.exec(ctx, lease, claimTime, func(ctx context.Context, p redis.Pipeliner) {
		set = p.Set(ctx, lease, s.leased.next(), leaseTime)
	})
	if err == nil && set.Err() == nil {
		s.leased.note(began)
	}
}

// idLocks lets one goroutine at a time claim an id. Its zero value is ready for use.
type idLocks struct {
	mu    sync.Mutex
	locks map[string]*idLock
}

type idLock struct {
	sync.Mutex
	users int
	taken *extent // what Redis has replied about the stream that has the id; nil: nothing yet
}

// lock locks an id. The returned function unlocks it.
func (k *idLocks) lock(id string) (l *idLock, unlock func()) {
	k.mu.Lock()
	if k.locks == nil {
		k.locks = make(map[string]*idLock)
	}
	l = k.locks[id]
	if l == nil {
		l = new(idLock)
		k.locks[id] = l
	}
	l.users++
	k.mu.Unlock()
	l.Lock()
	return l, func() {
		l.Unlock()
		k.mu.Lock()
		defer k.mu.Unlock()
		if l.users--; l.users == 0 {
			delete(k.locks, id)
		}
	}
}

// isHeld reports whether an id is locked.
func (k *idLocks) isHeld(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.locks[id] != nil
}
