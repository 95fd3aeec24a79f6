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

const TransportNamespace = "http.reverse_proxy.transport"

// New returns a client that asks an endpoint by a transport, whose connections it prepares. An HTTP/2 connection that has
// been silent for half of idle is pinged.
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
	// Caddy has no option for this. An HTTP/2 connection that has died without a word takes one request after the
	// other. A ping finds that out before the connection has been silent for longer than a stream may be.
	ping := idle / 2
	t.Transport.HTTP2 = &http.HTTP2Config{SendPingTimeout: ping, PingTimeout: ping}
	return c
}

// mayShareConnections reports whether a connection may turn out to carry many requests at once.
func mayShareConnections(endpoint *url.URL, t *reverseproxy.HTTPTransport) bool {
	h2c := slices.Contains(t.Versions, "h2c")
	return h2c || endpoint.Scheme == "https" && slices.Contains(t.Versions, "2")
}

// TransportDefaults fills in what suits many small requests to one host, where the operator left it
// out: reverse_proxy's 32 kept connections would have most requests of a busy site dial anew, and a chat
// needs no large write buffer.
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

// unmarshalSet is json.Unmarshal for a value that may be left out.
func unmarshalSet(raw json.RawMessage, v any) error {
	if !isSet(raw) {
		return nil
	}
	return json.Unmarshal(raw, v)
}

// isSet reports whether there is a value; null is none.
func isSet(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func setDefault(config map[string]json.RawMessage, name, value string) {
	if !isSet(config[name]) {
		config[name] = json.RawMessage(value)
	}
}

// CheckTransport refuses transports that work only with reverse_proxy around them.
func CheckTransport(module any) (http.RoundTripper, error) {
	transport, ok := module.(http.RoundTripper)
	if !ok {
		return nil, fmt.Errorf("%T is no HTTP transport", module)
	}
	if info, ok := module.(caddy.Module); ok && info.CaddyModule().ID == TransportNamespace+".fastcgi" {
		return nil, errors.New("fastcgi is not supported: the chat API is spoken over HTTP")
	}
	if t, ok := module.(reverseproxy.ProxyProtocolTransport); ok && t.ProxyProtocolEnabled() {
		return nil, errors.New("proxy_protocol is not supported: nothing of a visitor's connection goes upstream")
	}
	// Caddy closes an HTTP/3 transport with its config, which would cut the streams that a reload must not touch.
	if t, ok := module.(*reverseproxy.HTTPTransport); ok && slices.Contains(t.Versions, "3") {
		return nil, errors.New("HTTP/3 to the upstream is not supported: a reload would cut open streams")
	}
	return transport, nil
}
