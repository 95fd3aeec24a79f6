package redisstore

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// The bounds of the interval at which this instance tells the writing instance of a stream's listeners. The interval must
// be so short that the writing instance does not abandon the stream. That instance must also learn soon of a listener
// whose stream's end Redis has lost. It sends news to this instance for heardTime.
const (
	minHeard  = 50 * time.Millisecond
	maxHeard  = 2 * time.Second
	heardTime = 3 * maxHeard
)

// A listener gets store.ErrLost when the writing instance has had no lease for absentAfter, or Redis has failed for
// failedAfter.
const (
	absentAfter = time.Second
	failedAfter = 3500 * time.Millisecond
)

// place is where a listener is in a stream.
type place struct {
	id     string // of the last entry that was read, or at least no greater than that of the next one
	number int64  // of the last entry that was read
	after  int64  // if not 0, the place is that of the event with this number, and id and number are not known yet
}

// listener reads a remote stream, through a mirror that it may share with others. It has none before it reads, and while
// it is too far behind the others.
type listener struct {
	of    *followed
	after int64 // the number of the last event that the visitor has already
	news  chan struct{}

	// The stream's lock guards these.
	mirror *mirror
	index  int // among the mirror's listeners
	place  place
	opened bool // the caller knows the header
	end    *store.End
	err    error // what Read returns from now on
	closed bool
}

func (l *listener) Header() http.Header {
	f := l.of
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.opened = f.header != nil; !l.opened {
		l.want()
	}
	return f.header
}

func (l *listener) Read() (store.Piece, error) {
	f := l.of
	f.mu.Lock()
	defer f.mu.Unlock()
	for l.want() {
		e := l.next()
		if e == nil {
			break
		}
		l.take(e)
		if piece := e.following(l.after); len(piece.Data) > 0 {
			return piece, nil
		}
	}
	return store.Piece{}, l.err
}

// want makes the mirror fetch more if the listener has read everything. It returns false if there is nothing to be read
// any more.
func (l *listener) want() bool {
	if l.err == nil && l.end != nil {
		l.err = io.EOF
	}
	if l.err != nil {
		return false
	}
	f := l.of
	if l.mirror == nil || l.hasAll() && l.mirror != f.mirrors[0] {
		l.findMirror()
	}
	m := l.mirror
	switch {
	case l.closed || m == nil: // the store is closed
		l.err = store.ErrLost
	case m.err != nil && (f.header == nil || l.hasAll()):
		l.err = m.err
	case f.header == nil || l.hasAll():
		m.want()
	}
	return l.err == nil
}

// findMirror lets the listener join another mirror that has what follows, or one of its own.
func (l *listener) findMirror() {
	f := l.of
	other := f.mirrorFor(l.place)
	switch {
	case other == nil && l.mirror != nil, other != nil && other == l.mirror, l.closed:
		return
	case other == nil && f.gone:
		return
	case other == nil:
		other = f.add(l.place)
	}
	if l.mirror != nil {
		l.mirror.leave(l)
	}
	other.join(l)
}

// hasAll reports whether the listener has read everything that its mirror has read.
func (l *listener) hasAll() bool { return l.place.after > 0 || l.place.number >= l.mirror.number }

// next returns the entry to be read next, or nil. There is none before the header.
func (l *listener) next() *held {
	if l.of.header == nil || l.place.after > 0 {
		return nil
	}
	return l.mirror.entry(l.place.number + 1)
}

// take notes that the listener has read an entry.
func (l *listener) take(e *held) {
	l.place = place{id: e.id, number: e.number()}
	l.end = e.end
	e.unread--
	m := l.mirror
	m.trim()
	if l.end == nil && l.hasAll() && !m.isOver() {
		l.want() // while the visitor reads this entry
	}
}

func (l *listener) Wait(ctx context.Context) error {
	for !l.isReady() {
		select {
		case <-l.news:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// isReady reports whether there is something that the caller does not know.
func (l *listener) isReady() bool {
	f := l.of
	f.mu.Lock()
	defer f.mu.Unlock()
	return !l.want() || f.header != nil && (!l.opened || l.next() != nil)
}

func (l *listener) End() store.End {
	l.of.mu.Lock()
	defer l.of.mu.Unlock()
	return *l.end
}

func (l *listener) Close() {
	f := l.of
	f.mu.Lock()
	defer f.mu.Unlock()
	if l.closed {
		return
	}
	l.closed = true
	f.listeners--
	f.left = time.Now()
	if l.mirror != nil {
		l.mirror.leave(l)
	}
}

// Interface guard
var _ store.Listener = (*listener)(nil)
