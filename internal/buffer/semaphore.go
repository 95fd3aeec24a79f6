package buffer

import "sync/atomic"

// Semaphore is a counting semaphore that never blocks.
type Semaphore struct {
	limit    int32
	acquired atomic.Int32
}

// NewSemaphore returns a semaphore that can be acquired most times at once.
func NewSemaphore(most int32) *Semaphore { return &Semaphore{limit: most} }

// InUse returns how many times the semaphore is acquired, for tests.
func (s *Semaphore) InUse() int { return int(s.acquired.Load()) }

// TryAcquire acquires the semaphore if its limit is not reached, and reports whether it did.
func (s *Semaphore) TryAcquire() bool {
	if s.acquired.Add(1) <= s.limit {
		return true
	}
	s.acquired.Add(-1)
	return false
}

// Release undoes one successful TryAcquire.
func (s *Semaphore) Release() { s.acquired.Add(-1) }
