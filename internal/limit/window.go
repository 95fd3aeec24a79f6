package limit

import (
	"math/bits"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxKeys is how many keys a window remembers; it forgets the least recently used.
const maxKeys = 1 << 17

// window counts requests by key in consecutive windows of one length, and remembers the current and the previous count.
// Together they make a sliding window. The previous count loses weight as the current window passes, as if its requests
// had been spread evenly. A window is not safe for concurrent use.
type window struct {
	length time.Duration
	start  time.Time // of the first window
	counts *simplelru.LRU[string, count]
}

// count is how often a key was counted in one window, and in the window before.
type count struct {
	window    int64 // the number of the window, from 0
	now, prev uint32
}

func newWindow(length time.Duration) *window {
	counts, err := simplelru.NewLRU[string, count](maxKeys, nil)
	if err != nil {
		panic(err) // only if the size is not positive
	}
	return &window{length: length, start: time.Now(), counts: counts}
}

// usage returns what counts against a limit for key at this moment.
func (w *window) usage(key string) usage {
	c, elapsed := w.count(key)
	return usage{
		now: uint64(c.now), prev: uint64(c.prev),
		elapsed: uint64(elapsed), length: uint64(w.length),
	}
}

// leastLeft returns for how many more requests a limit of n has room for the key that is counted most.
func (w *window) leastLeft(n uint64) uint64 {
	least := n
	for _, key := range w.counts.Keys() { // the least recently used first, so that reading them keeps their order
		least = min(least, w.usage(key).left(n))
	}
	return least
}

// add counts a request. It returns the number of the window, for takeBack.
func (w *window) add(key string) int64 {
	c, _ := w.count(key)
	c.now++
	w.counts.Add(key, c)
	return c.window
}

// takeBack undoes the add that returned window.
func (w *window) takeBack(key string, window int64) {
	c, _ := w.count(key)
	switch {
	case c.window == window && c.now > 0:
		c.now--
	case c.window == window+1 && c.prev > 0:
		c.prev--
	default:
		return // the key or its window is forgotten
	}
	w.counts.Add(key, c)
}

// count returns the counts of key as of the current window, and how long that window has lasted.
func (w *window) count(key string) (c count, elapsed time.Duration) {
	since := time.Since(w.start)
	current := int64(since / w.length)
	c, _ = w.counts.Get(key)
	switch c.window {
	case current:
	case current - 1:
		c = count{window: current, prev: c.now}
	default:
		c = count{window: current}
	}
	return c, since % w.length
}

// usage is what counts against a limit at one moment. A limit of n requests has room for more of them while
//
//	prev · (1 − elapsed/length) + now + more ≤ n
type usage struct {
	now, prev       uint64
	elapsed, length uint64 // in nanoseconds; elapsed is less than length
}

// left returns how many more requests a limit of n has room for.
func (u usage) left(n uint64) uint64 {
	hi, lo := bits.Mul64(u.prev, u.length-u.elapsed)
	weighted, rest := bits.Div64(hi, lo, u.length)
	if rest > 0 {
		weighted++
	}
	return n - min(n, u.now+weighted)
}

// wait returns how long it takes until a limit of n has room for more requests. more is at most n.
func (u usage) wait(n, more uint64) time.Duration {
	if u.left(n) >= more {
		return 0
	}
	if room := n - more; room >= u.now {
		return time.Duration(u.length - share(u.length, room-u.now, u.prev) - u.elapsed)
	}
	// There is no room before the next window, in which the current count becomes the previous one.
	return time.Duration(u.length - u.elapsed + u.length - share(u.length, n-more, u.now))
}

// share returns length · part / whole, rounded down. part is at most whole.
func share(length, part, whole uint64) uint64 {
	hi, lo := bits.Mul64(length, part)
	quotient, _ := bits.Div64(hi, lo, whole)
	return quotient
}
