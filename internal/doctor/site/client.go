package site

import (
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/illumichat/caddy-illumichat/internal/cause"
)

// protocol is a version of HTTP, as Response.Proto names it.
type protocol string

const (
	http1Protocol10 protocol = "HTTP/1.0" // for answers alone
	http1Protocol   protocol = "HTTP/1.1"
	http2Protocol   protocol = "HTTP/2.0"
	http3Protocol   protocol = "HTTP/3.0"
)

// String returns the usual name of the protocol.
func (p protocol) String() string {
	if p == http2Protocol || p == http3Protocol {
		return strings.TrimSuffix(string(p), ".0")
	}
	return string(p)
}

// is reports whether p is the protocol, or an older version that a server may speak in its place.
func (p protocol) is(asked protocol) bool {
	return p == asked || p == http1Protocol10 && asked == http1Protocol
}

const (
	userAgent = "caddy-illumichat-check"

	requestTimeout = 15 * time.Second // of a request that costs nothing
	maxBody        = 64 << 10         // bytes that are read of its answer
)

// bounds are how long the client waits and how much it reads.
type bounds struct {
	request time.Duration // for a request that costs nothing
	chat    time.Duration // for a whole chat; the chat's own bound is max_duration, two minutes by default
	stream  int           // bytes of one event stream
}

var defaultBounds = bounds{request: requestTimeout, chat: 3 * time.Minute, stream: 16 << 20}

// gaveUp is an error that says that this check has stopped waiting or reading. It says nothing about a chat, whose answer may
// be longer.
type gaveUp struct{ text string }

// Error returns where the check stops.
func (g *gaveUp) Error() string { return g.text }

// hasGivenUp reports whether this check has stopped, and not the site.
func hasGivenUp(err error) bool {
	_, ok := errors.AsType[*gaveUp](err)
	return ok
}

// reason returns why a request with ctx has failed: the text of the limit that has ended ctx, or the kind of err.
func reason(ctx context.Context, err error) error {
	if own := context.Cause(ctx); own != nil && !errors.Is(own, context.Canceled) {
		return own
	}
	return cause.Of(err)
}

// client sends requests to the site. It follows no redirect and uses no proxy of the environment, because both hide what a
// visitor gets.
type client struct {
	target target
	trust  trust
	bounds bounds
	watch  tokenWatch
	pin    pin

	mu   sync.Mutex
	kept map[protocol]*connection // for requests that cost nothing; those that need one of their own call connect
}

func newClient(t target, insecure bool) *client {
	return &client{
		target: t,
		trust:  trust{host: t.url.Hostname(), insecure: insecure},
		bounds: defaultBounds,
		kept:   make(map[protocol]*connection),
	}
}

// close closes the connections that are kept.
func (c *client) close() {
	for _, kept := range c.kept {
		kept.close()
	}
}

// connection is a transport that keeps at most one connection in use.
type connection struct {
	http.RoundTripper
	close func()
}

// connect returns a transport with connections of its own.
func (c *client) connect(p protocol) *connection {
	config := c.trust.config()
	if p == http3Protocol {
		t := &http3.Transport{TLSClientConfig: config, Dial: c.pin.dialQUIC, DisableCompression: true}
		return &connection{t, func() { t.Close() }}
	}
	t := &http.Transport{
		TLSClientConfig: config, TLSHandshakeTimeout: requestTimeout, DialContext: c.pin.dialTCP,
		DisableCompression: true, Protocols: new(http.Protocols),
	}
	t.Protocols.SetHTTP1(p == http1Protocol)
	t.Protocols.SetHTTP2(p == http2Protocol)
	return &connection{t, t.CloseIdleConnections}
}

// keep returns a transport that all requests over p share.
func (c *client) keep(p protocol) *connection {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept[p] == nil {
		c.kept[p] = c.connect(p)
	}
	return c.kept[p]
}

// pin is the address at which the site was reached first. All connections go there. Otherwise a limit could count the IPv4
// and the IPv6 address of this machine apart.
type pin struct {
	mu      sync.Mutex
	address string
}

// get returns the address, or address if the site has not been reached yet.
func (p *pin) get(address string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.address != "" {
		return p.address
	}
	return address
}

func (p *pin) dialTCP(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, network, p.get(toLoopback(address)))
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.address == "" {
		p.address = conn.RemoteAddr().String()
	}
	return conn, nil
}

// toLoopback returns an address in which localhost replaces a name below it, which DNS need not know.
func toLoopback(address string) string {
	if host, port, err := net.SplitHostPort(address); err == nil && isLocalhost(host) {
		return net.JoinHostPort("localhost", port)
	}
	return address
}

func (p *pin) dialQUIC(ctx context.Context, address string, tlsConfig *tls.Config, config *quic.Config) (*quic.Conn, error) {
	return quic.DialAddrEarly(ctx, p.get(address), tlsConfig, config)
}

// request is a request to the chat's URL.
type request struct {
	method string
	header map[string]string
	body   string
	query  string // further parameters of the URL
}

// invalidChat is a request that costs nothing: the chat refuses it before it asks the upstream.
var invalidChat = request{method: http.MethodPost, header: map[string]string{"Content-Type": "application/json"}, body: "{}"}

// with returns the request with further headers, which are names and values in turn.
func (r request) with(header ...string) request {
	all := maps.Clone(r.header)
	for i := 0; i < len(header); i += 2 {
		all[header[i]] = header[i+1]
	}
	r.header = all
	return r
}

// send sends a request. The response's body is decoded, and its headers have been searched for tokens. An error names its
// kind and quotes nothing that was received.
func (c *client) send(ctx context.Context, over http.RoundTripper, r request) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, r.method, c.target.withQuery(r.query), strings.NewReader(r.body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	req.Header.Set("Accept", "*/*")
	req.Header.Set("Accept-Encoding", "gzip") // as browsers do, and the standard library can decode it
	for name, value := range r.header {
		req.Header.Set(name, value)
	}
	resp, err := over.RoundTrip(req)
	if err != nil {
		return nil, reason(ctx, err)
	}
	c.watch.seeHeader(resp.Header)
	resp.Body = decode(resp)
	return resp, nil
}

// answer is a response that was read as a whole, up to maxBody.
type answer struct {
	status int
	proto  protocol
	header http.Header
	body   string
}

// ask sends a request that costs nothing over p, and reads its answer.
func (c *client) ask(ctx context.Context, p protocol, r request) (*answer, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, c.bounds.request, fmt.Errorf("no answer within %s", c.bounds.request))
	defer cancel()
	resp, err := c.send(ctx, c.keep(p), r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return c.read(ctx, resp)
}

// read reads the answer to a request with ctx.
func (c *client) read(ctx context.Context, resp *http.Response) (*answer, error) {
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, reason(ctx, err)
	}
	c.watch.see("the body of an answer", body)
	return &answer{status: resp.StatusCode, proto: protocol(resp.Proto), header: resp.Header, body: string(body)}, nil
}

// decode returns the body of a response without gzip. A body with another encoding stays as it is.
func decode(resp *http.Response) io.ReadCloser {
	if !strings.EqualFold(resp.Header.Get("Content-Encoding"), "gzip") {
		return resp.Body
	}
	return &gzipBody{body: resp.Body}
}

// gzipBody decodes a body as it arrives. It reads the gzip header with the first bytes and not before, so that response
// headers without a body are seen at once.
type gzipBody struct {
	body   io.ReadCloser
	reader *gzip.Reader
}

// Read reads decoded bytes.
func (g *gzipBody) Read(p []byte) (int, error) {
	if g.reader == nil {
		reader, err := gzip.NewReader(g.body)
		if errors.Is(err, io.EOF) {
			return 0, io.EOF // an empty body
		} else if err != nil {
			return 0, err
		}
		g.reader = reader
	}
	return g.reader.Read(p)
}

// Close closes the body.
func (g *gzipBody) Close() error { return g.body.Close() }
