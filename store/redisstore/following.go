package redisstore

import (
	"context"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/store"
)

const (
	// maxFetches is how many fetches may be on their way to Redis. The link combines them into few pipelines.
	maxFetches = 256

	// lookInterval is about how long a stream that has listeners is not looked at if there is no news: news can be lost.
	lookInterval = 2 * time.Second

	// retryTime is the time after which a fetch is repeated that has failed.
	retryTime = 100 * time.Millisecond

	// lingerTime is how long a stream is still followed after its last listener has left. So visitors who come and go
	// cause no new work.
	lingerTime = time.Second
)

// following is all that the listeners of this instance read of the streams of other instances. It has no goroutine, no
// timer and no connection for a single listener or stream: few goroutines fetch what listeners wait for, and one turns
// a timer wheel.
type following struct {
	store *redisStore

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
	for n := 0; ctx.Err() == nil; n++ {
		if w.isIdle() {
			tick.Stop()
			select {
			case <-w.begun:
			case <-ctx.Done():
			}
			tick.Reset(tickTime)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			continue
		}
		w.turn(n%int(retryTime/tickTime) == 0)
	}
	w.close()
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

// tickTime is the time that a slot of a wheel stands for.
const tickTime = 25 * time.Millisecond

// wheel is a timer wheel. It holds each followed stream once, in the slot of the time when something is due.
type wheel struct {
	slots [128][]*followed
	at    int
	n     int
}

func (w *wheel) isEmpty() bool { return w.n == 0 }

// add adds a stream for which something is due after some time, of a few seconds at most.
func (w *wheel) add(f *followed, after time.Duration) {
	ticks := min(max(1, int((after+tickTime-1)/tickTime)), len(w.slots)-1)
	slot := (w.at + ticks) % len(w.slots)
	w.slots[slot] = append(w.slots[slot], f)
	w.n++
}

// turn turns the wheel by one slot, and removes and returns what is due.
func (w *wheel) turn() []*followed {
	w.at = (w.at + 1) % len(w.slots)
	due := w.slots[w.at]
	w.slots[w.at] = nil
	w.n -= len(due)
	return due
}

// followed is a stream of another instance that listeners of this instance read.
type followed struct {
	in       *following
	id       string
	key      string
	instance string // which writes the stream
	claim    string // tells the stream from others with its id
	total    int64  // bytes of the store's budget
	interval time.Duration
	lease    *lease

	mu        sync.Mutex
	gone      bool        // the stream is no longer followed
	over      bool        // Redis has the stream's end, so the writing instance needs to know of no listener
	header    http.Header // nil: it is not known yet
	mirrors   []*mirror   // the first of them has read most
	listeners int
	left      time.Time // when the last listener left
	told      time.Time // when the writing instance was told of the listeners
	looked    time.Time // when all mirrors were looked at
}

func newFollowed(w *following, r *remote, known *extent) *followed {
	return &followed{
		in: w, id: r.id, key: r.key,
		instance: known.instance, claim: known.claim, total: known.total(),
		interval: max(minHeard, min(maxHeard, known.meta.Grace/3)),
		looked:   time.Now().Add(-rand.N(lookInterval / 2)), // spreads the streams of one moment
		left:     time.Now(),
	}
}

// listen adds a listener, or returns nil if the stream is no longer followed.
func (f *followed) listen(known *extent, after int64) *listener {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.gone {
		return nil
	}
	if f.header == nil {
		f.header = known.header
	}
	f.over = f.over || known.isOver()
	f.listeners++
	f.tell(time.Now())
	return &listener{of: f, after: after, place: known.place(after), news: make(chan struct{}, 1)}
}

// tell tells the writing instance that the stream has listeners, if it is due.
func (f *followed) tell(now time.Time) {
	if f.listeners > 0 && !f.over && now.Sub(f.told) >= f.interval {
		f.told = now
		f.in.store.orders.heard(f.instance, f.id)
	}
}

// tellAgain makes the writing instance know of the listeners, because Redis may have lost the last message.
func (f *followed) tellAgain() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.told = time.Time{}
	f.tell(time.Now())
}

// look makes all mirrors look whether there are new entries, as soon as a listener wants them. failing is since when
// Redis fails, if it does.
func (f *followed) look(failing time.Time) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, m := range f.mirrors {
		m.look(failing)
	}
}

// turn does what is due, and returns the time until something else is. It reports false if the stream is no longer
// followed.
func (f *followed) turn(now time.Time) (next time.Duration, more bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.listeners == 0 && now.Sub(f.left) >= lingerTime {
		f.gone = true
		for len(f.mirrors) > 0 {
			f.remove(f.mirrors[0])
		}
		return 0, false
	}
	if f.listeners == 0 {
		return lingerTime - now.Sub(f.left), true
	}
	if now.Sub(f.looked) >= lookInterval {
		f.looked = now
		for _, m := range f.mirrors {
			m.check = true
			m.look(time.Time{})
		}
	}
	f.tell(now)
	next = lookInterval - now.Sub(f.looked)
	if !f.over {
		next = min(next, f.interval-now.Sub(f.told))
	}
	return min(next, lingerTime), true
}

// close ends all listeners.
func (f *followed) close() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.gone = true
	for _, m := range f.mirrors {
		m.fail(store.ErrLost)
	}
}

// mirrorFor returns a mirror that has what a listener reads next, or comes to it next, or nil.
func (f *followed) mirrorFor(at place) *mirror {
	const most = 32 // because all listeners may be at different places
	for _, m := range f.mirrors[:min(len(f.mirrors), most)] {
		if m.covers(at) {
			return m
		}
	}
	return nil
}

// add adds a mirror that begins at a place.
func (f *followed) add(at place) *mirror {
	m := &mirror{of: f, after: at.after, at: at.id, number: at.number, count: 1, fresh: true, check: true}
	f.mirrors = append(f.mirrors, m)
	f.advance(len(f.mirrors) - 1)
	return m
}

// advance makes the mirror with an index the first one, if it has read most.
func (f *followed) advance(i int) {
	if f.mirrors[i].number > f.mirrors[0].number {
		f.mirrors[i], f.mirrors[0] = f.mirrors[0], f.mirrors[i]
	}
}

// remove removes a mirror.
func (f *followed) remove(m *mirror) {
	for len(m.entries) > 0 {
		m.drop()
	}
	m.removed = true
	f.mirrors = slices.DeleteFunc(f.mirrors, func(other *mirror) bool { return other == m })
	for i := range f.mirrors {
		f.advance(i)
	}
}
