package upstream

import (
	"bytes"
	"context"
	"crypto/rand"
	"maps"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"sync/atomic"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/stdlog"
)

const userAgent = "caddy-illumichat"

// Client sends requests to the chat API.
type Client struct {
	endpoint  *Endpoint
	transport http.RoundTripper
	http      *http.Transport // inside transport; nil: another RoundTripper, which may not call the hooks of net/http/httptrace
	queue     *dialQueue      // nil: connections are not shared, or the transport calls no hooks
}

// Request is one chat to send upstream.
type Request struct {
	Token  Token
	Body   []byte
	Key    string      // the Idempotency-Key, which all attempts of a chat share
	Header http.Header // additional header fields
	Watch  Watch       // notes signs of life; nil: nothing does
}

// Watch notes that the upstream gives a sign of life before its response: an interim one (RFC 9110, § 15.2).
type Watch interface {
	// BeginRead marks the start of a further wait for bytes of the upstream.
	BeginRead() (now time.Duration)
}

// maxStale is how many closed keep-alive connections in a row Send skips.
const maxStale = 10

// Send sends the request once. It returns the response with its body unread. sent reports whether the upstream may have
// received some of the request, even after an error. A keep-alive connection may turn out to be closed before anything
// was written to it. Then the upstream has received nothing, so Send takes the next connection at once.
func (c *Client) Send(ctx context.Context, r Request) (resp *http.Response, sent bool, err error) {
	stdlog.Guard() // net/http and its transport may log what the upstream sends
	for stale := 0; ; stale++ {
		body := &chatBody{Reader: bytes.NewReader(r.Body), queue: c.queue, alive: r.Watch}
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

// CloseIdle closes idle connections, so that further requests dial new ones. It does nothing if the transport is not
// Caddy's HTTP transport.
func (c *Client) CloseIdle() {
	if c.http != nil {
		c.http.CloseIdleConnections()
	}
}

// roundTrip sends one request, which holds a place in the dial queue until it has a connection. Nothing that the
// upstream sent is in an error of roundTrip, or in one of the response's body.
func (c *Client) roundTrip(req *http.Request, body *chatBody) (*http.Response, error) {
	body.queued.Store(body.queue.acquire(req.Context()))
	defer body.leaveQueue()
	resp, err := c.transport.RoundTrip(req)
	if err != nil {
		return nil, causeOf(req.Context(), err)
	}
	resp.Body = &answerBody{resp.Body, req.Context()}
	return resp, nil
}

// sentHeader holds the header values that all requests share, so that they are allocated once.
var sentHeader = struct{ contentType, accept, acceptEncoding, userAgent []string }{
	[]string{jsonType}, []string{streamType}, []string{"identity"}, []string{userAgent},
}

// request builds the request from the config and r alone: none of the visitor's headers go upstream.
func (c *Client) request(ctx context.Context, body *chatBody, r Request) (*http.Request, error) {
	// With a *bytes.Reader, net/http knows that the body is in memory, and sends headers and body in one write.
	req, err := http.NewRequestWithContext(body.watch(ctx), http.MethodPost, c.endpoint.URL.String(), body.Reader)
	if err != nil {
		return nil, err
	}
	// If GetBody is set, net/http by itself repeats a POST that has an Idempotency-Key, and over HTTP/2 any request.
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

// NewIdempotencyKey returns a new random key, by which the upstream can recognize a repeated request. It is a String of
// RFC 9651, as draft-ietf-httpapi-idempotency-key-header requires.
func NewIdempotencyKey() string { return `"` + rand.Text() + `"` }

// chatBody is the body of one request, and records what net/http has done with that request.
type chatBody struct {
	*bytes.Reader
	queue   *dialQueue  // nil: the request need not queue for a connection
	queued  atomic.Bool // the request holds a place in queue
	kept    atomic.Bool // the connection was used before
	written atomic.Bool // some of the request may have been written
	alive   Watch       // nil: nothing notes signs of life
}

// watch returns a context with httptrace hooks that record what net/http does with the request.
func (b *chatBody) watch(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      b.gotConn,
		WroteHeaders: func() { b.written.Store(true) },
		WroteRequest: func(httptrace.WroteRequestInfo) {
			b.written.Store(true)
			// net/http keeps the reader until the answer ends, which can take long. Reset lets the bytes be freed.
			b.Reset(nil)
		},
		Got1xxResponse: b.gotInterim,
	})
}

// gotInterim notes an interim response as a sign of life. The visitor does not get it.
func (b *chatBody) gotInterim(int, textproto.MIMEHeader) error {
	if b.alive != nil {
		b.alive.BeginRead()
	}
	return nil
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
