package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// TransportNamespace is the namespace of Caddy's transport modules.
const TransportNamespace = "http.reverse_proxy.transport"

// deadAfter is how long a connection may be dead without a sign of it. A stream of an HTTP/2 connection then breaks.
const deadAfter = 30 * time.Second

// New returns a client that sends requests to e through transport. If transport is Caddy's HTTP transport, New changes
// how its connections are made and read. Then net/http pings an HTTP/2 connection that has been silent for half of
// idle, at most half of deadAfter. It closes the connection if the same time passes again without an answer.
func New(e *Endpoint, transport http.RoundTripper, idle time.Duration) *Client {
	c := &Client{endpoint: e, transport: transport}
	t, ok := transport.(*reverseproxy.HTTPTransport)
	if !ok {
		return c
	}
	c.http = t.Transport
	withReadAhead(t.Transport)
	if mayShareConnections(e.URL, t) {
		c.queue = newDialQueue()
	}
	// Caddy has no option for this. Without a ping, an HTTP/2 connection that has died silently takes one request after
	// the other. A ping detects that before the connection has been silent for longer than a stream may be.
	ping := min(idle, deadAfter) / 2
	t.Transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: ping, PingTimeout: ping}
	return c
}

// mayShareConnections reports whether a connection to the endpoint may carry many requests at once.
func mayShareConnections(endpoint *url.URL, t *reverseproxy.HTTPTransport) bool {
	h2c := slices.Contains(t.Versions, "h2c")
	return h2c || endpoint.Scheme == "https" && slices.Contains(t.Versions, "2")
}

// TransportDefaults fills in the options of an http transport that the operator left out. The values suit many small
// requests to one host: 1024 idle connections, and a write buffer of 1024 bytes. With reverse_proxy's 32 idle
// connections, most requests of a busy site would dial a new one. A chat needs no large write buffer. Other transports
// are returned unchanged.
func TransportDefaults(raw json.RawMessage) (json.RawMessage, error) {
	config := map[string]json.RawMessage{"protocol": json.RawMessage(`"http"`)}
	if err := unmarshalSet(raw, &config); err != nil {
		return nil, err
	}
	if string(config["protocol"]) != `"http"` {
		return raw, nil
	}
	keepAlive := make(map[string]json.RawMessage)
	if err := unmarshalSet(config["keep_alive"], &keepAlive); err != nil {
		return nil, fmt.Errorf("keep_alive: %w", err)
	}
	setDefault(config, "write_buffer_size", "1024")
	setDefault(keepAlive, "max_idle_conns_per_host", "1024")
	var err error
	if config["keep_alive"], err = json.Marshal(keepAlive); err != nil {
		return nil, err
	}
	return json.Marshal(config)
}

// unmarshalSet is json.Unmarshal for an optional value: it leaves v unchanged if raw is empty or null.
func unmarshalSet(raw json.RawMessage, v any) error {
	if !isSet(raw) {
		return nil
	}
	return json.Unmarshal(raw, v)
}

// isSet reports whether raw is a value other than null.
func isSet(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func setDefault(config map[string]json.RawMessage, name, value string) {
	if !isSet(config[name]) {
		config[name] = json.RawMessage(value)
	}
}

// CheckTransport returns module as an HTTP transport. It returns an error if module is no HTTP transport, or if it uses
// HTTP/3. It also refuses a transport that works only inside reverse_proxy (fastcgi, the PROXY protocol).
func CheckTransport(module any) (http.RoundTripper, error) {
	transport, ok := module.(http.RoundTripper)
	if !ok {
		return nil, fmt.Errorf("%T is not an HTTP transport", module)
	}
	if info, ok := module.(caddy.Module); ok && info.CaddyModule().ID == TransportNamespace+".fastcgi" {
		return nil, errors.New("fastcgi is not supported: the chat API uses HTTP")
	}
	if t, ok := module.(reverseproxy.ProxyProtocolTransport); ok && t.ProxyProtocolEnabled() {
		return nil, errors.New("proxy_protocol is not supported: the upstream must not learn visitors' addresses")
	}
	// Caddy closes an HTTP/3 transport together with its config, which would cut streams that a reload must not touch.
	if t, ok := module.(*reverseproxy.HTTPTransport); ok && slices.Contains(t.Versions, "3") {
		return nil, errors.New("HTTP/3 to the upstream is not supported: a reload would cut open streams")
	}
	return transport, nil
}
