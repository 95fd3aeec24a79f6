package redisstore

import (
	_ "embed"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed lost.lua
	lostLua    string
	lostScript = redis.NewScript(fieldLua + lostLua)
)

const (
	// checkAgain is the shortest time between two checks of one stream.
	checkAgain = time.Second

	// maxChecks is how many streams may wait for a check. Others are checked when they have a listener again.
	maxChecks = 1 << 14

	// checksAtOnce is how many checks may be on their way to Redis.
	checksAtOnce = 64
)

// losses marks streams in Redis whose rest will never come, in the background. A visitor who comes back then learns that
// nothing follows, instead of waiting.
type losses struct {
	store *redisStore
	news  chan struct{} // has a value when there is something to do

	mu      sync.Mutex
	waiting map[string]writer    // the streams to be checked, and who wrote each
	checked map[string]time.Time // when each was checked, if that was not long ago
}

// writer says who wrote a stream that has an id.
type writer struct {
	instance string
	claim    string // tells the stream from others with its id; "": it is any that the instance does not write any more
}

func (l *losses) init(s *redisStore) {
	l.store = s
	l.news = make(chan struct{}, 1)
	l.waiting = make(map[string]writer)
	l.checked = make(map[string]time.Time)
}

// check marks a stream as lost if the given writer has begun it and it has no end in Redis. The writer must not write the
// stream any more.
func (l *losses) check(id string, by writer) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Since(l.checked[id]) < checkAgain || len(l.waiting) >= maxChecks {
		return
	}
	l.waiting[id] = by
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// run checks what waits, until the store is closed.
func (l *losses) run() {
	for {
		select {
		case <-l.news:
		case <-l.store.ctx.Done():
			return
		}
		var checks sync.WaitGroup
		room := make(chan struct{}, checksAtOnce)
		for id, by := range l.take() {
			room <- struct{}{}
			checks.Go(func() {
				l.mark(id, by)
				<-room
			})
		}
		checks.Wait()
	}
}

// mark asks Redis to mark a stream. If the claim is unknown, mark locks the id: otherwise this instance could claim the
// id again meanwhile, and lose what it has just begun.
func (l *losses) mark(id string, by writer) {
	if by.claim == "" {
		_, unlock := l.store.claims.lock(id)
		defer unlock()
		if l.store.replicator.sourceOf(id) != nil {
			return
		}
	}
	key := l.store.keys.log(id)
	_, _ = l.store.link.script(l.store.ctx, key, callTimeout, lostScript, []string{key}, by.instance, by.claim) // the link logs a failure
}

// take returns what waits, and notes that it is checked now.
func (l *losses) take() map[string]writer {
	l.mu.Lock()
	defer l.mu.Unlock()
	waiting := l.waiting
	l.waiting = make(map[string]writer)
	for id, at := range l.checked {
		if time.Since(at) >= checkAgain {
			delete(l.checked, id)
		}
	}
	for id := range waiting {
		l.checked[id] = time.Now()
	}
	return waiting
}
