// Package keylock has a lock for each key.
package keylock

import "sync"

// Locks lets one goroutine at a time use a key. Its zero value is ready for use.
type Locks[V any] struct {
	mu    sync.Mutex
	locks map[string]*lock[V]
}

type lock[V any] struct {
	sync.Mutex
	users int
	value V
}

// Lock locks a key. The value is the key's own: those who wait for the lock see what others have put there. A key that
// nobody has locked has the zero value. The caller must call unlock.
func (k *Locks[V]) Lock(key string) (value *V, unlock func()) {
	l := k.join(key)
	l.Lock()
	return &l.value, func() {
		l.Unlock()
		k.leave(key, l)
	}
}

// join returns the lock of a key.
func (k *Locks[V]) join(key string) *lock[V] {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.locks == nil {
		k.locks = make(map[string]*lock[V])
	}
	l := k.locks[key]
	if l == nil {
		l = new(lock[V])
		k.locks[key] = l
	}
	l.users++
	return l
}

// leave forgets a lock that nobody uses any more.
func (k *Locks[V]) leave(key string, l *lock[V]) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if l.users--; l.users == 0 {
		delete(k.locks, key)
	}
}

// IsHeld reports whether a key is locked, or about to be.
func (k *Locks[V]) IsHeld(key string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.locks[key] != nil
}

// Len returns how many keys are locked.
func (k *Locks[V]) Len() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.locks)
}
