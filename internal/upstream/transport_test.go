package upstream

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// loadHTTPTransport applies the defaults to a transport's config, and provisions the transport as Caddy does.
func loadHTTPTransport(t *testing.T, config string) *reverseproxy.HTTPTransport {
	t.Helper()
	raw, err := TransportDefaults(json.RawMessage(config))
	if err != nil {
		t.Fatal(err)
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		t.Fatal(err)
	}
	if got := string(fields["protocol"]); got != `"http"` {
		t.Fatalf("the transport is %s", got)
	}
	delete(fields, "protocol") // the field names the module and is no option
	if raw, err = json.Marshal(fields); err != nil {
		t.Fatal(err)
	}
	transport := new(reverseproxy.HTTPTransport)
	if err := caddy.StrictUnmarshalJSON(raw, transport); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: context.Background()})
	t.Cleanup(cancel)
	if err := transport.Provision(ctx); err != nil {
		t.Fatal(err)
	}
	return transport
}

func TestTransportDefaults(t *testing.T) {
	tests := []struct {
		transport              string
		idlePerHost, writeSize int
		idleTimeout            time.Duration
	}{
		{`null`, 1024, 1024, 2 * time.Minute},
		{`{}`, 1024, 1024, 2 * time.Minute},
		{`{"protocol": "http"}`, 1024, 1024, 2 * time.Minute},
		{`{"protocol": "http", "keep_alive": {"idle_timeout": "7s"}}`, 1024, 1024, 7 * time.Second},
		{`{"protocol": "http", "keep_alive": {"max_idle_conns_per_host": 8}}`, 8, 1024, 2 * time.Minute},
		{`{"protocol": "http", "write_buffer_size": 4096}`, 1024, 4096, 2 * time.Minute},
		{`{"protocol": "http", "keep_alive": null, "write_buffer_size": null}`, 1024, 1024, 2 * time.Minute},
	}
	for _, test := range tests {
		t.Run(test.transport, func(t *testing.T) {
			transport := loadHTTPTransport(t, test.transport).Transport
			if got := transport.MaxIdleConnsPerHost; got != test.idlePerHost {
				t.Errorf("it keeps %d idle connections, want %d", got, test.idlePerHost)
			}
			if got := transport.WriteBufferSize; got != test.writeSize {
				t.Errorf("its write buffer has %d bytes, want %d", got, test.writeSize)
			}
			if got := transport.IdleConnTimeout; got != test.idleTimeout {
				t.Errorf("it keeps idle connections for %s, want %s", got, test.idleTimeout)
			}
		})
	}
}
