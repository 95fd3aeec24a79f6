package keylock

import (
	"fmt"
	"runtime"
	"sync"
	"testing"
)

// One goroutine at a time has the lock of a key and sees what others have put there. Locks that nobody uses are forgotten.
func TestLocks(t *testing.T) {
	const keys, each = 2, 100
	var locks Locks[int]
	var used [keys]*lock[int]
	for i := range used {
		used[i] = locks.join(fmt.Sprint(i)) // so that no lock is forgotten before all have used it
	}
	var all sync.WaitGroup
	for i := range keys * each {
		all.Go(func() {
			n, unlock := locks.Lock(fmt.Sprint(i % keys))
			defer unlock()
			seen := *n
			runtime.Gosched()
			*n = seen + 1
		})
	}
	all.Wait()
	if !locks.IsHeld("0") || locks.IsHeld("another") || locks.Len() != keys {
		t.Error("what is locked is unknown")
	}
	for i, l := range used {
		if l.value != each {
			t.Errorf("the value is %d", l.value)
		}
		locks.leave(fmt.Sprint(i), l)
	}
	if n := locks.Len(); n > 0 || locks.IsHeld("0") {
		t.Errorf("%d locks are left", n)
	}
	n, unlock := locks.Lock("0")
	defer unlock()
	if *n != 0 {
		t.Errorf("a new lock has the value %d", *n)
	}
}
