package redisstore

import (
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/store"
)

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
	told      time.Time // when the listeners were last announced to the writing instance
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

// findHeader looks for the header in the stream's first entries.
func (f *followed) findHeader(first []redis.XMessage) {
	for _, message := range first {
		if e, err := decodeEntry(message); err == nil && e.header != nil && f.header == nil {
			f.openWith(e.header)
		}
	}
}

// openWith gives all listeners the header.
func (f *followed) openWith(header http.Header) {
	f.header = header
	for _, m := range f.mirrors {
		m.wake()
	}
}
