package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// unixSite is a site whose chat is served at a Unix socket, as behind a proxy on the same machine.
type unixSite struct {
	*sitetest.Site
	transport *http.Transport
}

// serveUnix serves an illumichat directive with the subdirectives at a Unix socket.
func serveUnix(t *testing.T, servers, endpoint, subdirectives string) unixSite {
	t.Helper()
	dir, err := os.MkdirTemp("", "chat") // the path of a Unix socket has to be short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "socket")
	// The directives of the other sites end here, and this site begins.
	s := sitetest.ServeWith(t, "grace_period 1ms\n"+servers,
		fmt.Sprintf("respond 204\n}\nhttp://unix.example {\nbind unix/%s\n%s", socket, sitetest.ChatToURL(endpoint, subdirectives)))
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", socket)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return unixSite{s, transport}
}

// ask posts a chat. client is the address that a proxy in front would tell; "" for none.
func (s unixSite) ask(t *testing.T, client, chat string) *http.Response {
	t.Helper()
	req := sitetest.ChatRequest(t, "http://unix.example", chat)
	if client != "" {
		req.Header.Set("X-Forwarded-For", client)
	}
	return s.Send(s.transport, req)
}

// wantNoClientTold checks that the log says, once, that clients without an address are refused together, and what to do.
func wantNoClientTold(t *testing.T, s unixSite, piece string) {
	t.Helper()
	for _, line := range wantTold(t, s.Site, "warn", piece, 1) {
		for _, named := range []string{"trusted_proxies", "client_ip_headers", "Unix socket"} {
			if !strings.Contains(line.Hint, named) {
				t.Errorf("the hint does not name %s: %s", named, line.raw)
			}
		}
		if !strings.Contains(line.raw, `"key_is_empty":true`) {
			t.Errorf("the line does not say that the key is empty: %s", line.raw)
		}
	}
}

// The ways in which Caddy comes to know no address: it does not trust the other end of the socket, or the trusted proxy
// tells none.
var withoutClient = map[string]string{"not trusted": "", "trusted": "servers {\ntrusted_proxies_unix\n}"}

// Behind a Unix socket, all clients are one if Caddy does not know their addresses. When max_streams_per_client refuses
// a chat because of that, the log says so.
func TestSlotsOfClientsWithoutAnAddress(t *testing.T) {
	for what, servers := range withoutClient {
		t.Run(what, func(t *testing.T) {
			server := sandboxtest.NewServer(t, sandbox.Options{})
			s := serveUnix(t, servers, server.URL, "max_streams_per_client 1\nresume")
			open := s.ask(t, "", sitetest.Saying("/endless"))
			defer open.Body.Close()
			for range 2 {
				sitetest.WantError(t, s.ask(t, "", sitetest.Hello), http.StatusTooManyRequests, "rate_limit:chat")
			}
			wantNoClientTold(t, s, "max_streams_per_client")
		})
	}
}

// The same holds for a limit with the default key.
func TestLimitsOfClientsWithoutAnAddress(t *testing.T) {
	for what, servers := range withoutClient {
		t.Run(what, func(t *testing.T) {
			upstream := sitetest.NewUpstream(t, sitetest.Finishing)
			s := serveUnix(t, servers, upstream.URL, "limit 1 1h")
			sitetest.ReadAll(t, s.ask(t, "", sitetest.Hello))
			for range 2 {
				sitetest.WantError(t, s.ask(t, "", sitetest.Hello), http.StatusTooManyRequests, "rate_limit:chat")
			}
			wantNoClientTold(t, s, "is used up")
		})
	}
}

// A key that has the client beside another placeholder is empty as well, however Caddy names the other end of the socket.
// Otherwise a visitor without an address could have a new count for each value of a header.
func TestCompositeKeysOfClientsWithoutAnAddress(t *testing.T) {
	for what, servers := range withoutClient {
		for _, client := range []string{"client_ip", "remote_host", "http.request.remote.host/24"} {
			t.Run(what+" "+client, func(t *testing.T) {
				upstream := sitetest.NewUpstream(t, sitetest.Finishing)
				s := serveUnix(t, servers, upstream.URL, `limit 1 1h "{`+client+`} {http.request.header.X-Tenant}"`)
				for n, want := range []int{http.StatusOK, http.StatusTooManyRequests} {
					req := sitetest.ChatRequest(t, "http://unix.example", sitetest.Hello)
					req.Header.Set("X-Tenant", fmt.Sprint(n))
					resp := s.Send(s.transport, req)
					sitetest.ReadAll(t, resp)
					if resp.StatusCode != want {
						t.Errorf("tenant %d got status %d, want %d", n, resp.StatusCode, want)
					}
				}
			})
		}
	}
}

// Visitors without an address are not one owner: none of their answers can be resumed.
func TestOwnersWithoutAnAddress(t *testing.T) {
	for what, servers := range withoutClient {
		for _, owner := range []string{"client_ip", "remote_host"} {
			t.Run(what+" "+owner, func(t *testing.T) {
				server := sandboxtest.NewServer(t, sandbox.Options{})
				s := serveUnix(t, servers, server.URL, "resume {\nowner {"+owner+"}\n}")
				resp := s.ask(t, "", sitetest.Hello)
				sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp))
				if id := resp.Header.Get("Illumichat-Stream"); id != "" {
					t.Errorf("an answer of all visitors has the id %q", id)
				}
			})
		}
	}
}

// If the trusted proxy tells the address, each client has slots and limits of its own, and the log says nothing.
func TestClientsBehindATrustedSocket(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := serveUnix(t, "servers {\ntrusted_proxies_unix\n}", server.URL, "max_streams_per_client 1\nlimit 2 1h")
	for _, client := range []string{"192.0.2.1", "192.0.2.2"} {
		open := s.ask(t, client, sitetest.Saying("/endless"))
		if open.StatusCode != http.StatusOK {
			t.Errorf("%s got status %d", client, open.StatusCode)
		}
		sitetest.WantError(t, s.ask(t, client, sitetest.Hello), http.StatusTooManyRequests, "rate_limit:chat")
		defer open.Body.Close()
	}
	wantTold(t, s.Site, "warn", "max_streams_per_client", 0)
	wantTold(t, s.Site, "warn", "is used up", 0)
}
