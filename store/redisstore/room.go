package redisstore

import (
	"sync"

	"github.com/illumichat/caddy-illumichat/store"
)

// room is what mirrors take up of the budget: half of it at most, so that visitors who read slowly leave room for the
// answers that this instance writes.
type room struct {
	budget *store.Budget

	mu    sync.Mutex
	taken int64 // bytes
}

// take reserves n bytes, if the total allows for them.
func (r *room) take(n, total int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.taken+n > total/2 || !r.budget.Take(n, total) {
		return false
	}
	r.taken += n
	return true
}

// giveBack returns n reserved bytes.
func (r *room) giveBack(n int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.taken -= n
	r.budget.GiveBack(n)
}
