package sandboxtest

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// A Request is a request that has reached the server. Its fields do not change.
type Request struct {
	// Method, Path, Proto and Header are those of the http.Request.
	Method, Path, Proto string
	Header              http.Header

	// Body is as much of the body as was sent.
	Body []byte

	// ReceivedAt is when the head of the request was there.
	ReceivedAt time.Time

	done chan struct{}

	mu     sync.Mutex
	leftAt time.Time
	events []time.Time
}

// newRequest reads the request's body and puts back a copy.
func newRequest(r *http.Request) *Request {
	request := &Request{
		Method:     r.Method,
		Path:       r.URL.Path,
		Proto:      r.Proto,
		Header:     r.Header.Clone(),
		ReceivedAt: time.Now(),
		done:       make(chan struct{}),
	}
	request.Body, _ = io.ReadAll(r.Body) // a body that breaks off is recorded as far as it came
	r.Body = io.NopCloser(bytes.NewReader(request.Body))
	return request
}

// Done is closed when the server has ended its answer, or given it up.
func (r *Request) Done() <-chan struct{} { return r.done }

// Wait waits until Done is closed. The test fails if that does not happen.
func (r *Request) Wait(tb testing.TB) {
	tb.Helper()
	select {
	case <-r.done:
	case <-time.After(patience):
		tb.Fatal("the sandbox is still answering a request that should be over")
	}
}

// Canceled reports whether the client left before the answer was complete.
func (r *Request) Canceled() bool { return !r.CanceledAt().IsZero() }

// CanceledAt is when the client left, or zero.
func (r *Request) CanceledAt() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.leftAt
}

// EventTimes tells for each event so far when it was about to be written.
func (r *Request) EventTimes() []time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.events)
}

func (r *Request) leave() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.leftAt.IsZero() {
		r.leftAt = time.Now()
	}
}

func (r *Request) wrote(at time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, at)
}
