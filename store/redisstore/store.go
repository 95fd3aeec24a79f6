package redisstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/store"
)

const (
	// beatInterval is the time between two heartbeats of an instance. leaseTime is how long the lease lasts that each
	// heartbeat renews. Together with absentAfter, they are less than the five seconds within which a listener gets
	// store.ErrLost.
	beatInterval = 500 * time.Millisecond
	leaseTime    = 2 * time.Second

	// renewal is the time after which the keys of unfinished streams get a new time to live. spare is how much longer
	// than Terms.Keep that time to live is.
	renewal = 20 * time.Second
	spare   = time.Minute

	// controlTime is how long an instance may take to read the orders of other instances.
	controlTime = time.Minute
)

// redisStore is the store of one scope at one instance. It keeps the streams that this instance writes in the memory of
// the process, and replicates them to Redis.
type redisStore struct {
	link     *link
	keys     keys
	instance string
	poolKey  string
	budget   store.Budget // of what is in this process's memory
	local    store.Store

	ctx    context.Context // ends when the store is closed
	cancel context.CancelFunc
	loops  sync.WaitGroup

	replicator replicator
	claims     idLocks
	leased     ownLease
	looks      leaseLooks
	readers    readers
	losses     losses
	orders     orders
	inbox      inbox
	following  following
	coolDowns  coolDowns
	counting   counting
	countTime  time.Duration // the constant, except in tests
}

// keys builds the names of a scope's keys. The part in braces tells a Redis Cluster which keys belong in one hash
// slot.
type keys string

func (k keys) log(id string) string         { return string(k) + ":{" + id + "}" }
func (k keys) lease(instance string) string { return string(k) + ":{" + instance + "}:alive" }
func (k keys) inbox(instance string) string { return string(k) + ":{" + instance + "}:inbox" }
func (k keys) stops(instance string) string { return string(k) + ":{" + instance + "}:stops" }

// shared returns the name of a key that all instances of the scope share.
func (k keys) shared(name string) string { return "{" + string(k) + "}:" + name }

func (c *Redis) newStore(scope, poolKey string) (*redisStore, error) {
	redis.SetLogger(debugLogger{})
	s := &redisStore{
		link:     newLink(c),
		keys:     keys(c.Prefix + ":" + hash(scope)),
		instance: newInstance(),
		poolKey:  poolKey,

		countTime: countTime,
	}
	s.local = store.NewMemory(&s.budget)
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.replicator.init(s)
	s.readers.init(s)
	s.losses.init(s)
	s.orders.init(s)
	s.inbox.store = s
	s.following.init(s)
	s.coolDowns.init(s)
	s.loops.Go(s.beat)
	s.loops.Go(s.tidy)
	s.loops.Go(s.inbox.read)
	s.loops.Go(s.losses.run)
	s.loops.Go(s.following.run)
	s.loops.Go(s.following.watch)
	return s, nil
}

// beat sends heartbeats until the store is closed, and finds out whether Redis answers. It does nothing else, because
// another instance takes this one to be gone if its heartbeats are late.
func (s *redisStore) beat() {
	tick := time.NewTicker(beatInterval)
	defer tick.Stop()
	for s.ctx.Err() == nil {
		_ = s.show() // the link notes a failure
		select {
		case <-tick.C:
		case <-s.ctx.Done():
		}
	}
}

// show renews this instance's lease, for listeners at other instances, and its heartbeat, for shared counting.
func (s *redisStore) show() error {
	lease, instances := s.keys.lease(s.instance), s.keys.instances()
	return s.link.beat(s.ctx, beatInterval,
		pulse{key: lease, run: func(ctx context.Context, c *redis.Conn) error {
			began := time.Now()
			err := c.Set(ctx, lease, s.leased.next(), leaseTime).Err()
			if err == nil {
				s.leased.note(began)
			}
			return err
		}},
		pulse{key: instances, counts: true, run: func(ctx context.Context, c *redis.Conn) error {
			reply, err := beatScript.Run(ctx, c, []string{instances}, s.instance).Result()
			if err != nil {
				return err
			}
			now, err := number(reply)
			if err == nil {
				s.counting.heard(now)
			}
			return err
		}},
	)
}

// pause waits a moment, before the caller repeats what has failed.
func (s *redisStore) pause(ctx context.Context) {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
	}
}

// Create begins a stream in memory, and sends its claim to Redis in the background.
func (s *redisStore) Create(id string, meta store.Meta, terms store.Terms) (store.Source, store.Listener) {
	local, first := s.local.Create(id, meta, terms)
	return s.replicate(id, local, encodeMeta(meta, terms), terms, claimed{claim: newInstance()}), first
}

// Claim decides among all instances who begins a stream. Its caller waits for Redis, but not longer than claimTime.
func (s *redisStore) Claim(id string, meta store.Meta, terms store.Terms, begins func()) (store.Source, store.Listener, store.Stream) {
	came := time.Now()
	lock, unlock := s.claims.lock(id)
	defer unlock()
	if stream, err := s.findHere(s.ctx, id); err == nil {
		return nil, nil, stream
	}
	if taken := store.Taken(s.local, id); taken != nil {
		return nil, nil, taken
	}
	if lock.taken != nil && came.Before(lock.taken.asked) { // a later reply of Redis has answered that
		return nil, nil, s.newRemote(id, lock.taken)
	}
	c := claimed{claim: newInstance(), chosen: true, replaces: s.replicator.failing(id)}
	encoded := encodeMeta(meta, terms)
	if taken := s.claimID(id, encoded, terms, &c); taken != nil {
		lock.taken = taken
		return nil, nil, s.newRemote(id, taken)
	}
	local, first, taken := s.local.Claim(id, meta, terms, begins)
	if taken != nil {
		return nil, nil, taken
	}
	return s.replicate(id, local, encoded, terms, c), first, nil
}

func (s *redisStore) replicate(id string, local store.Source, meta string, terms store.Terms, c claimed) *source {
	return &source{Source: local, replica: s.replicator.begin(id, local, meta, terms, c)}
}

// Find returns a stream of this process's memory, or else one that is in Redis.
func (s *redisStore) Find(ctx context.Context, id string) (store.Stream, error) {
	if found, err := s.findHere(ctx, id); err == nil {
		return found, nil
	}
	return s.findRemote(ctx, id, forReads)
}

// FindToStop looks in Redis on the way that stops take, so no crowd of listeners delays it.
func (s *redisStore) FindToStop(ctx context.Context, id string) (stream store.Stream, err error) {
	s.ofScope(func(local store.Store) (found bool) {
		stream = store.Taken(local, id)
		return stream != nil
	})
	if stream != nil {
		return stream, nil
	}
	return s.findRemote(ctx, id, forStops)
}

// findHere returns a stream of this process's memory.
func (s *redisStore) findHere(ctx context.Context, id string) (stream store.Stream, err error) {
	s.ofScope(func(local store.Store) (found bool) {
		stream, err = local.Find(ctx, id)
		return err == nil
	})
	return stream, err
}

// ofScope calls f with the streams of this scope in the process's memory, until f has found one. After a reload, the store
// of the old config may still write streams.
func (s *redisStore) ofScope(f func(local store.Store) (found bool)) {
	if f(s.local) {
		return
	}
	stores.Range(func(_, value any) bool {
		other := value.(*redisStore)
		return other == s || other.keys != s.keys || !f(other.local)
	})
}

// Shared reports whether Redis can be reached.
func (s *redisStore) Shared() bool { return !s.link.allDown() }

// Close ends one use of the store. The last use that ends closes the store.
func (s *redisStore) Close() error {
	_, err := stores.Delete(s.poolKey)
	return err
}

// Destruct closes the store in the background, as soon as everything is in Redis, or after callTimeout. The caller
// waits for Redis only if the process is exiting.
func (s *redisStore) Destruct() error {
	if caddy.Exiting() {
		s.flush() // the goroutine below may not get that far
	}
	go func() {
		s.flush()
		s.cancel()
		s.loops.Wait()
		if err := errors.Join(s.link.close(), s.local.Close()); err != nil {
			s.link.logger.Debug("closing the store", zap.Error(causeOf(err)))
		}
	}()
	return nil
}

// flush waits until Redis has what it is to get, for callTimeout at most.
func (s *redisStore) flush() {
	s.replicator.flush(callTimeout)
	for end := time.Now().Add(callTimeout); !s.counting.isIdle() && time.Now().Before(end); {
		time.Sleep(time.Millisecond)
	}
}

// Interface guards
var (
	_ store.Store      = (*redisStore)(nil)
	_ caddy.Destructor = (*redisStore)(nil)
)
