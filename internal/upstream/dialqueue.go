package upstream

import (
	"context"
	"crypto/tls"
	"net"
	"sync/atomic"
	"time"
)

const (
	// maxDialing is how many requests may look for a connection at once, if each connection carries many requests.
	maxDialing = 4

	// If no place is taken or released for stalledAfter, requests stop waiting for one: the dials in progress may hang.
	stalledAfter = 500 * time.Millisecond

	// maxQueueing is the longest time that a request waits for a place, however fast the queue moves.
	maxQueueing = 2 * time.Second
)

// dialQueue lets only a few requests at a time look for a connection. net/http dials once for each request that finds
// no connection with room. It offers each new connection to all of these requests at once. Over HTTP/2, a few
// connections are enough. But a burst of requests would open thousands that nobody needs, and would find the few full.
// With the queue, opening thousands of streams costs less than half.
type dialQueue struct {
	dialing chan struct{} // one value for each request that looks for a connection
	touched atomic.Int64  // when a place was last taken or released, in Unix nanoseconds

	// exclusive is whether a connection carries only one request at a time, so that each request needs its own.
	// Connections count as shared until the first one shows otherwise.
	exclusive atomic.Bool

	stalledAfter, longest time.Duration // the constants, except in tests
}

func newDialQueue() *dialQueue {
	return &dialQueue{dialing: make(chan struct{}, maxDialing), stalledAfter: stalledAfter, longest: maxQueueing}
}

// acquire waits for a place in the queue, and reports whether the request got one. If so, the caller must call release.
// If not, the request looks for a connection without a place.
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
			if q.exclusive.Load() { // an earlier request's connection has shown it
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

// observe notes whether a new TLS connection carries many requests, which it does if it speaks HTTP/2.
func (q *dialQueue) observe(conn net.Conn) {
	if q == nil {
		return
	}
	if conn, ok := conn.(*tls.Conn); ok {
		q.exclusive.Store(conn.ConnectionState().NegotiatedProtocol != "h2")
	}
}
