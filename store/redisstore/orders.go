package redisstore

import (
	"context"
	_ "embed"
	"strings"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

var (
	//go:embed tell.lua
	tellLua    string
	tellScript = redis.NewScript(tellLua)
)

// The fields of the messages that instances send each other. Each message has one of the first three, whose value is a
// comma-separated list of ids.
const (
	orderStop  = "stop"  // stop these streams, which you write
	orderHeard = "heard" // these streams, which you write, have listeners at the instance `from`, for the next `for` ms
	orderNews  = "news"  // these streams, which you read, have new entries

	orderFrom = "from"
	orderFor  = "for"
)

const (
	// maxIDs is how many ids one message has.
	maxIDs = 1000

	// maxMessages is about how many messages may wait for an instance that does not read them.
	maxMessages = 10_000

	// roundTime is the shortest time between two messages of one kind to one instance, except for news. So a crowd of visitors causes a
	// bounded number of messages, whatever it does.
	roundTime = 10 * time.Millisecond
)

// orders sends messages to other instances. The ids for one instance gather while a message to it is on its
// way, so the number of messages does not grow with the number of visitors.
type orders struct {
	store *redisStore

	mu     sync.Mutex
	closed bool
	boxes  map[address]*outbox
}

// address is where messages of one kind go.
type address struct{ instance, kind string }

// outbox holds what one instance is yet to be told. A goroutine serves it until it is empty.
type outbox struct {
	ids     map[string]struct{}
	waiters []chan<- error // of those who want to know whether the message arrived in Redis
}

func (o *orders) init(s *redisStore) {
	o.store = s
	o.boxes = make(map[address]*outbox)
}

// stop tells an instance to stop a stream. It returns nil once the order is in Redis.
func (o *orders) stop(ctx context.Context, instance, id string) error {
	told := make(chan error, 1)
	o.add(address{instance, orderStop}, told, id)
	select {
	case err := <-told:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// heard tells an instance that a stream that it writes has a listener here.
func (o *orders) heard(instance, id string) { o.add(address{instance, orderHeard}, nil, id) }

// news tells an instance that there are new entries of streams that this instance writes. The entries must be in Redis.
func (o *orders) news(instance string, ids ...string) {
	o.add(address{instance, orderNews}, nil, ids...)
}

// add adds ids to an outbox.
func (o *orders) add(to address, told chan<- error, ids ...string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		if told != nil {
			told <- errDown
		}
		return
	}
	b := o.boxes[to]
	if b == nil {
		b = &outbox{ids: make(map[string]struct{})}
		o.boxes[to] = b
		o.store.loops.Go(func() { o.serve(to, b) })
	}
	for _, id := range ids {
		b.ids[id] = struct{}{}
	}
	if told != nil {
		b.waiters = append(b.waiters, told)
	}
}

// serve sends what is in an outbox, until it is empty.
func (o *orders) serve(to address, b *outbox) {
	for {
		o.mu.Lock()
		ids, waiters := b.ids, b.waiters
		if len(ids) == 0 {
			delete(o.boxes, to)
			o.mu.Unlock()
			return
		}
		b.ids, b.waiters = make(map[string]struct{}), nil
		o.mu.Unlock()
		err := o.send(to, ids)
		for _, told := range waiters {
			told <- err
		}
		if to.kind == orderNews {
			continue // nothing that a visitor does causes more of it
		}
		select {
		case <-time.After(roundTime):
		case <-o.store.ctx.Done():
		}
	}
}

// send sends ids in as few messages as possible. A lost message is not repeated: each listener is announced again
// soon, and an instance that waits for news also polls now and then.
func (o *orders) send(to address, ids map[string]struct{}) error {
	s := o.store
	key, c := s.keys.inbox(to.instance), call{purpose: forClaims, timeout: callTimeout}
	if to.kind == orderStop { // a visitor waits
		key, c = s.keys.stops(to.instance), call{purpose: forStops, timeout: countTime}
	}
	var first error
	for len(ids) > 0 {
		args := tellArgs(to.kind, takeSome(ids, maxIDs))
		if to.kind == orderHeard {
			args = append(args, orderFrom, s.instance, orderFor, heardTime.Milliseconds())
		}
		if _, err := s.link.runScript(s.ctx, key, c, tellScript, []string{key}, args...); err != nil && first == nil {
			first = err
		}
	}
	return first
}

// takeSome removes at most n ids from a set, and returns them with commas in between.
func takeSome(ids map[string]struct{}, n int) string {
	var list strings.Builder
	for id := range ids {
		if n--; n < 0 {
			break
		}
		if list.Len() > 0 {
			list.WriteByte(',')
		}
		list.WriteString(id)
		delete(ids, id)
	}
	return list.String()
}

// close sends nothing any more, except what is on its way.
func (o *orders) close() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.closed = true
}
