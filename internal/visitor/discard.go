package visitor

import (
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
)

// Bounds of what Discard reads, besides the deadline of the body. nginx lets a connection linger for the same time.
const (
	maxDiscarded = 64 << 20        // bytes: a photo or a document that a page sends by mistake is smaller
	maxLull      = 5 * time.Second // the longest time in which nothing arrives
)

// mostKept is the size of the largest body that net/http reads by itself to keep the connection, in bytes.
const mostKept = 256 << 10

// grace is how long Discard reads on at least, even if the body took too long.
const grace = time.Second

// PrepareError sets the response header with which an error goes out before the rest of the body is read. The
// connection can then serve nothing more, so a body that is known to be small keeps it. A visitor who waits for a 100
// (Expect: 100-continue) does not send even that.
//
// net/http would decide the same. But it does not see it, because Caddy's reader hides what is left of the body.
func (b *Body) PrepareError(header http.Header) {
	waits := b.expects && !b.started
	if !b.ended && b.http1 && (waits || b.length < 0 || b.length > mostKept) {
		header.Set("Connection", "close")
	}
}

// Discard sends the error that the visitor gets, and then reads the rest of the body for a bounded time. Over HTTP/1.1,
// Firefox and many proxies read a response only after they have sent the whole body. If the server closed the connection
// before, they would see a reset and no response, and send it all again. Over HTTP/2 and HTTP/3 the server ends the one
// stream, and says that this is no error.
//
// The error goes first, for visitors who wait for it before they send, or who read it early.
func (b *Body) Discard() {
	if b.ended || !b.http1 {
		return
	}
	// net/http may read a small body before it sends the error. A deadline that has passed remains: set again, it would
	// end the wait for the visitor to leave if there is one.
	if time.Now().Before(b.deadline) {
		_ = b.control.SetReadDeadline(b.deadline)
	}
	if err := b.response.Flush(); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return
	}
	if b.drain() {
		b.unbound()
	}
}

// drain reads the body until it ends, until a bound is reached, or until the visitor leaves. It reports whether the body
// has ended.
func (b *Body) drain() (ended bool) {
	wire := b.wire()
	end := time.Now().Add(grace)
	if !b.late && end.Before(b.deadline) {
		end = b.deadline
	}
	buffer := make([]byte, 8<<10)
	for left := maxDiscarded; left > 0 && !caddy.Exiting(); { // an exit need not wait for a visitor who was refused
		at := earlier(time.Now().Add(maxLull), end)
		b.bound(at)
		_ = b.control.SetReadDeadline(at) // for a wire that goes past Caddy's reader
		n, err := wire.Read(buffer)
		if err != nil {
			return err == io.EOF || err == http.ErrBodyReadAfterClose // net/http closes a body that it has read
		}
		left -= n
	}
	return false
}

// wire returns the body as the visitor sends it, because another handler may have limited what the module reads. Caddy's
// reader reads nothing more after a timeout, so wire then goes past it.
func (b *Body) wire() io.Reader {
	switch {
	case b.idle == nil:
		return b.source
	case b.late:
		return b.idle.ReadCloser
	}
	return b.idle
}
