package illumichat

import "sync/atomic"

// quota is how many have something of which there is only so much.
type quota struct {
	most  int32
	taken atomic.Int32
}

func newQuota(most int32) *quota { return &quota{most: most} }

// inUse returns how many are taken.
func (q *quota) inUse() int { return int(q.taken.Load()) }

// take reports whether there is one more, which is taken then.
func (q *quota) take() bool {
	if q.taken.Add(1) <= q.most {
		return true
	}
	q.taken.Add(-1)
	return false
}

func (q *quota) giveBack() { q.taken.Add(-1) }
