package redisstore

import (
	"sync"
	"time"
)

// counting is what an instance remembers in order to count in Redis.
type counting struct {
	mu        sync.Mutex
	beat      int64               // Redis's time at the last heartbeat, in microseconds; 0: there was none
	beatAt    time.Time           // this instance's time at that heartbeat
	leftovers map[field]time.Time // the fields to be removed from Redis, and the earliest time for that
	turns     map[string]turnOver // ended turns that Redis does not know yet, by the requests' ids
	leaving   int                 // requests that leave Redis at the moment
}

// turnOver is the end of a probe's turn that Redis does not know yet.
type turnOver struct {
	coolDown string    // the key of the cool-down
	from     time.Time // the earliest time to tell Redis
	answered bool
}

// field is one field of a Redis hash: a request among those of its client.
type field struct{ key, name string }

// heard notes Redis's time, which is the reply to a heartbeat.
func (c *counting) heard(now int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.beat, c.beatAt = now, time.Now()
}

// now returns Redis's time in microseconds, as this instance knows it, or 0 if it is unknown.
func (c *counting) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.beat == 0 {
		return 0
	}
	return c.beat + time.Since(c.beatAt).Microseconds()
}

// leftOver notes a field that is to be removed from Redis, but not before the given time has passed.
func (c *counting) leftOver(f field, after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leftovers == nil {
		c.leftovers = make(map[field]time.Time)
	}
	c.leftovers[f] = time.Now().Add(after)
}

// overLater notes the end of a turn that a request may have had. This instance tells Redis of it, but not before the
// given time has passed.
func (c *counting) overLater(id, coolDown string, answered bool, after time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.turns == nil {
		c.turns = make(map[string]turnOver)
	}
	c.turns[id] = turnOver{coolDown, time.Now().Add(after), answered}
}

// turnsOver returns the ended turns that this instance can tell Redis of now.
func (c *counting) turnsOver() map[string]turnOver {
	c.mu.Lock()
	defer c.mu.Unlock()
	over := make(map[string]turnOver)
	for id, t := range c.turns {
		if !time.Now().Before(t.from) {
			over[id] = t
		}
	}
	return over
}

func (c *counting) told(id string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.turns, id)
}

// due returns the fields that can be removed now.
func (c *counting) due() (due []field) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f, from := range c.leftovers {
		if !time.Now().Before(from) {
			due = append(due, f)
		}
	}
	return due
}

func (c *counting) removed(f field) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.leftovers, f)
}

// leave removes a request from those of its client, without waiting for Redis.
func (c *counting) leave(t *reservation) {
	c.mu.Lock()
	c.leaving++
	c.mu.Unlock()
	s := t.store
	s.link.later(s.ctx, t.place.key, s.counts(), leaveScript, []string{t.place.key, t.mark}, []any{t.id}, func(err error) {
		if err != nil {
			c.leftOver(t.place, 0)
		}
		c.mu.Lock()
		defer c.mu.Unlock()
		c.leaving--
	})
}

// isIdle reports whether Redis knows of all requests that have left, or has failed.
func (c *counting) isIdle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leaving == 0
}
