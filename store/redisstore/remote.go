package redisstore

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/store"
)

// remote is a stream in Redis that another instance writes or has written.
type remote struct {
	store *redisStore
	id    string
	key   string
	known atomic.Pointer[extent]
}

// extent is what Redis has of a stream at some time: its first entry and its last one.
type extent struct {
	asked    time.Time
	meta     metaJSON
	instance string
	claim    string
	header   http.Header // nil: neither entry has it
	first    *entry
	last     *entry // without its data
}

// freshTime is how long an extent is taken for the current one.
const freshTime = time.Second

// findRemote finds a stream in Redis. forStops is the purpose of a caller who only wants to stop the stream; forReads is
// that of any other.
func (s *redisStore) findRemote(ctx context.Context, id string, why purpose) (store.Stream, error) {
	r := s.newRemote(id, nil)
	known, err := r.look(ctx, why)
	switch {
	case err != nil:
		return nil, err
	case known.last.unkept && why != forStops:
		return nil, store.ErrNotFound
	}
	r.known.Store(known)
	return r, nil
}

func (s *redisStore) newRemote(id string, known *extent) *remote {
	r := &remote{store: s, id: id, key: s.keys.log(id)}
	r.known.Store(known)
	return r
}

// look asks Redis for the first and the last entry of the stream. It returns store.ErrNotFound if there is no such
// stream, or if its id is free again.
func (r *remote) look(ctx context.Context, why purpose) (*extent, error) {
	asked := time.Now()
	var first, last *redis.XMessageSliceCmd
	err := r.store.link.run(ctx, r.key, call{purpose: why, timeout: callTimeout}, func(ctx context.Context, p redis.Pipeliner) {
		first = p.XRangeN(ctx, r.key, "-", "+", 1)
		last = p.XRevRangeN(ctx, r.key, "+", "-", 1)
	})
	switch {
	case err != nil:
		return nil, err
	case first.Err() != nil || last.Err() != nil:
		return nil, causeOf(cmp.Or(first.Err(), last.Err()))
	case len(first.Val()) == 0 || len(last.Val()) == 0:
		return nil, store.ErrNotFound
	}
	x, err := newExtent(asked, first.Val()[0], last.Val()[0])
	if err == nil && x.isNothing() {
		return nil, store.ErrNotFound
	}
	return x, err
}

// newExtent returns what Redis has of a stream, of which it has sent the first and the last entry.
func newExtent(asked time.Time, first, last redis.XMessage) (x *extent, err error) {
	x = &extent{asked: asked}
	if x.first, err = decodeEntry(first); err != nil {
		return nil, err
	}
	if x.last, err = decodeEntry(last); err != nil {
		return nil, err
	}
	if err := json.Unmarshal([]byte(x.first.meta), &x.meta); err != nil {
		return nil, fmt.Errorf("the key holds no stream of this module: %w", err)
	}
	x.instance, x.claim, x.header = x.first.instance, x.first.claim, x.last.header
	x.last.data = nil
	return x, nil
}

// events returns how many events there are.
func (x *extent) events() int64 { return x.last.before() + int64(len(x.last.ends)) }

// isOver reports whether nothing is added any more.
func (x *extent) isOver() bool { return x.last.end != nil || x.last.lost }

// isNothing reports whether the stream has failed, or was lost before it was opened. Its id is free then.
func (x *extent) isNothing() bool {
	return x.last.failed != nil || x.last.lost && x.last.number() == x.first.number()+1
}

// total returns how many bytes this instance keeps of all streams.
func (x *extent) total() int64 { return cmp.Or(x.meta.MaxTotal, defaultTotal) }

// defaultTotal is used if the writing instance does not tell how many bytes are kept.
const defaultTotal = 64 << 20

// place returns where a listener begins that has the event with the given number. The visitor may be ahead of Redis: a
// visitor who comes from the writing instance may have events that it has not sent to Redis yet.
func (x *extent) place(after int64) place {
	last := x.last
	switch {
	case after > x.events(), after == x.events() && !last.torn:
		return place{id: last.id, number: last.number()}
	case after > last.before():
		return place{id: last.previous(), number: last.number() - 1}
	case after > 0:
		return place{after: after}
	}
	return place{id: x.first.id, number: x.first.number()}
}

func (r *remote) Meta() store.Meta {
	meta := r.known.Load().meta
	return store.Meta{Owner: meta.Owner, Assistant: meta.Assistant}
}

// Stop returns nil only once Redis has the order, or if the stream had ended when it was found. A stream that is marked as
// lost may still be written by an instance that was cut off from Redis, so that one gets the order, too.
func (r *remote) Stop(ctx context.Context) error {
	known := r.known.Load()
	if known.last.end != nil {
		return nil
	}
	return r.store.orders.stop(ctx, known.instance, r.id)
}

// Listen asks Redis only if the stream was found some time ago.
func (r *remote) Listen(after int64) (store.Listener, error) {
	known := r.known.Load()
	if time.Since(known.asked) > freshTime {
		var err error
		if known, err = r.look(r.store.ctx, forReads); err != nil {
			return nil, err
		}
		r.known.Store(known)
	}
	if known.last.unkept {
		return nil, store.ErrNotFound
	}
	// A stream whose rest is lost ends where it breaks off for a visitor who has everything: there is nothing to wait for.
	if known.isOver() && known.events() <= after {
		return nil, io.EOF
	}
	return r.store.following.listen(r, known, after)
}

// Interface guard
var _ store.Stream = (*remote)(nil)
