package limit

import (
	"fmt"
	"math/big"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
)

// slowWindow keeps every request and computes the formula exactly.
type slowWindow struct {
	length time.Duration
	start  time.Time
	at     []time.Time
}

// fits reports whether prev·(1−f) + now + more ≤ n at the time at.
func (w *slowWindow) fits(at time.Time, n, more uint64) bool {
	current := int64(at.Sub(w.start) / w.length)
	var now, prev int64
	for _, t := range w.at {
		switch int64(t.Sub(w.start) / w.length) {
		case current:
			now++
		case current - 1:
			prev++
		}
	}
	left := big.NewRat(int64(w.length-at.Sub(w.start)%w.length), int64(w.length)) // 1 − f
	sum := left.Mul(left, big.NewRat(prev, 1))
	sum.Add(sum, big.NewRat(now+int64(more), 1))
	return sum.Cmp(big.NewRat(int64(n), 1)) <= 0
}

// The requests are random. Some are added although there is no room, as after a reload that has lowered the number.
func TestWindowFollowsTheFormula(t *testing.T) {
	for seed := range uint64(100) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			length := time.Second + time.Duration(random.Int64N(int64(100*time.Hour)))
			n := 1 + random.Uint64N(1+seed)
			w := newWindow(length)
			slow := &slowWindow{length: length, start: w.start}
			for range 40 {
				switch random.IntN(4) {
				case 0:
					time.Sleep(time.Duration(random.Int64N(int64(length))))
				case 1: // to the edge of a window
					time.Sleep(length - time.Since(w.start)%length - time.Duration(random.IntN(2)))
				case 2:
					time.Sleep(time.Duration(random.Int64N(int64(length) / int64(2*n))))
				}
				u := w.usage("key")
				left := u.left(n)
				now := time.Now()
				if left > 0 && !slow.fits(now, n, left) {
					t.Fatalf("seed %d: %d are left in %+v, but there is no room for them", seed, left, u)
				}
				if slow.fits(now, n, left+1) {
					t.Fatalf("seed %d: %d are left in %+v, but there is room for more", seed, left, u)
				}
				for more := uint64(1); more <= n && more <= left+3; more++ {
					wait := u.wait(n, more)
					if !slow.fits(now.Add(wait), n, more) || wait > 0 && slow.fits(now.Add(wait-1), n, more) {
						t.Fatalf("seed %d: %v is not when there is room for %d of %d in %+v", seed, wait, more, n, u)
					}
				}
				if left > 0 || random.IntN(10) == 0 {
					w.add("key")
					slow.at = append(slow.at, now)
				}
			}
		})
	}
}

// The room and the wait of a limit of 4 an hour, at the edges of its windows.
func TestWindowEdges(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(time.Hour)
		check := func(when string, left uint64, wait time.Duration) {
			t.Helper()
			u := w.usage("key")
			if got := u.left(4); got != left {
				t.Errorf("%s: %d are left, want %d", when, got, left)
			}
			if got := u.wait(4, 1); got != wait {
				t.Errorf("%s: the wait is %v, want %v", when, got, wait)
			}
		}
		check("at first", 4, 0)
		w.add("key")
		check("after one", 3, 0)
		for range 3 {
			w.add("key")
		}
		// A quarter of the next window has to pass until one of the four no longer counts.
		check("when it is used up", 0, time.Hour+15*time.Minute)
		time.Sleep(time.Hour - time.Nanosecond)
		check("just before the end of the window", 0, 15*time.Minute+time.Nanosecond)
		time.Sleep(time.Nanosecond)
		check("at the end of the window", 0, 15*time.Minute)
		time.Sleep(15*time.Minute - time.Nanosecond)
		check("just before a quarter of the next one", 0, time.Nanosecond)
		time.Sleep(time.Nanosecond)
		check("after a quarter", 1, 0)
		w.add("key")
		check("with one more", 0, 15*time.Minute)
		time.Sleep(45*time.Minute - time.Nanosecond)
		check("just before the end of the next window", 2, 0)
		time.Sleep(time.Nanosecond)
		check("at its end", 3, 0)
		time.Sleep(time.Hour)
		check("a whole window later", 4, 0)
		w.add("other")
		check("when another key is counted", 4, 0)
		for range 3 {
			w.add("key")
		}
		time.Sleep(time.Hour)
		check("when three are of the window before", 1, 0)
		time.Sleep(time.Hour)
		check("when two windows have passed", 4, 0)
	})
}

// After a limit's number was lowered or raised, what was counted under the old number still counts.
func TestWindowWithAnotherNumber(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(time.Hour)
		for range 10 {
			w.add("key")
		}
		u := w.usage("key")
		if left := u.left(2); left != 0 {
			t.Errorf("of 2, %d are left after 10", left)
		}
		if left := u.left(12); left != 2 {
			t.Errorf("of 12, %d are left after 10", left)
		}
		// 10·(1−f) + 1 ≤ 2 from nine tenths of the next hour on.
		if wait, want := u.wait(2, 1), time.Hour+54*time.Minute; wait != want {
			t.Errorf("the wait is %v, want %v", wait, want)
		}
		// And 10·(1−f) + 1 ≤ 1 at its end.
		if wait, want := u.wait(1, 1), 2*time.Hour; wait != want {
			t.Errorf("the wait is %v, want %v", wait, want)
		}
	})
}

func TestWindowTakesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWindow(time.Hour)
		check := func(when string, now, prev uint64) {
			t.Helper()
			if u := w.usage("key"); u.now != now || u.prev != prev {
				t.Errorf("%s: got %d and %d before, want %d and %d", when, u.now, u.prev, now, prev)
			}
		}
		first := w.add("key")
		second := w.add("key")
		w.takeBack("key", first)
		check("in the same window", 1, 0)
		time.Sleep(time.Hour)
		w.add("key")
		w.takeBack("key", second)
		check("in the next window", 1, 0)
		w.takeBack("key", second)
		check("more than there is", 1, 0)
		time.Sleep(2 * time.Hour)
		third := w.add("key")
		w.takeBack("key", first)
		check("of windows before", 1, 0)
		w.takeBack("unknown", third)
		w.takeBack("key", third)
		w.takeBack("key", third)
		check("all", 0, 0)
	})
}

// usedMemory returns how many bytes the heap takes after a garbage collection.
func usedMemory() int {
	runtime.GC()
	runtime.GC() // frees what finalizers and pools have kept
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}

// The number of keys and their memory are bounded, because strangers choose the keys. docs/limits.md states the bounds.
func TestWindowForgetsKeys(t *testing.T) {
	const maxMemory = 32 << 20
	before := usedMemory()
	w := newWindow(time.Hour)
	w.add("mine")
	for i := range 1_000_000 {
		// This is as long as the key of an IPv6 client can be.
		w.add(fmt.Sprintf("2001:0db8:%04x:%04x::/64", i>>16, i&0xffff))
		if i%100_000 == 0 {
			w.add("mine")
		}
	}
	used := usedMemory() - before
	t.Logf("1,000,000 keys came, %d are kept, in %d bytes: %d a key", w.counts.Len(), used, used/maxKeys)
	bound := fmt.Sprintf("%d,%03d", maxKeys/1000, maxKeys%1000)
	if !strings.Contains(docstest.Read(t, "docs/limits.md").Text, bound) {
		t.Errorf("docs/limits.md does not have the number %s", bound)
	}
	if w.counts.Len() != maxKeys {
		t.Errorf("%d keys are kept, want %d", w.counts.Len(), maxKeys)
	}
	if used > maxMemory {
		t.Errorf("they take %d bytes, want at most %d", used, maxMemory)
	}
	if now := w.usage("mine").now; now != 11 {
		t.Errorf("a key in use was counted %d times, want 11", now)
	}
	if now := w.usage("2001:0db8:0000:0000::/64").now; now != 0 {
		t.Errorf("the first key was counted %d times, want that it is forgotten", now)
	}
	runtime.KeepAlive(w)
}

func BenchmarkWindow(b *testing.B) {
	w := newWindow(time.Hour)
	keys := make([]string, 1<<16)
	for i := range keys {
		keys[i] = fmt.Sprintf("192.0.%d.%d", i>>8, i&0xff)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		key := keys[i%len(keys)]
		if w.usage(key).wait(1<<30, 1) == 0 {
			w.add(key)
		}
	}
}
