package store

import (
	"context"
	"io"
	"net/http"
	"slices"
	"sort"
	"sync"
	"time"
)

const (
	// logCost is roughly how many bytes a log takes up besides its content.
	logCost = 2 << 10

	minSegment, maxSegment = 1 << 10, 16 << 10

	// window is how many bytes a listener may be behind once a log is no longer kept.
	window = 64 << 10
)

// log is a stream in memory. While it is kept, it holds all of its bytes, so that a visitor can come back. Afterwards
// it holds only the bytes that a listener has yet to read.
type log struct {
	// Each event needs the following fields. Many streams run at the same time, so they are together, in few cache lines.
	terms     Terms
	mu        sync.Mutex
	kept      bool
	givenUp   bool // ctx has ended, and its cause says why
	done      bool
	segments  []segment // the bytes that are held
	end       int64     // how many bytes were appended
	ends      []int64   // the offsets at which the events end that are held
	dropped   int64     // how many events are no longer held
	listeners []*logListener
	first     logListener // of the visitor who asked
	failed    *Failed     // nil: it has not failed
	header    http.Header // nil: the log is not open yet
	budget    *Budget     // does not change

	cost   int64           // bytes of the budget, besides those of the segments
	ended  End             // once done is true
	nobody *time.Timer     // fires after Terms.Grace without a listener; nil until all listeners have left for the first time
	room   chan struct{}   // has a value after a listener has read or left
	joined func()          // see OnListener; nil: nothing is called
	one    [1]*logListener // memory for listeners, as long as there is only one
	few    [2]segment      // memory for segments, which is enough for most answers

	// These do not change.
	store  *memory
	id     string
	meta   Meta
	ctx    context.Context
	cancel context.CancelCauseFunc
}

// segment is a part of a log. Its bytes do not change, but more can be appended.
type segment struct {
	start int64
	data  []byte
	torn  bool  // the segment ends within an event
	cost  int64 // bytes of the budget
}

func (s *segment) end() int64 { return s.start + int64(len(s.data)) }

// newLog returns a log of m, and the listener of the visitor who asked. The caller puts the log into m.
func newLog(m *memory, id string, meta Meta, terms Terms) (*log, *logListener) {
	l := &log{store: m, id: id, meta: meta, terms: terms, budget: m.budget, room: make(chan struct{}, 1)}
	l.ctx, l.cancel = context.WithCancelCause(context.Background())
	if l.kept = l.budget.Take(logCost, terms.MaxTotal); l.kept {
		l.cost = logCost
	}
	l.listeners, l.segments = l.one[:0], l.few[:0]
	l.begin(&l.first, 0, 0)
	return l, &l.first
}

// begin adds a listener that has already read the given numbers of bytes and events.
func (l *log) begin(r *logListener, at, events int64) *logListener {
	*r = logListener{log: l, at: at, events: events}
	l.listeners = append(l.listeners, r)
	return r
}

func (l *log) Meta() Meta               { return l.meta }
func (l *log) Context() context.Context { return l.ctx }

func (l *log) Stop(context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.giveUp(ErrStopped)
	return nil
}

// giveUp ends the context, because nobody wants the rest of the log. The caller holds the lock.
func (l *log) giveUp(cause error) {
	l.givenUp = true
	l.cancel(cause)
}

func (l *log) Open(header http.Header) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.header = header
	l.wake()
}

func (l *log) Fail(reason []byte) {
	l.mu.Lock()
	l.failed, l.joined = &Failed{Reason: reason}, nil
	l.wake()
	l.mu.Unlock()
	l.discard()
}

// discard removes a log that no visitor needs any more.
func (l *log) discard() {
	l.store.remove(l)
	l.budget.GiveBack(l.forget())
	l.mu.Lock()
	l.stopGrace()
	l.mu.Unlock()
	l.cancel(nil)
}

// Append adds a chunk. It reserves memory first, because the budget's lock must not be taken while the log's is held.
func (l *log) Append(ctx context.Context, chunk Chunk) error {
	cost := l.makeRoom(len(chunk.Data))
	for {
		l.mu.Lock()
		if l.givenUp {
			l.mu.Unlock()
			l.budget.GiveBack(cost)
			return context.Cause(l.ctx)
		}
		if l.kept || l.hasRoom(len(chunk.Data)) {
			freed := l.cutSlow(len(chunk.Data))
			l.add(chunk, cost)
			l.mu.Unlock()
			l.budget.GiveBack(freed)
			return nil
		}
		l.mu.Unlock()
		select {
		case <-l.room:
		case <-l.ctx.Done():
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// makeRoom reserves memory for n more bytes. If they do not fit into Terms.MaxSize or the budget, the log is kept no
// longer. It returns how many bytes of the budget it has taken.
func (l *log) makeRoom(n int) (cost int64) {
	l.mu.Lock()
	kept, fits := l.kept, l.held()+int64(n) <= l.terms.MaxSize
	size := l.fresh(n)
	l.mu.Unlock()
	if !kept || fits && size == 0 {
		return 0
	}
	cost = int64(size) + int64(size)/5 // a fifth more, for the offsets of its events
	if fits && l.budget.Take(cost, l.terms.MaxTotal) {
		return cost
	}
	l.budget.GiveBack(l.forget())
	return 0
}

// fresh returns the size of the new segment that n more bytes need. It returns 0 if they fit into the last segment.
func (l *log) fresh(n int) int {
	if last := len(l.segments) - 1; last >= 0 && cap(l.segments[last].data)-len(l.segments[last].data) >= n {
		return 0
	}
	return max(n, minSegment, int(min(l.held()/2, maxSegment)))
}

func (l *log) add(chunk Chunk, cost int64) {
	if len(chunk.Data) == 0 {
		return
	}
	if size := l.fresh(len(chunk.Data)); size > 0 {
		l.segments = append(l.segments, segment{start: l.end, data: make([]byte, 0, size)})
		if len(l.segments) > len(l.few) {
			clear(l.few[:]) // they have moved
		}
	}
	last := &l.segments[len(l.segments)-1]
	last.data = append(last.data, chunk.Data...)
	last.torn = chunk.Torn
	last.cost += cost
	l.ends = slices.Grow(l.ends, len(chunk.Ends))
	for _, end := range chunk.Ends {
		l.ends = append(l.ends, l.end+int64(end))
	}
	l.end += int64(len(chunk.Data))
	l.wake()
}

// wake wakes all listeners, so that they read again.
func (l *log) wake() {
	for _, listener := range l.listeners {
		listener.wake()
	}
}

// signal puts a value into a channel with room for one, unless it is full already.
func signal(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// held returns how many bytes are held.
func (l *log) held() int64 {
	if len(l.segments) == 0 {
		return 0
	}
	return l.end - l.segments[0].start
}

// lag returns how many bytes the slowest listener is behind.
func (l *log) lag() int64 {
	slowest := l.end
	for _, listener := range l.listeners {
		slowest = min(slowest, listener.at)
	}
	return l.end - slowest
}

// hasRoom reports whether n more bytes can be added to a log that is no longer kept. The fastest listener must not be
// further behind than window. No other listener is waited for.
func (l *log) hasRoom(n int) bool {
	fastest := int64(0)
	for _, listener := range l.listeners {
		fastest = max(fastest, listener.at)
	}
	return len(l.listeners) == 0 || fastest == l.end || l.end-fastest+int64(n) <= window
}

// cutSlow cuts off the listeners that n more bytes would leave further behind than window, if the log is no longer
// kept. It returns how many bytes of the budget are free again.
func (l *log) cutSlow(n int) (freed int64) {
	if l.kept {
		return 0
	}
	before := len(l.listeners)
	l.listeners = slices.DeleteFunc(l.listeners, func(r *logListener) bool {
		r.cut = r.at < l.end && l.end-r.at+int64(n) > window
		if r.cut {
			r.wake()
		}
		return r.cut
	})
	if len(l.listeners) == before {
		return 0
	}
	return l.trim()
}

// Finish ends the log. If it is still kept, it stays so for Terms.Keep, or until another log needs its memory.
func (l *log) Finish(last Chunk, end End) {
	cost := l.makeRoom(len(last.Data))
	l.mu.Lock()
	l.add(last, cost)
	l.done, l.ended = true, end
	l.joined, l.room = nil, nil // joined would keep what belongs to the writer, and nobody waits for room any more
	kept := l.kept
	l.stopGrace()
	l.wake()
	l.mu.Unlock()
	l.cancel(nil)
	if kept {
		l.budget.end(l, time.Now().Add(l.terms.Keep))
	} else {
		l.store.remove(l)
	}
}

// isKept reports whether a visitor can come back to the log.
func (l *log) isKept() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.kept
}

// forget ends the keeping of the log. The log then holds only the bytes that its listeners have yet to read, and no
// visitor can come back. As long as it is written, its id stays taken, so that the question is not asked again. It returns how many bytes of the budget are free again.
func (l *log) forget() (freed int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.kept = false
	if l.done || l.failed != nil {
		l.store.remove(l)
	}
	if len(l.listeners) == 0 {
		l.giveUp(ErrAbandoned)
	}
	return l.trim()
}

// trim drops the bytes that no listener needs, if the log is no longer kept. It returns how many bytes of the budget
// are free again.
func (l *log) trim() (freed int64) {
	if l.kept {
		return 0
	}
	freed, l.cost = l.cost, 0
	needed := l.end - l.lag()
	n := sort.Search(len(l.ends), func(i int) bool { return l.ends[i] > needed })
	l.ends = slices.Delete(l.ends, 0, n)
	l.dropped += int64(n)

	n = sort.Search(len(l.segments), func(i int) bool { return l.segments[i].end() > needed })
	if n == len(l.segments) && n > 0 && !l.done && len(l.listeners) > 0 {
		n-- // the last segment may have room for more
	}
	for _, dropped := range l.segments[:n] {
		freed += dropped.cost
	}
	l.segments = slices.Delete(l.segments, 0, n)
	return freed
}

// stopGrace stops the grace period.
func (l *log) stopGrace() {
	if l.nobody != nil {
		l.nobody.Stop()
	}
}

func (l *log) OnListener(joined func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.joined = joined
	if len(l.listeners) > 1 {
		l.noteJoined()
	}
}

func (l *log) Heard() {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.noteJoined()
	if l.nobody != nil && len(l.listeners) == 0 && l.kept && !l.done {
		l.nobody.Reset(l.terms.Grace)
	}
}

// abandon cancels the stream if there is still no listener.
func (l *log) abandon() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.listeners) == 0 {
		l.giveUp(ErrAbandoned)
	}
}

// noteJoined calls what OnListener has set, without the lock. The caller holds the lock.
func (l *log) noteJoined() {
	if joined := l.joined; joined != nil {
		l.mu.Unlock()
		joined()
		l.mu.Lock()
	}
}

func (l *log) Listen(after int64) (Listener, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.kept {
		return nil, ErrNotFound
	}
	n := int(min(after, int64(len(l.ends))))
	at := int64(0)
	if n > 0 {
		at = l.ends[n-1]
	}
	if l.done && n == len(l.ends) {
		return nil, io.EOF
	}
	l.stopGrace()
	r := l.begin(new(logListener), at, int64(n))
	l.noteJoined()
	return r, nil
}

// logListener reads a log.
type logListener struct {
	log    *log
	at     int64 // how many bytes the listener has read
	events int64 // how many events the listener has read
	opened bool  // the listener knows the header
	cut    bool  // the listener was too far behind
	waits  bool  // the listener waits for a value in news
	news   chan struct{}
}

// wake wakes the listener if it waits. Most listeners never wait, and to find that out costs less than to use a channel.
func (r *logListener) wake() {
	if r.waits {
		r.waits = false
		signal(r.news)
	}
}

func (r *logListener) Header() http.Header {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	r.opened = r.log.header != nil
	return r.log.header
}

func (r *logListener) Read() (Piece, error) {
	p, freed, err := r.read()
	r.log.budget.GiveBack(freed)
	return p, err
}

func (r *logListener) read() (p Piece, freed int64, err error) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.failed != nil:
		return p, 0, l.failed
	case r.cut:
		return p, 0, ErrBehind
	case l.header == nil:
		return p, 0, nil
	case r.at == l.end && l.done:
		return p, 0, io.EOF
	case r.at == l.end:
		return p, 0, nil
	}
	i := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].end() > r.at })
	held := l.segments[i]
	p.Data = held.data[r.at-held.start:]
	r.at = held.end()
	ends := l.ends[r.events-l.dropped:]
	p.Events = sort.Search(len(ends), func(i int) bool { return ends[i] > r.at })
	p.Torn = held.torn
	r.events += int64(p.Events)
	if !l.kept {
		freed = l.trim()
		signal(l.room)
	}
	return p, freed, nil
}

func (r *logListener) Wait(ctx context.Context) error {
	for {
		news := r.prepare()
		if news == nil {
			return nil
		}
		select {
		case <-news:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (r *logListener) End() End {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	return r.log.ended
}

// prepare returns the channel that gets a value when there is something that the listener does not know. It returns nil if
// there is already.
func (r *logListener) prepare() <-chan struct{} {
	r.log.mu.Lock()
	defer r.log.mu.Unlock()
	if r.isReady() {
		return nil
	}
	if r.news == nil {
		r.news = make(chan struct{}, 1)
	}
	r.waits = true
	return r.news
}

// isReady reports whether there is something that the listener does not know. The caller holds the lock.
func (r *logListener) isReady() bool {
	l := r.log
	switch {
	case l.failed != nil, r.cut:
		return true
	case l.header == nil:
		return false
	}
	return !r.opened || r.at < l.end || l.done
}

func (r *logListener) Close() { r.log.budget.GiveBack(r.close()) }

func (r *logListener) close() (freed int64) {
	l := r.log
	l.mu.Lock()
	defer l.mu.Unlock()
	at := slices.Index(l.listeners, r)
	if at < 0 {
		return 0
	}
	l.listeners = slices.Delete(l.listeners, at, at+1)
	r.news = nil // the log outlives the listener that asked
	switch {
	case l.done || len(l.listeners) > 0:
	case l.kept && l.nobody != nil:
		l.nobody.Reset(l.terms.Grace)
	case l.kept:
		l.nobody = time.AfterFunc(l.terms.Grace, l.abandon)
	default:
		l.giveUp(ErrAbandoned)
	}
	if !l.kept {
		freed = l.trim()
		signal(l.room)
	}
	return freed
}
