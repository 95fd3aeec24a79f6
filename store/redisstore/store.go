package redisstore

import (
	"cmp"
	"context"
	"errors"
	"fmt"
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
	local    store.Store

	ctx    context.Context // ends when the store is closed
	cancel context.CancelFunc
	loops  sync.WaitGroup

	replicator replicator
	counting   counting
	countTime  time.Duration // the constant, except in tests
}

// keys builds the names of a scope's keys. The part in braces tells a Redis Cluster which keys belong in one hash
// slot.
type keys string

func (k keys) log(id string) string           { return string(k) + ":{" + id + "}" }
func (k keys) lease(instance string) string   { return string(k) + ":{" + instance + "}:alive" }
func (k keys) control(instance string) string { return string(k) + ":{" + instance + "}:control" }

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
	var err error
	if s.local, err = new(store.Memory).Open("redis " + poolKey + " " + s.instance); err != nil {
		return nil, errors.Join(err, s.link.close())
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.replicator.init(s)
	s.loops.Go(s.beat)
	s.loops.Go(s.tidy)
	s.loops.Go(s.obey)
	s.loops.Go(s.replicator.run)
	return s, nil
}

// beat sends heartbeats until the store is closed, and finds out whether Redis answers.
func (s *redisStore) beat() {
	tick := time.NewTicker(beatInterval)
	defer tick.Stop()
	renewed := time.Now()
	for s.ctx.Err() == nil {
		_ = s.show() // the link notes a failure
		if time.Since(renewed) > renewal {
			renewed = time.Now()
			s.replicator.renew()
		}
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
			return c.Set(ctx, lease, "", leaseTime).Err()
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

// The orders that an instance gets from other instances, for a stream that it writes.
const (
	orderStop  = "stop"
	orderHeard = "heard"
)

// tell sends an order to the instance that writes a stream.
func (s *redisStore) tell(ctx context.Context, instance, order, id string) error {
	key := s.keys.control(instance)
	var add *redis.StringCmd
	var expire *redis.BoolCmd
	err := s.link.exec(ctx, key, callTimeout, func(ctx context.Context, p redis.Pipeliner) {
		add = p.XAdd(ctx, &redis.XAddArgs{Stream: key, MaxLen: 10_000, Approx: true, Values: []string{order, id}})
		expire = p.PExpire(ctx, key, controlTime)
	})
	if err != nil {
		return err
	}
	return causeOf(cmp.Or(add.Err(), expire.Err()))
}

// obey carries out the orders of other instances, and deletes each order from Redis. It does not remember the last id
// instead, because ids may begin again after a failover.
func (s *redisStore) obey() {
	key := s.keys.control(s.instance)
	for s.ctx.Err() == nil {
		messages, err := s.wait(s.ctx, key, "0", 100, blockTime)
		var done []string
		for _, m := range messages {
			for order, id := range m.Values {
				s.replicator.order(order, fmt.Sprint(id))
			}
			done = append(done, m.ID)
		}
		if len(done) > 0 {
			err = s.link.exec(s.ctx, key, callTimeout, func(ctx context.Context, p redis.Pipeliner) {
				p.XDel(ctx, key, done...)
			})
		}
		if err != nil {
			s.pause(s.ctx)
		}
	}
}

// blockTime is how long a call blocks in Redis at most. A listener that was closed still holds its connection for that
// long.
const blockTime = 700 * time.Millisecond

// wait returns the next entries of a Redis stream, or none if nothing has come within block.
func (s *redisStore) wait(ctx context.Context, key, after string, most int64, block time.Duration) (messages []redis.XMessage, err error) {
	var read *redis.XStreamSliceCmd
	err = s.link.block(ctx, key, block+callTimeout, func(ctx context.Context, p redis.Pipeliner) {
		read = p.XRead(ctx, &redis.XReadArgs{Streams: []string{key, after}, Count: most, Block: block})
	})
	if err != nil {
		return nil, err
	}
	streams, err := read.Result()
	switch {
	case errors.Is(err, redis.Nil):
		return nil, nil
	case err != nil:
		return nil, causeOf(err)
	}
	return streams[0].Messages, nil
}

// pause waits a moment, before the caller repeats what has failed.
func (s *redisStore) pause(ctx context.Context) {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
	}
}

// Claim begins a stream in memory, and starts to replicate it.
func (s *redisStore) Claim(id string, meta store.Meta, terms store.Terms) (store.Source, store.Listener) {
	local, first := s.local.Claim(id, meta, terms)
	return &source{Source: local, replica: s.replicator.begin(id, local, meta, terms)}, first
}

// Find returns a stream of this process's memory, or else one that is in Redis. After a reload, the store of the old
// config may still write streams of the same scope.
func (s *redisStore) Find(ctx context.Context, id string) (found store.Stream, err error) {
	if found, err = s.local.Find(ctx, id); err == nil {
		return found, nil
	}
	stores.Range(func(_, value any) bool {
		if other := value.(*redisStore); other.keys == s.keys {
			found, err = other.local.Find(ctx, id)
		}
		return err != nil
	})
	if err == nil {
		return found, nil
	}
	return s.findRemote(ctx, id)
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
