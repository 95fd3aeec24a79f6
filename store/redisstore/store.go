package redisstore

import (
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
	// beatInterval is how often an instance shows that it lives, and leaseTime how long it is believed to. Together with
	// lostAfter they are less than the five seconds in which listeners are told.
	beatInterval = 500 * time.Millisecond
	leaseTime    = 2 * time.Second

	// renewal is how often the keys of streams that are being written are given a new time to live, and spare how much
	// longer that is than they are kept.
	renewal = 20 * time.Second
	spare   = time.Minute

	// controlTime is how long an instance may take to read what others tell it.
	controlTime = time.Minute
)

// redisStore is the store of one scope, at one instance. What is written here is kept in the memory of this process, and
// replicated to Redis.
type redisStore struct {
	link     *link
	keys     keys
	instance string
	poolKey  string
	local    store.Store

	ctx    context.Context // until the store is closed
	cancel context.CancelFunc
	loops  sync.WaitGroup

	replicator replicator
	counting   counting
	countTime  time.Duration // which only tests change
}

// keys are the names under which a scope's are kept. What is in braces tells a Cluster which of them belong together.
type keys string

func (k keys) log(id string) string           { return string(k) + ":{" + id + "}" }
func (k keys) lease(instance string) string   { return string(k) + ":{" + instance + "}:alive" }
func (k keys) control(instance string) string { return string(k) + ":{" + instance + "}:control" }

// shared is what all instances of the scope have together.
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
	s.loops.Go(s.obey)
	s.loops.Go(s.replicator.run)
	return s, nil
}

// debugLogger is for what the Redis library has to say: what matters of that its callers are told as well.
type debugLogger struct{}

func (debugLogger) Printf(_ context.Context, format string, values ...any) {
	if c := caddy.Log().Check(zap.DebugLevel, "the Redis client tells"); c != nil {
		c.Write(zap.String("told", fmt.Sprintf(format, values...)))
	}
}

// beat shows that the instance lives, and finds out whether Redis does.
func (s *redisStore) beat() {
	tick := time.NewTicker(beatInterval)
	defer tick.Stop()
	renewed := time.Now()
	for s.ctx.Err() == nil {
		began := time.Now()
		// A Redis that counts too slowly for visitors is not well.
		if s.show() == nil && time.Since(began) < countTime {
			s.link.mend()
			s.removeLeftovers()
		}
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

// show shows that the instance lives to those who listen to what it writes, and those who count.
func (s *redisStore) show() error {
	ctx, cancel := context.WithTimeout(s.ctx, callTimeout)
	defer cancel()
	err := s.link.own.Set(ctx, s.keys.lease(s.instance), "", leaseTime).Err()
	if err == nil {
		var now int64
		if now, err = beatScript.Run(ctx, s.link.own, []string{s.keys.instances()}, s.instance).Int64(); err == nil {
			s.counting.heard(now)
		}
	}
	if err != nil && s.ctx.Err() == nil {
		s.link.fail(err) // what Redis refuses here, it refuses to all
	}
	return err
}

// What others tell an instance of a stream that it writes.
const (
	orderStop  = "stop"
	orderHeard = "heard"
)

// tell tells the instance that writes a stream.
func (s *redisStore) tell(ctx context.Context, instance, order, id string) error {
	key := s.keys.control(instance)
	return s.link.call(ctx, callTimeout, func(ctx context.Context) error {
		_, err := s.link.calls.Pipelined(ctx, func(p redis.Pipeliner) error {
			p.XAdd(ctx, &redis.XAddArgs{Stream: key, MaxLen: 10_000, Approx: true, Values: []string{order, id}})
			p.PExpire(ctx, key, controlTime)
			return nil
		})
		return err
	})
}

// obey does what other instances tell. It forgets that in Redis, and not by remembering what was the last: after a failover,
// ids may begin anew.
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
			err = s.link.call(s.ctx, callTimeout, func(ctx context.Context) error {
				return s.link.own.XDel(ctx, key, done...).Err()
			})
		}
		if err != nil {
			s.pause(s.ctx)
		}
	}
}

// blockTime is how long a call waits in Redis at most. Whoever has left still holds a connection for as long.
const blockTime = 700 * time.Millisecond

// wait returns what follows in a Redis stream, or nothing after a time.
func (s *redisStore) wait(ctx context.Context, key, after string, most int64, block time.Duration) (messages []redis.XMessage, err error) {
	err = s.link.call(ctx, block+callTimeout, func(ctx context.Context) error {
		streams, err := s.link.waits.XRead(ctx, &redis.XReadArgs{Streams: []string{key, after}, Count: most, Block: block}).Result()
		if err == nil {
			messages = streams[0].Messages
		}
		return err
	})
	if errors.Is(err, redis.Nil) {
		err = nil
	}
	return messages, err
}

// pause lasts a moment, after which what has failed may be tried again.
func (s *redisStore) pause(ctx context.Context) {
	select {
	case <-time.After(100 * time.Millisecond):
	case <-ctx.Done():
	}
}

// Claim begins a stream here, and has it replicated.
func (s *redisStore) Claim(id string, meta store.Meta, terms store.Terms) (store.Source, store.Listener) {
	local, first := s.local.Claim(id, meta, terms)
	return &source{Source: local, replica: s.replicator.begin(id, local, meta, terms)}, first
}

// Find returns a stream of this process, or else what is in Redis.
func (s *redisStore) Find(ctx context.Context, id string) (store.Stream, error) {
	if stream, err := s.local.Find(ctx, id); err == nil {
		return stream, nil
	}
	return s.findRemote(ctx, id)
}

// Shared reports whether Redis can be reached.
func (s *redisStore) Shared() bool { return !s.link.down() }

// Close lets go of the store. The last one who does closes it.
func (s *redisStore) Close() error {
	_, err := stores.Delete(s.poolKey)
	return err
}

// Destruct has the store closed, once what was written is in Redis, or should be. Whoever let go of it last does not wait.
func (s *redisStore) Destruct() error {
	if caddy.Exiting() {
		s.replicator.flush(callTimeout) // nobody else will
	}
	go func() {
		s.replicator.flush(callTimeout)
		s.cancel()
		s.loops.Wait()
		if err := errors.Join(s.link.close(), s.local.Close()); err != nil {
			s.link.logger.Debug("closing the store", zap.Error(err))
		}
	}()
	return nil
}

// Interface guards
var (
	_ store.Store      = (*redisStore)(nil)
	_ caddy.Destructor = (*redisStore)(nil)
)
