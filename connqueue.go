package illumichat

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"
)

const (
	// maxLooking is how many requests look for a connection at once where each carries many.
	maxLooking = 4

	// stalledAfter is after how long without a place taken or left nobody waits for one, as their dials may hang.
	stalledAfter = 500 * time.Millisecond

	// longestQueuing is how long a request waits at most, however fast the others move.
	longestQueuing = 2 * time.Second
)

// connQueue has a crowd of requests look for a connection a few at a time. net/http dials for each that finds none with room,
// and gives a new one to all at once: of HTTP/2, where a few connections are enough, a crowd makes thousands that nobody
// needs, and finds the few full. In turns, thousands of streams cost less than half to open.
type connQueue struct {
	looking chan struct{} // one for each request that looks
	moved   atomic.Int64  // when the last one began to look or ceased to, in nanoseconds

	// exclusive is whether a connection carries one request at a time, so that each one needs its own. Until the first
	// connection tells, they count as shared.
	exclusive atomic.Bool

	stalledAfter, longest time.Duration // which only tests change
}

func newConnQueue() *connQueue {
	return &connQueue{looking: make(chan struct{}, maxLooking), stalledAfter: stalledAfter, longest: longestQueuing}
}

// join waits for a place among those that look, and reports whether the request has one, which it has to leave.
func (q *connQueue) join(ctx context.Context) bool {
	if q == nil || q.exclusive.Load() {
		return false
	}
	select {
	case q.looking <- struct{}{}:
		q.move()
		return true
	default:
	}
	end := time.Now().Add(q.longest)
	for {
		patience := min(q.untilStalled(), time.Until(end))
		if patience <= 0 {
			return false
		}
		timer := time.NewTimer(patience)
		select {
		case q.looking <- struct{}{}:
			timer.Stop()
			q.move()
			if q.exclusive.Load() { // as one of those before has found out
				q.leave()
				return false
			}
			return true
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return false
		}
	}
}

func (q *connQueue) leave() {
	q.move()
	<-q.looking
}

func (q *connQueue) move() { q.moved.Store(time.Now().UnixNano()) }

func (q *connQueue) untilStalled() time.Duration {
	return q.stalledAfter - time.Since(time.Unix(0, q.moved.Load()))
}

// learn notes what a new connection tells.
func (q *connQueue) learn(conn net.Conn) {
	if q == nil {
		return
	}
	if conn, ok := conn.(*tls.Conn); ok {
		q.exclusive.Store(conn.ConnectionState().NegotiatedProtocol != "h2")
	}
}
