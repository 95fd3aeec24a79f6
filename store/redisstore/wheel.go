package redisstore

import "time"

// tickTime is the time that a slot of a wheel stands for.
const tickTime = 25 * time.Millisecond

// wheel is a timer wheel. It holds each followed stream once, in the slot of the time when something is due.
type wheel struct {
	slots [128][]*followed
	at    int
	n     int
}

func (w *wheel) isEmpty() bool { return w.n == 0 }

// add adds a stream for which something is due after some time, of a few seconds at most.
func (w *wheel) add(f *followed, after time.Duration) {
	ticks := min(max(1, int((after+tickTime-1)/tickTime)), len(w.slots)-1)
	slot := (w.at + ticks) % len(w.slots)
	w.slots[slot] = append(w.slots[slot], f)
	w.n++
}

// turn turns the wheel by one slot, and removes and returns what is due.
func (w *wheel) turn() []*followed {
	w.at = (w.at + 1) % len(w.slots)
	due := w.slots[w.at]
	w.slots[w.at] = nil
	w.n -= len(due)
	return due
}
