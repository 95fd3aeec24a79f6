package redisstore

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/redis/go-redis/v9"
)

// tidy repeats changes that could not be sent to Redis when they happened, until the store is closed. It also renews the keys of
// unfinished streams now and then, and forgets old readers. It has a goroutine of its own, because it may have much to
// do, and the heartbeats must not wait for it.
func (s *redisStore) tidy() {
	tick := time.NewTicker(beatInterval)
	defer tick.Stop()
	renewed := time.Now()
	for {
		select {
		case <-tick.C:
			if time.Since(renewed) > renewal {
				renewed = time.Now()
				s.replicator.renew()
				s.readers.prune()
			}
			s.removeLeftovers()
		case <-s.ctx.Done():
			return
		}
	}
}

// maxTold is how much tidy tells in one call.
const maxTold = 100

// removeLeftovers tells Redis of turns that have ended, and removes fields that could not be removed when their
// requests ended. What fails stays for the next time.
func (s *redisStore) removeLeftovers() {
	key := s.keys.instances() // all keys are in its slot
	over := s.counting.turnsOver()
	for ids := range slices.Chunk(slices.Collect(maps.Keys(over)), maxTold) {
		var replies []*redis.Cmd
		err := s.link.exec(s.ctx, key, callTimeout, func(ctx context.Context, p redis.Pipeliner) {
			for _, id := range ids {
				replies = append(replies, s.link.topology.shardOf(key).evaluate(ctx, p, turnScript, []string{over[id].coolDown}, []any{id, over[id].answered}))
			}
		})
		if err != nil {
			return
		}
		for i, id := range ids {
			if s.link.topology.shardOf(key).knows(turnScript, replies[i].Err()) && replies[i].Err() == nil {
				s.counting.told(id)
			}
		}
	}
	for due := range slices.Chunk(s.counting.due(), maxTold) {
		var removals []*redis.IntCmd
		err := s.link.exec(s.ctx, key, callTimeout, func(ctx context.Context, p redis.Pipeliner) {
			for _, f := range due {
				removals = append(removals, p.HDel(ctx, f.key, f.name))
			}
		})
		if err != nil {
			return
		}
		for i, r := range removals {
			if r.Err() == nil {
				s.counting.removed(due[i])
			}
		}
	}
}
