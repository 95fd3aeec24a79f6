package redisstore

import (
	"context"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// watch checks the leases of the instances whose streams are followed, until the store is closed.
func (w *following) watch() {
	tick := time.NewTicker(beatInterval)
	defer tick.Stop()
	var t trouble
	for w.store.ctx.Err() == nil {
		select {
		case <-tick.C:
			w.note(&t, w.checkLeases())
		case <-w.store.ctx.Done():
		}
	}
}

// checkLeases asks for all leases at the same time, so that the link can combine the calls. It returns an error of one
// of them.
func (w *following) checkLeases() error {
	w.mu.Lock()
	checks := make(map[string]*lease, len(w.leases))
	for instance, l := range w.leases {
		checks[instance] = l
	}
	w.mu.Unlock()
	results := make(chan error, len(checks))
	for instance, l := range checks {
		go func() { results <- w.checkLease(instance, l) }()
	}
	var failed error
	for range checks {
		if err := <-results; err != nil {
			failed = err
		}
	}
	return failed
}

// checkLease asks for the lease of an instance. If it has been absent for absentAfter, the instance's streams are looked
// at for the last time.
func (w *following) checkLease(instance string, l *lease) error {
	asked := time.Now()
	value, err := w.store.readLease(w.store.ctx, instance, callTimeout)
	if err != nil {
		w.store.looks.forget(instance)
	}
	if !l.note(asked, err, err == nil && !w.store.looks.isAbsent(instance, asked, value)) {
		return err
	}
	for _, f := range w.all() {
		if f.lease == l {
			f.look(time.Time{})
		}
	}
	return nil
}

// noLease is the value of a lease that does not exist.
const noLease = "-"

// readLease returns the value of an instance's lease, or noLease.
func (s *redisStore) readLease(ctx context.Context, instance string, timeout time.Duration) (string, error) {
	key := s.keys.lease(instance)
	var get *redis.StringCmd
	err := s.link.exec(ctx, key, timeout, func(ctx context.Context, p redis.Pipeliner) { get = p.Get(ctx, key) })
	if err != nil {
		return "", err
	}
	value, err := get.Result()
	if errors.Is(err, redis.Nil) {
		return noLease, nil
	}
	return value, causeOf(err)
}

// leaseValue is what the last looks at a lease have found. Each heartbeat writes another value. If the clock of Redis
// goes back, the lease of a dead instance lives on, but its value stays the same.
type leaseValue struct {
	value string
	since time.Time // since when the lease has that value
}

// isAbsent notes a value, and reports whether nobody has renewed the lease for leaseTime, or there is none. The lease of
// an older version has no value, so its expiry alone decides.
func (v *leaseValue) isAbsent(asked time.Time, value string) bool {
	if v.since.IsZero() || v.value != value {
		v.value, v.since = value, asked
	}
	return value == noLease || value != "" && asked.Sub(v.since) > leaseTime
}

// lease is what is known of the lease of another instance.
type lease struct {
	streams int // that are followed; guarded by following.mu

	mu     sync.Mutex
	absent time.Time // since when there is none; zero: there is one
	lost   bool      // it has been absent for absentAfter
}

// note notes whether there is a lease. It reports whether the lease has just been lost. A lease that cannot be
// asked for is not absent, and a live instance needs a moment to renew it once Redis is back.
func (l *lease) note(asked time.Time, err error, exists bool) (lost bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case err != nil || exists:
		l.absent, l.lost = time.Time{}, false
		return false
	case l.absent.IsZero():
		l.absent = asked
	}
	was := l.lost
	l.lost = asked.Sub(l.absent) > absentAfter
	return l.lost && !was
}

func (l *lease) isLost() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lost
}

// ownLease is the lease of this instance. Its zero value is ready for use.
type ownLease struct {
	values  atomic.Int64 // how many values there were
	renewed atomic.Int64 // when the lease was renewed last, as time since epoch; 0: never
}

// next returns the value that the next heartbeat writes.
func (l *ownLease) next() string { return strconv.FormatInt(l.values.Add(1), 10) }

// note notes a renewal that began at a given time.
func (l *ownLease) note(began time.Time) { l.renewed.Store(int64(began.Sub(epoch))) }

// Load reports whether this instance has ever had a lease.
func (l *ownLease) Load() bool { return l.renewed.Load() != 0 }

// isFresh reports whether the lease was renewed so lately that it outlives the next heartbeat.
func (l *ownLease) isFresh() bool {
	return l.Load() && time.Since(epoch)-time.Duration(l.renewed.Load()) < leaseTime-2*beatInterval
}

// confirmTime is the time between the two looks at a lease after which an instance is taken for dead. A live instance
// renews its lease meanwhile: within beatInterval, if Redis is back after an outage.
const confirmTime = beatInterval + 250*time.Millisecond

// leaseLooks holds what this instance has seen of the leases of others. Its zero value is ready for use.
type leaseLooks struct {
	mu   sync.Mutex
	seen map[string]*leaseLook // by instance
}

type leaseLook struct {
	last leaseValue
	at   time.Time
}

// forgetLooks is the time after which a look is forgotten.
const forgetLooks = time.Minute

// isAbsent notes what a look has found, and reports whether the lease is absent.
func (l *leaseLooks) isAbsent(instance string, asked time.Time, value string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	look := l.seen[instance]
	if look == nil {
		for other, old := range l.seen {
			if asked.Sub(old.at) > forgetLooks {
				delete(l.seen, other)
			}
		}
		if l.seen == nil {
			l.seen = make(map[string]*leaseLook)
		}
		look = new(leaseLook)
		l.seen[instance] = look
	}
	look.at = asked
	return look.last.isAbsent(asked, value)
}

// forget forgets the looks at a lease. After an outage, its instance needs a moment to renew it.
func (l *leaseLooks) forget(instance string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.seen, instance)
}

// isAbandoned reports whether an instance is dead: its lease is absent in two looks that are confirmTime apart, and its
// shard is up all the time. It returns false if it cannot find out before ctx ends.
func (s *redisStore) isAbandoned(ctx context.Context, instance string) bool {
	isAbsent := func() bool {
		asked := time.Now()
		value, err := s.readLease(ctx, instance, claimTime)
		return err == nil && s.looks.isAbsent(instance, asked, value)
	}
	if !isAbsent() {
		return false
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for began := time.Now(); time.Since(began) < confirmTime; {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return false
		}
		if s.link.down(s.keys.lease(instance)) {
			return false
		}
	}
	return isAbsent()
}
