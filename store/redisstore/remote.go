package redisstore

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/store"
)

// How often the instance that writes a stream is told that somebody listens elsewhere: often enough that it has not given the
// stream up, and that it soon hears of one of which Redis has lost the end.
const (
	minHeard = 50 * time.Millisecond
	maxHeard = 2 * time.Second
)

// A listener is told that the rest of a stream is lost when its instance has had no lease for absentAfter, or Redis has failed
// for failedAfter.
const (
	absentAfter = time.Second
	failedAfter = 3500 * time.Millisecond
)

// remote is a stream that another instance writes, or has written, as it is in Redis.
type remote struct {
	store *redisStore
	id    string
	key   string
	meta  metaJSON
}

func (s *redisStore) findRemote(ctx context.Context, id string) (store.Stream, error) {
	r := &remote{store: s, id: id, key: s.keys.log(id)}
	first, err := s.look(ctx, func(ctx context.Context) *redis.XMessageSliceCmd {
		return s.link.calls.XRangeN(ctx, r.key, "-", "+", 1)
	})
	switch {
	case err != nil:
		return nil, err
	case first == nil:
		return nil, store.ErrNotFound
	}
	if err := json.Unmarshal([]byte(first.meta), &r.meta); err != nil {
		return nil, fmt.Errorf("what is kept is no stream of ours: %w", err)
	}
	return r, nil
}

// look returns the one entry that a command asks for, if there is one.
func (s *redisStore) look(ctx context.Context, command func(context.Context) *redis.XMessageSliceCmd) (*entry, error) {
	var found []redis.XMessage
	err := s.link.call(ctx, callTimeout, func(ctx context.Context) (err error) {
		found, err = command(ctx).Result()
		return err
	})
	if err != nil || len(found) == 0 {
		return nil, err
	}
	return decodeEntry(found[0])
}

func (r *remote) Meta() store.Meta {
	return store.Meta{Owner: r.meta.Owner, Assistant: r.meta.Assistant, Header: r.meta.Header}
}

func (r *remote) Stop(ctx context.Context) error {
	return r.store.tell(ctx, r.meta.Instance, orderStop, r.id)
}

// Listen finds the entry in which the event ends. The listener may be ahead of what is in Redis: they have come from the
// instance that writes the stream, and know events that it has not sent yet.
func (r *remote) Listen(after int64) (store.Listener, error) {
	ctx := r.store.ctx
	last, err := r.store.look(ctx, func(ctx context.Context) *redis.XMessageSliceCmd {
		return r.store.link.calls.XRevRangeN(ctx, r.key, "+", "-", 1)
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
		first, err := r.store.look(ctx, func(ctx context.Context) *redis.XMessageSliceCmd {
			return r.store.link.calls.XRevRangeN(ctx, r.key, strconv.FormatInt(after-1, 10), "-", 1)
		})
		switch {
		case err != nil:
			return nil, err
		case first == nil:
			return nil, store.ErrNotFound
		}
		l.at, l.number = first.previous(), first.number()-1
	}
	ctx, l.cancel = context.WithCancel(ctx)
	go l.run(ctx)
	return l, nil
}

// decodeEntry reads what values has written.
func decodeEntry(m redis.XMessage) (*entry, error) {
	field := func(name string) string {
		value, _ := m.Values[name].(string)
		return value
	}
	e := &entry{id: m.ID, meta: field(fieldMeta), data: []byte(field(fieldData)), torn: field(fieldTorn) != ""}
	if ends := field(fieldEnds); ends != "" {
		for _, word := range strings.Split(ends, ",") {
			end, err := strconv.Atoi(word)
			if err != nil || end < 0 || end > len(e.data) {
				return nil, fmt.Errorf("the entry %s is none of ours", m.ID)
			}
			e.ends = append(e.ends, end)
		}
	}
	if _, ended := m.Values[fieldReason]; ended {
		e.end = &store.End{Reason: field(fieldReason), Cause: field(fieldCause)}
	}
	return e, nil
}

// before returns how many events there are before the entry.
func (e *entry) before() int64 {
	events, _, _ := strings.Cut(e.id, "-")
	n, _ := strconv.ParseInt(events, 10, 64) // which Redis has checked
	return n
}

// number is that of the entry in its stream, from 1.
func (e *entry) number() int64 {
	_, number, _ := strings.Cut(e.id, "-")
	n, _ := strconv.ParseInt(number, 10, 64) // which Redis has checked
	return n
}

// previous is the greatest id that is smaller.
func (e *entry) previous() string {
	return strconv.FormatInt(e.before(), 10) + "-" + strconv.FormatInt(e.number()-1, 10)
}

// following returns what is in the entry after the event of a number.
func (e *entry) following(after int64) store.Piece {
	p := store.Piece{Data: e.data, Events: len(e.ends), Torn: e.torn}
	known := after - e.before()
	switch {
	case known <= 0:
	case known > int64(len(e.ends)):
		return store.Piece{}
	default:
		p.Data = e.data[e.ends[known-1]:]
		p.Events -= int(known)
	}
	return p
}

// batch is what one look at Redis brings.
type batch struct {
	entries []*entry
	err     error
}

// listener reads a remote stream. A goroutine looks for what comes, one batch ahead.
type listener struct {
	remote   *remote
	cancel   context.CancelFunc
	batches  chan batch
	interval time.Duration // between the times when the stream's instance is told that somebody listens

	// These are the goroutine's alone.
	at     string    // the id of the last entry
	number int64     // and its number
	heard  time.Time // when the instance was told
	failed time.Time // since when Redis fails; zero: it does not
	absent time.Time // since when the instance has no lease; zero: it has one

	// These are the listener's alone.
	after int64 // up to which event all is known
	held  batch
	end   store.End
	ended bool
}

func (l *listener) Read() (store.Piece, error) {
	if len(l.held.entries) == 0 && l.held.err == nil {
		select {
		case next, more := <-l.batches:
			l.hold(next, more)
		default:
		}
	}
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

// hold takes what has come. Nothing comes any more from a store that is closed.
func (l *listener) hold(next batch, more bool) {
	if !more {
		next.err = store.ErrLost
	}
	l.held = next
}

func (l *listener) End() store.End { return l.end }

func (l *listener) Close() { l.cancel() }

// run looks for entries until the stream ends, is lost, or nobody listens any more.
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

// deliver waits until the listener takes what has come.
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

// look returns what has come, or nothing after a time in which nothing has.
func (l *listener) look(ctx context.Context) batch {
	l.tellHeard(ctx)
	asked := time.Now()
	const few = 4 // as entries may be large
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
		case e.number() != l.number+1:
			next.err = store.ErrLost // as Redis has lost what is between, in a crash or a failover
			return next
		}
		l.at, l.number = m.ID, l.number+1
		next.entries = append(next.entries, e)
	}
	return next
}

// tellHeard tells the instance that writes the stream that somebody listens, now and then. If that fails, it is told soon.
func (l *listener) tellHeard(ctx context.Context) {
	if time.Since(l.heard) < l.interval {
		return
	}
	if err := l.remote.store.tell(ctx, l.remote.meta.Instance, orderHeard, l.remote.id); err == nil {
		l.heard = time.Now()
	}
}

// checkAlive looks whether more can come: whether there still is the stream, and the instance that writes it.
func (l *listener) checkAlive(ctx context.Context) batch {
	s := l.remote.store
	asked := time.Now()
	var stream, instance *redis.IntCmd
	err := s.link.call(ctx, callTimeout, func(ctx context.Context) error {
		_, err := s.link.calls.Pipelined(ctx, func(p redis.Pipeliner) error {
			stream = p.Exists(ctx, l.remote.key)
			instance = p.Exists(ctx, s.keys.lease(l.remote.meta.Instance))
			return nil
		})
		return err
	})
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

// fail notes that Redis fails. When it does no more, an instance that lives needs a moment to show that.
func (l *listener) fail(now time.Time) batch {
	l.absent = time.Time{}
	return lostSince(&l.failed, now, failedAfter)
}

// lostSince returns nothing, or that the stream is lost if that has been to be feared for long enough.
func lostSince(since *time.Time, now time.Time, patience time.Duration) batch {
	if since.IsZero() {
		*since = now
	}
	if time.Since(*since) > patience {
		return batch{err: store.ErrLost}
	}
	return batch{}
}

// Interface guards
var (
	_ store.Stream   = (*remote)(nil)
	_ store.Listener = (*listener)(nil)
)
