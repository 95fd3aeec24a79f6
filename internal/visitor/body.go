package visitor

import (
	"io"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Body is the body of a visitor's request. One deadline covers the whole body, and no deadline outlives it.
type Body struct {
	source   io.Reader
	idle     *caddyhttp.IdleTimeoutReader // Caddy's; nil if the operator has turned it off
	control  *http.ResponseController     // sets the deadlines of the connection or stream
	deadline time.Time
	started  bool // the module has begun to read
}

// NewBody returns the body of r, whose answer is written to w. Reads fail when timeout has passed from now.
func NewBody(w http.ResponseWriter, r *http.Request, timeout time.Duration) *Body {
	b := &Body{source: r.Body, control: http.NewResponseController(w), deadline: time.Now().Add(timeout)}
	b.idle, _ = caddyhttp.IdleTimeoutsFromContext(r.Context())
	if b.idle != nil {
		b.control = b.idle.Ctrl // its deadlines are not cut to the server's own
	}
	return b
}

// Read reads from the body.
func (b *Body) Read(p []byte) (int, error) {
	if !b.started {
		b.started = true
		b.bound()
	}
	n, err := b.source.Read(p)
	if err == io.EOF {
		b.unbound()
	}
	return n, err
}

// bound sets the deadline for the whole body. Caddy's reader sets its deadlines only when it reads. So it sets none if
// another handler has read the body: over HTTP/1.1, net/http then waits on the connection for the visitor to leave.
func (b *Body) bound() {
	if b.idle == nil {
		_ = b.control.SetReadDeadline(b.deadline) // a writer that does not support deadlines (in tests) sets none
		return
	}
	if hard := b.idle.Deadline.HardDeadline; hard.IsZero() || hard.After(b.deadline) {
		b.idle.Deadline.HardDeadline = b.deadline
	}
}

// unbound removes every deadline for reading. Otherwise one would end the wait in which net/http notices that the
// visitor leaves, and net/http would take that for a visitor who has left.
func (b *Body) unbound() { _ = b.control.SetReadDeadline(time.Time{}) }
