package redisstore

import (
	"context"
	"sync"
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
	key := w.store.keys.lease(instance)
	var exists *redis.IntCmd
	err := w.store.link.exec(w.store.ctx, key, callTimeout, func(ctx context.Context, p redis.Pipeliner) {
		exists = p.Exists(ctx, key)
	})
	if err == nil {
		err = exists.Err()
	}
	if !l.note(asked, err, err == nil && exists.Val() > 0) {
		return err
	}
	for _, f := range w.all() {
		if f.lease == l {
			f.look(time.Time{})
		}
	}
	return nil
}

// lease is what is known of the lease of another instance.
type lease struct {
	streams int // that are followed; guarded by following.mu

	mu     sync.Mutex
	absent time.Time // since when there is none; zero: there is one
	lost   bool      // it has been absent for absentAfter
}

// note notes whether there is a lease. It reports whether the lease has just been lost. A lease that cannot be asked for
// is not absent, and a live instance needs a moment to renew it once Redis is back.
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
