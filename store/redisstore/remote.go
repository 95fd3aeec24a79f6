package redisstore

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/store"
)

// remote is a stream in Redis that another instance writes or has written.
type remote struct {
	store *redisStore
	id    string
	key   string
	meta  metaJSON

	instance string // the name of the writing instance
}

func (s *redisStore) findRemote(ctx context.Context, id string) (store.Stream, error) {
	key := s.keys.log(id)
	first, err := s.look(ctx, key, func(ctx context.Context, p redis.Pipeliner) *redis.XMessageSliceCmd {
		return p.XRangeN(ctx, key, "-", "+", 1)
	})
	if err != nil {
		return nil, err
	}
	last, err := s.look(ctx, key, func(ctx context.Context, p redis.Pipeliner) *redis.XMessageSliceCmd {
		return p.XRevRangeN(ctx, key, "+", "-", 1)
	})
	switch {
	case err != nil:
		return nil, err
	case first == nil, last == nil, last.failed != nil:
		return nil, store.ErrNotFound
	}
	return s.newRemote(id, first)
}

// newRemote returns the stream that begins with the given entry.
func (s *redisStore) newRemote(id string, first *entry) (*remote, error) {
	r := &remote{store: s, id: id, key: s.keys.log(id), instance: first.instance}
	if err := json.Unmarshal([]byte(first.meta), &r.meta); err != nil {
		return nil, fmt.Errorf("what is kept is no stream of ours: %w", err)
	}
	return r, nil
}

// look runs a command that asks for one entry of a key. It returns nil if there is none.
func (s *redisStore) look(ctx context.Context, key string, command func(context.Context, redis.Pipeliner) *redis.XMessageSliceCmd) (*entry, error) {
	var reply *redis.XMessageSliceCmd
	err := s.link.exec(ctx, key, callTimeout, func(ctx context.Context, p redis.Pipeliner) { reply = command(ctx, p) })
	if err != nil {
		return nil, err
	}
	found, err := reply.Result()
	if err != nil || len(found) == 0 {
		return nil, causeOf(err)
	}
	return decodeEntry(found[0])
}

func (r *remote) Meta() store.Meta {
	return store.Meta{Owner: r.meta.Owner, Assistant: r.meta.Assistant}
}

func (r *remote) Stop(ctx context.Context) error {
	return r.store.tell(ctx, r.instance, orderStop, r.id)
}

// Listen finds the entry in which the event with the number after ends. The visitor may be ahead of Redis. A visitor
// who comes from the writing instance may have events that the instance has not sent to Redis yet.
func (r *remote) Listen(after int64) (store.Listener, error) {
	ctx := r.store.ctx
	last, err := r.store.look(ctx, r.key, func(ctx context.Context, p redis.Pipeliner) *redis.XMessageSliceCmd {
		return p.XRevRangeN(ctx, r.key, "+", "-", 1)
	})
	switch {
	case err != nil:
		return nil, err
	case last == nil:
		return nil, store.ErrNotFound
	case last.end != nil && last.before()+int64(len(last.ends)) <= after:
		return nil, io.EOF
	}
	l := &listener{
		remote: r, after: after, at: "0", batches: make(chan batch),
		interval: max(minHeard, min(maxHeard, r.meta.Grace/3)),
	}
	if after > 0 {
		first, err := r.store.look(ctx, r.key, func(ctx context.Context, p redis.Pipeliner) *redis.XMessageSliceCmd {
			return p.XRevRangeN(ctx, r.key, strconv.FormatInt(after-1, 10), "-", 1)
		})
		switch {
		case err != nil:
			return nil, err
		case first == nil:
			return nil, store.ErrNotFound
		}
		l.at, l.number = first.previous(), first.number()-1
		second, err := r.store.look(ctx, r.key, func(ctx context.Context, p redis.Pipeliner) *redis.XMessageSliceCmd {
			return p.XRangeN(ctx, r.key, "(0-1", "+", 1)
		})
		if err != nil {
			return nil, err
		}
		if second != nil {
			l.header, _ = second.header()
		}
	}
	ctx, l.cancel = context.WithCancel(ctx)
	go l.run(ctx)
	return l, nil
}

// Interface guard
var _ store.Stream = (*remote)(nil)
