package redisstore

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// shipment is what one pipeline sends of one stream.
type shipment struct {
	replica *replica
	entry   *entry // nil: only the key's time to live is renewed
	ttl     time.Duration
	add     *redis.StringCmd
	expire  *redis.BoolCmd
}

// ship returns what is to be sent of a stream, or nil if there is nothing.
func (p *replicator) ship(r *replica) *shipment {
	e := r.next()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.queued = false
	if r.over || e == nil && !r.renewal {
		return nil
	}
	if !r.ended && !r.isKept() {
		r.abandon()
		return nil
	}
	s := &shipment{replica: r, entry: e}
	switch {
	case e != nil && e.end != nil:
		s.ttl = r.keep
	case r.renewal || e != nil && e.meta != "":
		s.ttl = r.keep + spare
	}
	r.renewal = false
	r.begun = r.begun || e != nil
	return s
}

// queue adds the shipment's commands to a pipeline.
func (s *shipment) queue(ctx context.Context, pipe redis.Pipeliner) {
	if s.entry != nil {
		s.add = pipe.XAdd(ctx, &redis.XAddArgs{
			Stream: s.replica.key, ID: s.entry.id, NoMkStream: s.entry.meta == "", Values: s.entry.values(),
		})
	}
	if s.ttl > 0 {
		s.expire = pipe.PExpire(ctx, s.replica.key, s.ttl)
	}
}

// send sends the shipment. It returns false if that failed.
func (s *shipment) send(to *redisStore) bool {
	if to.link.exec(to.ctx, s.replica.key, callTimeout, s.queue) != nil {
		s.add, s.expire = nil, nil // they have no replies
		return false
	}
	return !(s.add != nil && isRefusal(s.add.Err()) || s.expire != nil && isRefusal(s.expire.Err()))
}

// settle notes what Redis has taken, and queues the rest again, unless the stream has waited longer than maxBehind.
func (s *shipment) settle() {
	r := s.replica
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	lives := s.ttl == 0 || s.expire != nil && s.expire.Err() == nil
	r.renewal = r.renewal || !lives
	if s.add != nil {
		switch err := s.add.Err(); {
		case errors.Is(err, redis.Nil): // the key is gone
			r.giveUp()
			return
		case err != nil && !isTaken(err):
		case s.entry.end != nil && !lives:
			// The entry is sent again, because the key did not get its time to live.
		default:
			r.took(s.entry)
		}
	}
	switch {
	case r.over:
	case len(r.entries) > 0 && time.Since(r.behind) > maxBehind:
		r.giveUp()
	case len(r.entries) > 0, r.renewal:
		r.queue()
	}
}

// isTaken reports whether Redis refuses an entry because it has the entry already. Then an earlier attempt was
// successful, but its reply was lost.
func isTaken(err error) bool {
	return err != nil && strings.Contains(err.Error(), "equal or smaller than the target stream top item")
}
