package buffer

import "sync/atomic"

// Semaphore is how many have something of which there is only so much.
type Semaphore struct {
	limit    int32
	acquired atomic.Int32
}

func NewSemaphore(most int32) *Semaphore { return &Semaphore{limit: most} }

// InUse returns how many are taken.
func (q *Semaphore) InUse() int { return int(q.acquired.Load()) }

// TryAcquire reports whether there is one more, which is taken then.
func (q *Semaphore) TryAcquire() bool {
	if q.acquired.Add(1) <= q.limit {
		return true
	}
	q.acquired.Add(-1)
	return false
}

func (q *Semaphore) Release() { q.acquired.Add(-1) }
