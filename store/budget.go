package store

import (
	"container/list"
	"sync"
)

// Budget counts the bytes that a store takes up. Streams that have ended make room for others, the oldest first. Its
// methods are safe for concurrent use. Its zero value is an empty budget.
//
// The budget's lock is taken before the locks of logs.
type Budget struct {
	mu    sync.Mutex
	used  int64     // bytes
	ended list.List // of *log, the oldest first
}

// Take reserves n bytes within a total, and drops ended streams if it has to. It returns false if there is still no room.
func (b *Budget) Take(n, total int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.used+n > total {
		oldest := b.ended.Front()
		if oldest == nil {
			return false
		}
		b.forget(oldest)
	}
	b.used += n
	return true
}

// GiveBack returns n reserved bytes to the budget.
func (b *Budget) GiveBack(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}

// end adds a log to those that make room for others. The returned function drops that log at once.
func (b *Budget) end(l *log) (drop func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	element := b.ended.PushBack(l)
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		if element.Value != nil {
			b.forget(element)
		}
	}
}

func (b *Budget) forget(element *list.Element) {
	l := b.ended.Remove(element).(*log)
	element.Value = nil
	b.used -= l.forget()
}
