package redisstore

import (
	"context"
	"sync"

	"github.com/redis/go-redis/v9"
)

// coolDowns finds out whether Redis remembers a cool-down. If it does not, a request that counts nowhere may go upstream.
// That is so for most requests, and a plain command costs Redis a fifth of what a script does.
type coolDowns struct {
	store *redisStore

	mu   sync.Mutex
	next map[string]*look // by key: the looks that are not sent yet
}

// look is one command, whose reply all requests share that came before it was sent.
type look struct {
	done  chan struct{} // is closed when the fields below are set
	cools bool
	err   error
}

func (c *coolDowns) init(s *redisStore) {
	c.store = s
	c.next = make(map[string]*look)
}

// look reports whether Redis remembers a cool-down.
func (c *coolDowns) look(key string) (cools bool, err error) {
	l, isFirst := c.join(key)
	if isFirst {
		defer close(l.done)
		defer c.close(key, l)
		l.cools, l.err = c.ask(key, func() { c.close(key, l) })
		return l.cools, l.err
	}
	<-l.done
	return l.cools, l.err
}

// join returns the next look at a key. The first who joins it must ask Redis.
func (c *coolDowns) join(key string) (l *look, isFirst bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l = c.next[key]; l != nil {
		return l, false
	}
	l = &look{done: make(chan struct{})}
	c.next[key] = l
	return l, true
}

// close lets nobody join a look any more.
func (c *coolDowns) close(key string, l *look) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.next[key] == l {
		delete(c.next, key)
	}
}

// ask asks Redis. It calls begins when the command is about to be sent.
func (c *coolDowns) ask(key string, begins func()) (bool, error) {
	var exists *redis.IntCmd
	counts := c.store.counts()
	counts.begins = begins
	err := c.store.link.run(c.store.ctx, key, counts, func(ctx context.Context, p redis.Pipeliner) { exists = p.Exists(ctx, key) })
	if err != nil {
		return false, err
	}
	return exists.Val() > 0, causeOf(exists.Err())
}
