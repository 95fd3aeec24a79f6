package redisstore

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// pulse is what an instance does at each heartbeat, at the shard that has key.
type pulse struct {
	key    string
	counts bool // the shard counts visitors' chats
	run    func(context.Context, *redis.Conn) error
}

// beat sends a heartbeat to each shard: the pulses of its keys, or a PING. It marks a shard as down if that fails, and
// as up if the shard answers within countTime, because visitors wait for it. It waits for all shards, but not longer
// than most, because a dead shard must not delay the next heartbeats of the others. It returns an error of a shard.
func (l *link) beat(ctx context.Context, most time.Duration, pulses ...pulse) error {
	if l.anyDown() {
		l.topology.reload()
	}
	of := make(map[*shard][]pulse)
	for _, p := range pulses {
		s := l.topology.shardOf(p.key)
		of[s] = append(of[s], p)
	}
	all := l.topology.all()
	results := make(chan error, len(all))
	var waiting int
	for _, s := range all {
		if s.beating.CompareAndSwap(false, true) {
			waiting++
			go func() {
				defer s.beating.Store(false)
				results <- s.beat(ctx, of[s])
			}()
		}
	}
	var first error
	late := time.After(most)
	for range waiting {
		select {
		case err := <-results:
			if first == nil {
				first = err
			}
		case <-late:
			return errDown
		}
	}
	return first
}

// beat sends one heartbeat.
func (s *shard) beat(ctx context.Context, pulses []pulse) error {
	if len(pulses) == 0 {
		pulses = []pulse{{run: func(ctx context.Context, c *redis.Conn) error { return c.Ping(ctx).Err() }}}
	}
	var took time.Duration // for one call
	counts := slices.ContainsFunc(pulses, func(p pulse) bool { return p.counts })
	var moved sync.Once
	err := s.pulse.run(ctx, callTimeout, func(ctx context.Context, conn *redis.Conn) error {
		began := time.Now()
		for _, p := range pulses {
			if err := p.run(ctx, conn); err != nil {
				if address, ok := redis.IsMovedError(err); ok {
					moved.Do(func() { s.link.topology.learn(p.key, address) })
				}
				return err
			}
		}
		took = time.Since(began) / time.Duration(len(pulses))
		if s.pulse.proven {
			s.roundTrip.Store(int64(took))
		}
		return nil
	})
	if err == nil {
		err = s.link.topology.unfit()
	}
	switch _, moved := redis.IsMovedError(err); {
	case err == nil && took < countTime:
		s.mend()
	case err == nil, ctx.Err() != nil, moved:
	case isGarbled(err):
		s.link.refused(err)
	default:
		s.fail(err) // Redis would refuse all other calls, too
	}
	for i := range s.lanes {
		s.lanes[i].keepAlive(err == nil && counts && i < countingLanes)
	}
	return err
}
