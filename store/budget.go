package store

import (
	"container/list"
	"sync"
)

// budget is what all logs of a store may take up. Those that have ended make room for others, the oldest first.
//
// Its lock is taken before those of logs.
type budget struct {
	mu    sync.Mutex
	used  int64
	ended list.List // of *log
}

// take reserves n bytes within a total. It reports whether there was room.
func (b *budget) take(n, total int64) bool {
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

// giveBack undoes a take.
func (b *budget) giveBack(n int64) {
	if n == 0 {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.used -= n
}

// end puts a log among those that make room. What it returns has it make room at once.
func (b *budget) end(l *log) (drop func()) {
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

func (b *budget) forget(element *list.Element) {
	l := b.ended.Remove(element).(*log)
	element.Value = nil
	b.used -= l.forget()
}
