package visitor

import (
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// Body is the body of a visitor's request. One deadline covers the whole body, and no deadline outlives it.
type Body struct {
	source   io.Reader
	idle     *caddyhttp.IdleTimeoutReader // Caddy's; nil if the operator has turned it off
	control  *http.ResponseController     // sets the deadlines of the connection or stream
	response *http.ResponseController
	http1    bool      // the connection carries nothing but this request
	length   int64     // -1 if the visitor declares none
	expects  bool      // the visitor may wait for a 100 before they send
	deadline time.Time // the server's own, if that is earlier
	started  bool      // the module has begun to read
	ended    bool      // nothing is left to read
	late     bool      // a deadline has passed during a read
}

// NewBody returns the body of r, whose answer is written to w. Reads fail when timeout has passed from now.
func NewBody(w http.ResponseWriter, r *http.Request, timeout time.Duration) *Body {
	control := http.NewResponseController(w)
	b := &Body{
		source:   r.Body,
		control:  control,
		response: control,
		http1:    r.ProtoMajor == 1,
		length:   r.ContentLength,
		expects:  r.Header.Get("Expect") != "",
		deadline: time.Now().Add(timeout),
		ended:    r.ContentLength == 0,
	}
	b.idle, _ = caddyhttp.IdleTimeoutsFromContext(r.Context())
	if b.idle != nil {
		b.control = b.idle.Ctrl // its deadlines are not cut to the server's own
		if hard := b.idle.Deadline.HardDeadline; !hard.IsZero() {
			b.deadline = earlier(hard, b.deadline)
		}
	}
	return b
}

// Read reads from the body.
func (b *Body) Read(p []byte) (int, error) {
	if !b.started {
		b.started = true
		b.bound(b.deadline)
	}
	n, err := b.source.Read(p)
	switch {
	case err == io.EOF:
		b.ended = true
		b.unbound()
	case errors.Is(err, os.ErrDeadlineExceeded):
		b.late = true
	}
	return n, err
}

// bound sets the deadline for reading. Caddy's reader sets its deadlines only when it reads. So it sets none if another
// handler has read the body: over HTTP/1.1, net/http then waits on the connection for the visitor to leave.
func (b *Body) bound(at time.Time) {
	if b.idle != nil {
		b.idle.Deadline.HardDeadline = at
		return
	}
	_ = b.control.SetReadDeadline(at) // a writer that does not support deadlines (in tests) sets none
}

// unbound removes every deadline for reading. Otherwise one would end the wait in which net/http notices that the
// visitor leaves. Then net/http would believe that the visitor has left.
func (b *Body) unbound() { _ = b.control.SetReadDeadline(time.Time{}) }

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
