package store

import (
	"container/heap"
	"sync"
	"time"
)

// Budget counts the bytes that a store takes up. Streams that have ended make room for others: those first that are to
// be kept for the shortest time from now. Its methods are safe for concurrent use. Its zero value is an empty budget.
//
// The budget's lock is taken before the locks of logs. One timer removes the logs that have been kept for long enough,
// because a timer for each would keep alive what belongs to other timers that have been stopped.
type Budget struct {
	mu    sync.Mutex
	used  int64 // bytes
	ended endedLogs
	timer *time.Timer // fires when the first of the ended logs expires; nil before the first one has ended
}

// Take reserves n bytes within a total, and drops ended streams if it has to. It returns false if there is still no room.
func (b *Budget) Take(n, total int64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for b.used+n > total {
		if len(b.ended) == 0 {
			return false
		}
		b.dropFirst()
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

// end adds a log to those that make room for others. The log is dropped when it expires.
func (b *Budget) end(l *log, expires time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	heap.Push(&b.ended, endedLog{l, expires})
	switch {
	case b.ended[0].log != l:
	case b.timer == nil:
		b.timer = time.AfterFunc(time.Until(expires), b.dropExpired)
	default:
		b.timer.Reset(time.Until(expires))
	}
}

// dropExpired drops the logs that have expired.
func (b *Budget) dropExpired() {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	for len(b.ended) > 0 && !b.ended[0].expires.After(now) {
		b.dropFirst()
	}
	if len(b.ended) > 0 {
		b.timer.Reset(b.ended[0].expires.Sub(now))
	}
}

// dropFirst drops the ended log that expires first.
func (b *Budget) dropFirst() {
	first := heap.Pop(&b.ended).(endedLog)
	b.used -= first.log.forget()
}

// endedLog is a log that has ended and is still kept.
type endedLog struct {
	log     *log
	expires time.Time
}

// endedLogs is a heap of logs, the one that expires first at its top.
type endedLogs []endedLog

func (e endedLogs) Len() int           { return len(e) }
func (e endedLogs) Less(i, j int) bool { return e[i].expires.Before(e[j].expires) }
func (e endedLogs) Swap(i, j int)      { e[i], e[j] = e[j], e[i] }
func (e *endedLogs) Push(x any)        { *e = append(*e, x.(endedLog)) }

func (e *endedLogs) Pop() any {
	last := len(*e) - 1
	popped := (*e)[last]
	(*e)[last] = endedLog{}
	*e = (*e)[:last]
	return popped
}
