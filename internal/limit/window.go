package limit

import (
	"math/bits"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
)

// maxKeys is how many keys a window has; the least recently used are forgotten.
const maxKeys = 1 << 17

// window counts requests by key in windows of one length that follow on one another, and remembers the one
// before the current. Both together make a window that slides: what was counted before has less weight the
// longer the current one lasts, as if it had been spread evenly. It is not safe for concurrent use.
type window struct {
	length time.Duration
	start  time.Time // of the first window
	counts *simplelru.LRU[string, count]
}

// count is how often a key was counted in a window, and in the one before it.
type count struct {
	window    int64 // its number, from 0
	now, prev uint32
}

func newWindow(length time.Duration) *window {
	counts, err := simplelru.NewLRU[string, count](maxKeys, nil)
	if err != nil {
		panic(err) // the size is no positive number
	}
	return &window{length: length, start: time.Now(), counts: counts}
}

// usage returns how often key was counted, as things are now.
func (w *window) usage(key string) usage {
	c, elapsed := w.count(key)
	return usage{
		now: uint64(c.now), prev: uint64(c.prev),
		elapsed: uint64(elapsed), length: uint64(w.length),
	}
}

// add counts a request. It returns the number of the window, for takeBack.
func (w *window) add(key string) int64 {
	c, _ := w.count(key)
	c.now++
	w.counts.Add(key, c)
	return c.window
}

// takeBack undoes an add.
func (w *window) takeBack(key string, window int64) {
	c, _ := w.count(key)
	switch {
	case c.window == window && c.now > 0:
		c.now--
	case c.window == window+1 && c.prev > 0:
		c.prev--
	default:
		return // it is forgotten
	}
	w.counts.Add(key, c)
}

// count returns what was counted for key in the current window, and how long that has lasted.
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

// usage is what counts against a limit at one moment. Of n requests there is room for more while
//
//	prev · (1 − elapsed/length) + now + more ≤ n
type usage struct {
	now, prev       uint64
	elapsed, length uint64 // in nanoseconds; elapsed is the smaller one
}

// left returns for how many requests there is room.
func (u usage) left(n uint64) uint64 {
	hi, lo := bits.Mul64(u.prev, u.length-u.elapsed)
	weighted, rest := bits.Div64(hi, lo, u.length)
	if rest > 0 {
		weighted++
	}
	return n - min(n, u.now+weighted)
}

// wait returns how long it takes until there is room for more, of which there can be n.
func (u usage) wait(n, more uint64) time.Duration {
	if u.left(n) >= more {
		return 0
	}
	if room := n - more; room >= u.now {
		return time.Duration(u.length - share(u.length, room-u.now, u.prev) - u.elapsed)
	}
	// Not in this window: in the next one, what is counted now is what was counted before.
	return time.Duration(u.length - u.elapsed + u.length - share(u.length, n-more, u.now))
}

// share returns length · part / whole, of which part is the smaller one.
func share(length, part, whole uint64) uint64 {
	hi, lo := bits.Mul64(length, part)
	quotient, _ := bits.Div64(hi, lo, whole)
	return quotient
}
