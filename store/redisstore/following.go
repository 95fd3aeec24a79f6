package redisstore

import (
	"slices"
	"sync"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

const (
	// maxFetches is how many fetches may be on their way to Redis. The link combines them into few pipelines.
	maxFetches = 256

	// lookInterval is about how often a stream is looked at although there is no news, because news can be lost.
	lookInterval = 2 * time.Second

	// deafLookTime is about how often all streams are looked at while this instance can get no news.
	deafLookTime = 200 * time.Millisecond

	// retryTime is the time after which a failed fetch is repeated.
	retryTime = 100 * time.Millisecond

	// lingerTime is how long a stream is still followed after its last listener has left. So visitors who come and go
	// cause no new work.
	lingerTime = time.Second
)

// following reads the streams of other instances for the listeners of this one. It has no goroutine, timer or connection
// for a single listener or stream. A few goroutines fetch what listeners wait for, and one turns a timer wheel.
type following struct {
	store *redisStore
	room  room // for what mirrors hold

	mu      sync.Mutex // taken after the locks of followed streams
	closed  bool
	streams map[string][]*followed // by id; several, if an id was claimed again
	leases  map[string]*lease      // by instance
	hungry  []*mirror              // to be fetched
	failed  []*mirror              // to be fetched again, after retryTime
	fetches int                    // how many goroutines fetch
	wheel   wheel
	begun   chan struct{} // has a value after the first stream was followed
}

func (w *following) init(s *redisStore) {
	w.store = s
	w.room.budget = &s.budget
	w.streams = make(map[string][]*followed)
	w.leases = make(map[string]*lease)
	w.begun = make(chan struct{}, 1)
}

// listen begins to read a stream after the event with the given number.
func (w *following) listen(r *remote, known *extent, after int64) (store.Listener, error) {
	for {
		f := w.follow(r, known)
		if f == nil {
			return nil, errDown
		}
		if l := f.listen(known, after); l != nil {
			return l, nil
		} // else f has just been forgotten
	}
}

// follow returns a stream that is followed from now on, or nil if the store is closed.
func (w *following) follow(r *remote, known *extent) *followed {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	for _, f := range w.streams[r.id] {
		if f.claim == known.claim {
			return f
		}
	}
	f := newFollowed(w, r, known)
	if len(w.streams) == 0 {
		signal(w.begun)
	}
	w.streams[r.id] = append(w.streams[r.id], f)
	if f.lease = w.leases[f.instance]; f.lease == nil {
		f.lease = new(lease)
		w.leases[f.instance] = f.lease
	}
	f.lease.streams++
	w.wheel.add(f, 0)
	return f
}

// forget removes a stream that is no longer followed.
func (w *following) forget(f *followed) {
	w.mu.Lock()
	defer w.mu.Unlock()
	rest := slices.DeleteFunc(w.streams[f.id], func(other *followed) bool { return other == f })
	if w.streams[f.id] = rest; len(rest) == 0 {
		delete(w.streams, f.id)
	}
	if f.lease.streams--; f.lease.streams == 0 {
		delete(w.leases, f.instance)
	}
}

// signal puts a value into a channel with room for one, unless it is full already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// all returns the streams that are followed.
func (w *following) all() []*followed {
	w.mu.Lock()
	defer w.mu.Unlock()
	all := make([]*followed, 0, len(w.streams))
	for _, of := range w.streams {
		all = append(all, of...)
	}
	return all
}

// news notes that there are new entries of streams.
func (w *following) news(ids []string) {
	for _, id := range ids {
		w.mu.Lock()
		of := slices.Clone(w.streams[id])
		w.mu.Unlock()
		for _, f := range of {
			f.look(time.Time{})
		}
	}
}

// trouble is since when Redis fails, as one goroutine knows it; zero: it does not.
type trouble struct{ since time.Time }

// note notes whether Redis answers a goroutine. When it begins to fail, and when it is back, all streams are looked at,
// because news may have been lost.
func (w *following) note(t *trouble, err error) {
	if (err != nil) == !t.since.IsZero() || w.store.ctx.Err() != nil {
		return
	}
	t.since = time.Time{}
	if err != nil {
		t.since = time.Now()
	}
	for _, f := range w.all() {
		f.look(t.since)
		if err == nil {
			f.tellAgain()
		}
	}
}

// queue adds a mirror to those that are fetched.
func (w *following) queue(m *mirror) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.hungry = append(w.hungry, m)
	w.fetchMore()
}

// queueLater is like queue, after retryTime.
func (w *following) queueLater(m *mirror) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.failed = append(w.failed, m)
}

// fetchMore lets another goroutine fetch, unless there are enough. The caller holds the lock.
func (w *following) fetchMore() {
	if len(w.hungry) > 0 && w.fetches < maxFetches && !w.closed {
		w.fetches++
		w.store.loops.Go(w.fetch)
	}
}

// fetch fetches mirrors until none is hungry.
func (w *following) fetch() {
	for {
		w.mu.Lock()
		if len(w.hungry) == 0 || w.closed {
			w.fetches--
			w.mu.Unlock()
			return
		}
		m := w.hungry[0]
		w.hungry[0] = nil
		if w.hungry = w.hungry[1:]; len(w.hungry) == 0 {
			w.hungry = nil
		}
		w.mu.Unlock()
		m.fetch(w.store.ctx)
	}
}

// run turns the wheel until the store is closed. It then ends all listeners.
func (w *following) run() {
	ctx := w.store.ctx
	tick := time.NewTicker(tickTime)
	defer tick.Stop()
	var looked time.Time // when all streams were looked at because there is no news
	for at, n := time.Now(), 0; ctx.Err() == nil; {
		if w.isIdle() {
			tick.Stop()
			select {
			case <-w.begun:
			case <-ctx.Done():
			}
			tick.Reset(tickTime)
			at = time.Now()
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
		}
		for ; time.Since(at) >= tickTime; at = at.Add(tickTime) { // several times, if the processor was busy
			w.turn(n%int(retryTime/tickTime) == 0)
			n++
		}
		if time.Since(looked) >= deafLookTime && w.isDeaf() {
			looked = time.Now()
			for _, f := range w.all() {
				f.look(time.Time{})
			}
		}
	}
	w.close()
}

// isDeaf reports whether the shard of the inbox is down, so that no news comes, but another shard may have streams.
func (w *following) isDeaf() bool {
	s := w.store
	return s.link.down(s.keys.inbox(s.instance)) && !s.link.allDown()
}

func (w *following) isIdle() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.streams) == 0 && len(w.failed) == 0 && w.wheel.isEmpty()
}

// turn does what is due.
func (w *following) turn(retry bool) {
	w.mu.Lock()
	due := w.wheel.turn()
	if retry {
		w.hungry = append(w.hungry, w.failed...)
		w.failed = nil
		for range min(len(w.hungry), maxFetches) {
			w.fetchMore()
		}
	}
	w.mu.Unlock()
	for _, f := range due {
		next, more := f.turn(time.Now())
		if !more {
			w.forget(f)
			continue
		}
		w.mu.Lock()
		w.wheel.add(f, next)
		w.mu.Unlock()
	}
}

// close ends all listeners, and lets nothing new begin.
func (w *following) close() {
	w.store.orders.close()
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	for _, f := range w.all() {
		f.close()
	}
}
