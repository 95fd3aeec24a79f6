package redisstore

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/store"
)

// The bounds of the interval at which a listener tells the instance that writes the stream that it listens. The
// interval must be so short that the instance does not abandon the stream. The instance must also learn soon of a
// listener whose stream's end Redis has lost.
const (
	minHeard = 50 * time.Millisecond
	maxHeard = 2 * time.Second
)

// A listener gets store.ErrLost when the writing instance has had no lease for absentAfter, or Redis has failed for
// failedAfter.
const (
	absentAfter = time.Second
	failedAfter = 3500 * time.Millisecond
)

// batch is the result of one look into Redis.
type batch struct {
	entries []*entry
	err     error
}

// listener reads a remote stream. A goroutine of its own reads Redis, one batch ahead.
type listener struct {
	remote   *remote
	cancel   context.CancelFunc
	batches  chan batch
	interval time.Duration // at which the writing instance is told of the listener

	// Only the goroutine uses these.
	at     string    // the id of the last entry that was read
	number int64     // the number of that entry
	heard  time.Time // when the writing instance was told last
	failed time.Time // since when Redis fails; zero: it does not
	absent time.Time // since when the writing instance has no lease; zero: it has one

	// Only the caller of the listener's methods uses these.
	after  int64 // the number of the last event that the visitor has already
	header http.Header
	held   batch
	end    store.End
	ended  bool
}

// take takes the next batch, if there is one.
func (l *listener) take() {
	if len(l.held.entries) == 0 && l.held.err == nil {
		select {
		case next, more := <-l.batches:
			l.hold(next, more)
		default:
		}
	}
}

func (l *listener) Read() (store.Piece, error) {
	l.take()
	for len(l.held.entries) > 0 && !l.ended {
		next := l.held.entries[0]
		l.held.entries = l.held.entries[1:]
		if next.end != nil {
			l.end, l.ended = *next.end, true
		}
		if p := next.following(l.after); len(p.Data) > 0 {
			return p, nil
		}
	}
	if l.ended {
		return store.Piece{}, io.EOF
	}
	return store.Piece{}, l.held.err
}

func (l *listener) Wait(ctx context.Context) error {
	if l.ended || len(l.held.entries) > 0 || l.held.err != nil {
		return nil
	}
	select {
	case next, more := <-l.batches:
		l.hold(next, more)
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// hold takes a batch. If there are no more batches, the store is closed, and the rest of the stream is lost.
func (l *listener) hold(next batch, more bool) {
	if !more {
		next.err = store.ErrLost
	}
	l.held = next
	for _, e := range next.entries {
		if header, err := e.header(); header != nil && err == nil {
			l.header = header
		}
	}
}

func (l *listener) Header() http.Header {
	l.take()
	return l.header
}

func (l *listener) End() store.End { return l.end }

func (l *listener) Close() { l.cancel() }

// run reads entries until the stream ends or is lost, or until the listener or the store is closed.
func (l *listener) run(ctx context.Context) {
	defer close(l.batches)
	for ctx.Err() == nil {
		next := l.look(ctx)
		if len(next.entries) == 0 && next.err == nil {
			continue
		}
		l.deliver(ctx, next)
		if next.err != nil || len(next.entries) > 0 && next.entries[len(next.entries)-1].end != nil {
			return
		}
	}
}

// deliver waits until the listener takes a batch. Meanwhile, it keeps telling the writing instance of the listener.
func (l *listener) deliver(ctx context.Context, next batch) {
	tick := time.NewTicker(l.interval)
	defer tick.Stop()
	for {
		select {
		case l.batches <- next:
			return
		case <-tick.C:
			l.tellHeard(ctx)
		case <-ctx.Done():
			return
		}
	}
}

// look returns the next entries, or an empty batch if there were none for blockTime or the interval.
func (l *listener) look(ctx context.Context) batch {
	l.tellHeard(ctx)
	asked := time.Now()
	const few = 4 // because entries may be large
	messages, err := l.remote.store.wait(ctx, l.remote.key, l.at, few, min(blockTime, l.interval))
	if err != nil {
		l.remote.store.pause(ctx)
		return l.fail(asked)
	}
	if len(messages) == 0 {
		return l.checkAlive(ctx)
	}
	l.failed, l.absent = time.Time{}, time.Time{}
	var next batch
	for _, m := range messages {
		e, err := decodeEntry(m)
		switch {
		case err != nil:
			return batch{err: fmt.Errorf("%w: %w", store.ErrLost, err)}
		case e.failed != nil:
			next.err = e.failed
			return next
		case e.lost, e.number() != l.number+1: // Redis has lost entries in a crash or a failover
			next.err = store.ErrLost
			return next
		}
		l.at, l.number = m.ID, l.number+1
		next.entries = append(next.entries, e)
	}
	return next
}

// tellHeard tells the writing instance of the listener, if it was not told within the interval. If that fails, the next
// call tells it.
func (l *listener) tellHeard(ctx context.Context) {
	if time.Since(l.heard) < l.interval {
		return
	}
	if err := l.remote.store.tell(ctx, l.remote.instance, orderHeard, l.remote.id); err == nil {
		l.heard = time.Now()
	}
}

// checkAlive checks whether more can come: whether the stream still exists, and whether its writing instance has a
// lease.
func (l *listener) checkAlive(ctx context.Context) batch {
	s := l.remote.store
	asked := time.Now()
	var stream, instance *redis.IntCmd
	lease := s.keys.lease(l.remote.instance)
	err := s.link.exec(ctx, l.remote.key, callTimeout, func(ctx context.Context, p redis.Pipeliner) {
		stream = p.Exists(ctx, l.remote.key)
	})
	if err == nil {
		err = s.link.exec(ctx, lease, callTimeout, func(ctx context.Context, p redis.Pipeliner) {
			instance = p.Exists(ctx, lease)
		})
	}
	if err == nil {
		err = cmp.Or(stream.Err(), instance.Err())
	}
	switch {
	case err != nil:
		return l.fail(asked)
	case stream.Val() == 0:
		return batch{err: store.ErrLost}
	case instance.Val() > 0:
		l.failed, l.absent = time.Time{}, time.Time{}
		return batch{}
	}
	return lostSince(&l.absent, asked, absentAfter)
}

// fail notes that Redis fails. It resets absent, because a live instance needs a moment to renew its lease once Redis
// is back.
func (l *listener) fail(now time.Time) batch {
	l.absent = time.Time{}
	return lostSince(&l.failed, now, failedAfter)
}

// lostSince returns an empty batch, or store.ErrLost if the trouble has lasted longer than patience. since is when the
// trouble began; a zero since becomes now.
func lostSince(since *time.Time, now time.Time, patience time.Duration) batch {
	if since.IsZero() {
		*since = now
	}
	if time.Since(*since) > patience {
		return batch{err: store.ErrLost}
	}
	return batch{}
}

// Interface guard
var _ store.Listener = (*listener)(nil)
