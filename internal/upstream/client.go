package upstream

import (
	"bytes"
	"context"
	"crypto/rand"
	"maps"
	"net/http"
	"net/http/httptrace"
	"sync/atomic"
)

const userAgent = "caddy-illumichat"

// Client asks the chat API.
type Client struct {
	endpoint  *Endpoint
	transport http.RoundTripper
	http      *http.Transport // that of transport; nil: it is another's, which may not call the hooks of net/http/httptrace
	queue     *dialQueue      // nil: connections are not shared, or the transport does not tell of them
}

// Request is a chat to be sent.
type Request struct {
	Token  Token
	Body   []byte
	Key    string      // the Idempotency-Key, which all tries of a chat share
	Header http.Header // further fields
}

// maxStale is how many kept connections may fail one after the other.
const maxStale = 10

// Send sends the request and returns the head of the answer, and whether the upstream may have got some of the request. Where
// a kept connection turns out to be closed before anything was written to it, nothing was asked, so the next connection is
// taken at once.
func (c *Client) Send(ctx context.Context, r Request) (resp *http.Response, sent bool, err error) {
	for stale := 0; ; stale++ {
		body := &chatBody{Reader: bytes.NewReader(r.Body), queue: c.queue}
		req, err := c.request(ctx, body, r)
		if err != nil {
			return nil, sent, err
		}
		resp, err := c.roundTrip(req, body)
		sent = sent || err == nil || body.written.Load() || c.http == nil
		if err == nil || !body.unsent() || stale == maxStale || ctx.Err() != nil {
			return resp, sent, err
		}
	}
}

// CloseIdle has further requests dial anew.
func (c *Client) CloseIdle() {
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

// roundTrip sends one request, which is the queue's until it has a connection.
func (c *Client) roundTrip(req *http.Request, body *chatBody) (*http.Response, error) {
	body.queued.Store(body.queue.acquire(req.Context()))
	defer body.leaveQueue()
	return c.transport.RoundTrip(req)
}

// sentHeader is what the header of every request has, made once.
var sentHeader = struct{ contentType, accept, acceptEncoding, userAgent []string }{
	[]string{jsonType}, []string{streamType}, []string{"identity"}, []string{userAgent},
}

// request builds the request from what is ours alone: nothing of the visitor's headers goes upstream.
func (c *Client) request(ctx context.Context, body *chatBody, r Request) (*http.Request, error) {
	// Known to be in memory, head and body go out in one write.
	req, err := http.NewRequestWithContext(body.watch(ctx), http.MethodPost, c.endpoint.URL.String(), body.Reader)
	if err != nil {
		return nil, err
	}
	// With GetBody, net/http repeats a POST that has an Idempotency-Key by itself, and HTTP/2 any.
	req.GetBody = nil
	req.Header = http.Header{
		"Authorization":   {r.Token.bearer()},
		"Content-Type":    sentHeader.contentType,
		"Accept":          sentHeader.accept,
		"Accept-Encoding": sentHeader.acceptEncoding,
		"User-Agent":      sentHeader.userAgent,
		"Idempotency-Key": {r.Key},
	}
	maps.Copy(req.Header, r.Header)
	return req, nil
}

// NewIdempotencyKey returns a value that an upstream can tell a repeated request by: a string of RFC 9651, as
// draft-ietf-httpapi-idempotency-key-header has it.
func NewIdempotencyKey() string { return `"` + rand.Text() + `"` }

// chatBody is the body of one request, and what became of it.
type chatBody struct {
	*bytes.Reader
	queue   *dialQueue  // nil: it need not look for a connection in turn
	queued  atomic.Bool // has a place in it
	kept    atomic.Bool // the connection was used before
	written atomic.Bool // some of the request, maybe
}

// watch returns a context that has net/http tell what it does with the request.
func (b *chatBody) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      b.gotConn,
		WroteHeaders: func() { b.written.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) {
			b.written.Store(true)
			// net/http keeps the reader for as long as the answer takes, so it has to let go of the bytes.
			b.Reset(nil)
		},
	})
}

func (b *chatBody) gotConn(info httptrace.GotConnInfo) {
	b.kept.Store(info.Reused)
	if !info.Reused {
		b.queue.observe(info.Conn)
	}
	b.leaveQueue()
}

func (b *chatBody) leaveQueue() {
	if b.queued.CompareAndSwap(true, false) {
		b.queue.release()
	}
}

// unsent reports whether the request failed on a kept connection to which nothing was written.
func (b *chatBody) unsent() bool { return b.kept.Load() && !b.written.Load() }
