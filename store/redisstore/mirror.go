package redisstore

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/illumichat/caddy-illumichat/store"
)

const (
	// maxFetch is about how many bytes one fetch gets, unless a single entry is larger. maxCount is how many entries.
	maxFetch = 32 << 10
	maxCount = 32

	// window is how many bytes a mirror holds, unless a single entry is larger. A listener that is further behind
	// continues with a mirror of its own.
	window = 64 << 10

	// entryCost is roughly how many bytes an entry takes up besides its data.
	entryCost = 256
)

// mirror holds a part of a followed stream: what the fastest of its listeners has read, and some others have not. It
// fetches more only when the fastest listener has read everything, so what nobody reads stays in Redis. The stream's
// lock guards all fields.
type mirror struct {
	of        *followed
	listeners []*listener
	removed   bool // from its stream

	after   int64  // the place to begin at: that of the event with this number; 0: at and number are known
	at      string // the id of the last entry that was read
	number  int64  // the number of that entry
	entries []*held
	bytes   int   // of the entries' data
	err     error // why nothing follows; nil: something may. After the stream's end, it is not set
	ended   bool  // the last entry has the stream's end

	hungry  bool      // a listener has read everything, and wants more
	fresh   bool      // there may be new entries
	check   bool      // the stream itself may be gone
	busy    bool      // the mirror is fetched, or will be
	count   int       // how many entries to fetch
	largest int       // how many bytes the largest entry had
	failing time.Time // since when Redis fails; zero: it does not
}

// held is an entry that a mirror holds.
type held struct {
	*entry
	unread int   // how many of the mirror's listeners have not read it
	cost   int64 // bytes of the budget
}

// covers reports whether the mirror has what follows a place, or comes to it next. A mirror that has failed covers
// nothing, because another attempt may not fail.
func (m *mirror) covers(at place) bool {
	switch {
	case m.err != nil:
		return false
	case at.after > 0:
		return m.after == at.after || m.search(at.after) >= 0
	}
	first := m.number - int64(len(m.entries))
	return m.after == 0 && first <= at.number && at.number <= m.number
}

// search returns the index of the entry in which an event ends, or -1.
func (m *mirror) search(event int64) int {
	for i, e := range m.entries {
		if before := e.before(); before < event && event <= before+int64(len(e.ends)) {
			return i
		}
	}
	return -1
}

// entry returns the entry with a number, or nil if the mirror does not hold it.
func (m *mirror) entry(number int64) *held {
	i := number - (m.number - int64(len(m.entries))) - 1
	if i < 0 || i >= int64(len(m.entries)) {
		return nil
	}
	return m.entries[i]
}

// join adds a listener, which the mirror covers.
func (m *mirror) join(l *listener) {
	l.mirror, l.index = m, len(m.listeners)
	m.listeners = append(m.listeners, l)
	if l.place.after > 0 {
		i := m.search(l.place.after)
		if i < 0 {
			return // its place is looked for
		}
		l.place = place{id: m.entries[i].previous(), number: m.entries[i].number() - 1}
	}
	for n := l.place.number + 1; n <= m.number; n++ {
		m.entry(n).unread++
	}
}

// unlist removes a listener from the list.
func (m *mirror) unlist(l *listener) {
	last := len(m.listeners) - 1
	m.listeners[l.index] = m.listeners[last]
	m.listeners[l.index].index = l.index
	m.listeners[last] = nil
	m.listeners = m.listeners[:last]
	l.mirror = nil
}

// leave removes a listener. A mirror without listeners is removed. If its stream has none either, the mirror that has
// read most stays for lingerTime.
func (m *mirror) leave(l *listener) {
	m.unlist(l)
	if l.place.after == 0 {
		for n := l.place.number + 1; n <= m.number; n++ {
			m.entry(n).unread--
		}
	}
	m.trim()
	if lingers := m.of.listeners == 0 && m == m.of.mirrors[0]; len(m.listeners) == 0 && !lingers {
		m.of.remove(m)
	}
}

// trim drops the entries that all listeners have read.
func (m *mirror) trim() {
	for len(m.entries) > 0 && m.entries[0].unread == 0 {
		m.drop()
	}
}

// drop drops the first entry. Listeners that have not read it continue with another mirror.
func (m *mirror) drop() {
	first := m.entries[0]
	m.entries[0] = nil
	if m.entries = m.entries[1:]; len(m.entries) == 0 {
		m.entries = nil
	}
	m.bytes -= len(first.data)
	m.of.in.room.giveBack(first.cost)
	for i := len(m.listeners) - 1; i >= 0 && first.unread > 0; i-- {
		l := m.listeners[i]
		if l.place.after == 0 && l.place.number < first.number() {
			m.part(l)
			first.unread--
		}
	}
}

// part removes a listener that has read none of the entries.
func (m *mirror) part(l *listener) {
	m.unlist(l)
	for _, e := range m.entries {
		e.unread--
	}
}

// look notes that there may be new entries, and fetches them if a listener wants them. failing is since when Redis
// fails, if it does.
func (m *mirror) look(failing time.Time) {
	m.fresh = true
	if m.hungry && m.failing.IsZero() {
		m.failing = failing
	}
	m.queue()
}

// want fetches more because a listener has read everything.
func (m *mirror) want() {
	m.hungry = true
	m.queue()
}

// queue lets the mirror be fetched, if that is wanted and may have a result.
func (m *mirror) queue() {
	if m.hungry && m.fresh && !m.busy && !m.isOver() && !m.removed {
		m.busy = true
		m.of.in.queue(m)
	}
}

// isOver reports whether the mirror has read everything.
func (m *mirror) isOver() bool { return m.err != nil || m.ended }

// wake wakes all listeners, so that they read again.
func (m *mirror) wake() {
	for _, l := range m.listeners {
		signal(l.news)
	}
}

// fail ends the mirror, because nothing follows.
func (m *mirror) fail(err error) {
	if !m.isOver() {
		m.err = err
		m.wake()
	}
}

// question is what a mirror asks Redis.
type question struct {
	key    string
	after  int64 // look for the place of the event with this number; 0: the place is known
	at     string
	count  int
	most   int  // about how many bytes the entries have at most; 0: it is unknown
	header bool // look for the header, too
	check  bool // look whether there is a stream
	leased bool // the writing instance had a lease before

	entries *redis.XMessageSliceCmd
	first   *redis.XMessageSliceCmd
	exists  *redis.IntCmd
}

// ask asks Redis. It returns the first error.
func (q *question) ask(ctx context.Context, link *link) error {
	var all []redis.Cmder
	err := link.read(ctx, q.key, q.most, func(ctx context.Context, p redis.Pipeliner) {
		if q.after > 0 {
			// The entry in which the event ends is the last one before which there are fewer events.
			q.entries = p.XRevRangeN(ctx, q.key, strconv.FormatInt(q.after-1, 10), "-", 1)
		} else {
			q.entries = p.XRangeN(ctx, q.key, "("+q.at, "+", int64(q.count))
		}
		if all = append(all, q.entries); q.header {
			q.first = p.XRangeN(ctx, q.key, "-", "+", 2)
			all = append(all, q.first)
		}
		if q.check {
			q.exists = p.Exists(ctx, q.key)
			all = append(all, q.exists)
		}
	})
	if err != nil {
		return err
	}
	for _, command := range all {
		if err := command.Err(); err != nil {
			return causeOf(err)
		}
	}
	return nil
}

// fetch fetches what follows.
func (m *mirror) fetch(ctx context.Context) {
	f := m.of
	f.mu.Lock()
	q := m.question()
	f.mu.Unlock()
	if q == nil {
		return
	}
	asked := time.Now()
	err := q.ask(ctx, f.in.store.link)
	f.mu.Lock()
	defer f.mu.Unlock()
	m.busy = false
	switch {
	case m.removed || ctx.Err() != nil:
		return
	case err != nil:
		m.failed(asked)
	default:
		m.failing = time.Time{}
		m.take(q)
	}
	m.queue()
}

// question returns what to ask, or nil if nobody wants to know any more.
func (m *mirror) question() *question {
	if m.removed || len(m.listeners) == 0 || m.isOver() {
		m.busy = false
		return nil
	}
	f := m.of
	q := &question{
		key: f.key, after: m.after, at: m.at, count: m.count, most: m.count * m.largest,
		header: f.header == nil && (m.after > 0 || m.number > 1),
		check:  m.check, leased: !f.lease.isLost(),
	}
	m.fresh, m.check = false, false
	return q
}

// failed notes that Redis fails, since a given time or before. The mirror is fetched again, unless that has lasted for
// failedAfter.
func (m *mirror) failed(since time.Time) {
	m.fresh, m.check = true, true
	if m.failing.IsZero() {
		m.failing = since
	}
	if time.Since(m.failing) > failedAfter {
		m.fail(store.ErrLost)
		return
	}
	m.busy = true
	m.of.in.queueLater(m)
}

// take takes what Redis has answered.
func (m *mirror) take(q *question) {
	f := m.of
	if q.header {
		f.findHeader(q.first.Val())
	}
	found := q.entries.Val()
	switch {
	case len(found) > 0:
		m.add(q, found)
	case q.check && q.exists.Val() == 0, q.after > 0:
		m.fail(store.ErrLost)
	case !q.leased:
		// The writing instance is gone, and what it has sent to Redis was read.
		f.in.store.losses.check(f.id, writer{f.instance, f.claim})
		m.fail(store.ErrLost)
	}
	if q.header && f.header == nil {
		m.fail(store.ErrLost) // Redis has lost the entry with the header
	}
}

// add adds the entries that Redis has answered.
func (m *mirror) add(q *question, found []redis.XMessage) {
	f := m.of
	m.fresh = m.fresh || len(found) == q.count || q.after > 0
	m.hungry = false
	largest := 0
	for _, message := range found {
		e, err := decodeEntry(message)
		if err != nil {
			m.fail(fmt.Errorf("%w: %w", store.ErrLost, err))
			return
		}
		largest = max(largest, len(e.data))
		if m.after > 0 {
			m.found(e)
		}
		if !m.push(e) {
			m.fresh = true
			break
		}
	}
	m.largest = max(largest, m.largest/2)
	m.count = max(1, min(maxFetch/max(1, m.largest), maxCount, 4*m.count))
	for i, other := range f.mirrors {
		if other == m {
			f.advance(i)
		}
	}
	m.trim() // all listeners may have left meanwhile
	m.wake()
}

// found notes the entry in which the event ends that the mirror's listeners have read last.
func (m *mirror) found(e *entry) {
	m.after, m.at, m.number = 0, e.previous(), e.number()-1
	for _, l := range m.listeners {
		l.place = place{id: m.at, number: m.number}
	}
}

// push adds an entry. It returns false if there is no room for it, or if nothing follows.
func (m *mirror) push(e *entry) bool {
	f := m.of
	switch {
	case m.isOver():
		return false
	case e.failed != nil:
		f.over = true
		m.fail(e.failed)
		return false
	case e.lost, e.unkept, e.number() != m.number+1: // Redis has lost entries in a crash or a failover
		f.over = f.over || e.lost || e.unkept
		m.fail(store.ErrLost)
		return false
	}
	if e.header != nil && f.header == nil {
		f.openWith(e.header)
	}
	cost, hasRoom := m.makeRoom(e)
	if !hasRoom {
		return false
	}
	m.at, m.number = e.id, e.number()
	m.bytes += len(e.data)
	m.entries = append(m.entries, &held{entry: e, unread: len(m.listeners), cost: cost})
	if e.end != nil {
		m.ended, f.over = true, true
	}
	return true
}

// makeRoom takes room for an entry. If there is none, the mirror may still hold a single entry. Listeners that are too far
// behind continue with another mirror.
func (m *mirror) makeRoom(e *entry) (cost int64, ok bool) {
	for len(m.entries) > 0 && m.bytes+len(e.data) > window && m.isRead() {
		m.drop()
	}
	cost = int64(len(e.data)) + entryCost
	if len(m.entries) > 0 && m.bytes+len(e.data) > window {
		return 0, false
	}
	if m.of.in.room.take(cost, m.of.total) {
		return cost, true
	}
	for len(m.entries) > 0 && m.isRead() {
		m.drop()
	}
	return 0, len(m.entries) == 0
}

// isRead reports whether some listener has read the first entry.
func (m *mirror) isRead() bool {
	return m.entries[0].unread < len(m.listeners) || len(m.listeners) == 0
}
