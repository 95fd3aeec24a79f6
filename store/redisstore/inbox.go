package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// blockTime is how long a call blocks in Redis at most. Closing the store waits that long.
	blockTime = 700 * time.Millisecond

	// maxRead is how many messages are read at once.
	maxRead = 100
)

// inbox is what this instance reads of the messages of other instances: those that stop a stream have a Redis stream of
// their own, so that no crowd of listeners can delay them.
type inbox struct {
	store *redisStore
	keys  [2]string   // of the stops, and of all other messages
	done  [2][]string // the messages that were applied, and can be deleted
}

// read applies messages until the store is closed. One call deletes the messages that were applied, and waits for the
// next ones: inbox does not remember the last id instead, because ids may begin again after a failover.
func (b *inbox) read() {
	s := b.store
	b.keys = [2]string{s.keys.stops(s.instance), s.keys.inbox(s.instance)}
	var t trouble
	for s.ctx.Err() == nil {
		streams, err := b.next(s.ctx)
		s.following.note(&t, err)
		if err != nil {
			s.pause(s.ctx)
			continue
		}
		for _, stream := range streams {
			for _, m := range stream.Messages {
				b.apply(m.Values)
			}
			b.toDelete(stream)
		}
	}
}

// next deletes the messages that were applied, and returns the next ones, or none if nothing comes within blockTime.
func (b *inbox) next(ctx context.Context) ([]redis.XStream, error) {
	var read *redis.XStreamSliceCmd
	err := b.store.link.block(ctx, b.keys[0], blockTime+callTimeout, func(ctx context.Context, p redis.Pipeliner) {
		for i, key := range b.keys {
			if len(b.done[i]) > 0 {
				p.XDel(ctx, key, b.done[i]...)
			}
		}
		read = p.XRead(ctx, &redis.XReadArgs{Streams: []string{b.keys[0], b.keys[1], "0", "0"}, Count: maxRead, Block: blockTime})
	})
	if err != nil {
		return nil, err
	}
	streams, err := read.Result()
	if err != nil && !errors.Is(err, redis.Nil) {
		return nil, causeOf(err)
	}
	b.done = [2][]string{}
	return streams, nil
}

// toDelete notes messages that were applied.
func (b *inbox) toDelete(stream redis.XStream) {
	for i, key := range b.keys {
		if key != stream.Stream {
			continue
		}
		for _, m := range stream.Messages {
			b.done[i] = append(b.done[i], m.ID)
		}
	}
}

// apply does what a message says. It works in memory only, because other messages wait, such as those that stop a
// stream. It may do so twice, because a message stays if it could not be deleted.
func (b *inbox) apply(message map[string]any) {
	s := b.store
	for kind, value := range message {
		ids := strings.Split(fmt.Sprint(value), ",")
		switch kind {
		case orderStop:
			for _, id := range ids {
				s.replicator.stop(id)
			}
		case orderHeard:
			ms, _ := strconv.ParseInt(fmt.Sprint(message[orderFor]), 10, 64)
			s.readers.heard(fmt.Sprint(message[orderFrom]), ids, time.Duration(ms)*time.Millisecond)
		case orderNews:
			s.following.news(ids)
		}
	}
}
