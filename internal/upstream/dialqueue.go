package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"
)

const (
	// maxDialing is how many requests look for a connection at once where each carries many.
	maxDialing = 4

	// stalledAfter is after how long without a place taken or left nobody waits for one, as their dials may hang.
	stalledAfter = 500 * time.Millisecond

	// maxQueueing is how long a request waits at most, however fast the others move.
	maxQueueing = 2 * time.Second
)

// dialQueue has a crowd of requests look for a connection a few at a time. net/http dials for each that finds none with room,
// and gives a new one to all at once: of HTTP/2, where a few connections are enough, a crowd makes thousands that nobody
// needs, and finds the few full. In turns, thousands of streams cost less than half to open.
type dialQueue struct {
	dialing chan struct{} // one for each request that looks
	touched atomic.Int64  // when the last one began to look or ceased to, in nanoseconds

	// exclusive is whether a connection carries one request at a time, so that each one needs its own. Until the first
	// connection tells, they count as shared.
	exclusive atomic.Bool

	stalledAfter, longest time.Duration // which only tests change
}

func newDialQueue() *dialQueue {
	return &dialQueue{dialing: make(chan struct{}, maxDialing), stalledAfter: stalledAfter, longest: maxQueueing}
}

// acquire waits for a place among those that look, and reports whether the request has one, which it has to leave.
func (q *dialQueue) acquire(ctx context.Context) bool {
	if q == nil || q.exclusive.Load() {
		return false
	}
	select {
	case q.dialing <- struct{}{}:
		q.touch()
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
		case q.dialing <- struct{}{}:
			timer.Stop()
			q.touch()
			if q.exclusive.Load() { // as one of those before has found out
				q.release()
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

func (q *dialQueue) release() {
	q.touch()
	<-q.dialing
}

func (q *dialQueue) touch() { q.touched.Store(time.Now().UnixNano()) }

func (q *dialQueue) untilStalled() time.Duration {
	return q.stalledAfter - time.Since(time.Unix(0, q.touched.Load()))
}

// observe notes what a new connection tells.
func (q *dialQueue) observe(conn net.Conn) {
	if q == nil {
		return
	}
	if conn, ok := conn.(*tls.Conn); ok {
		q.exclusive.Store(conn.ConnectionState().NegotiatedProtocol != "h2")
	}
}
