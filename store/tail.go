package store

import "sort"

// Tail reads a stream as it grows, for a store that keeps a copy of it elsewhere. It is no Listener: the writer does
// not wait for a Tail, and a Tail does not keep the stream from being abandoned. One goroutine at a time uses it.
type Tail struct {
	log        *log
	at, events int64 // how many bytes and events were read
}

// NewTail returns a Tail at the beginning of a stream. The Source must be of a store that NewMemory has returned.
func NewTail(source Source) *Tail { return &Tail{log: source.(*log)} }

// Kept reports whether the stream is kept. If not, Next returns nothing any more.
func (t *Tail) Kept() bool {
	t.log.mu.Lock()
	defer t.log.mu.Unlock()
	return t.log.kept
}

// Next returns the next bytes that are there, with their ends appended to the given slice. It does not copy the bytes:
// they stay valid, and must not be modified. more reports whether there are more bytes already. kept is false if the
// stream is no longer kept.
func (t *Tail) Next(ends []int) (c Chunk, more, kept bool) {
	l := t.log
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.kept || t.at == l.end {
		return Chunk{Ends: ends}, false, l.kept
	}
	i := sort.Search(len(l.segments), func(i int) bool { return l.segments[i].end() > t.at })
	held := l.segments[i]
	for _, end := range l.ends[t.events:] {
		if end > held.end() {
			break
		}
		ends = append(ends, int(end-t.at))
		t.events++
	}
	c = Chunk{Data: held.data[t.at-held.start:], Ends: ends, Torn: held.torn}
	t.at = held.end()
	return c, t.at < l.end, true
}
