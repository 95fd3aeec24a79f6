package site

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/cause"
)

// adminTimeout is how long one request to the admin API may take.
const adminTimeout = 5 * time.Second

// adminAPI is Caddy's admin API.
//
// caddycmd.AdminAPIRequest has no context, and keeps a connection open after each request.
type adminAPI struct {
	host   string
	origin string // enforce_origin requires it at a TCP address; at a socket, Caddy accepts none
	client http.Client
}

// newAdminAPI returns the admin API at an address, which has been checked.
func newAdminAPI(address string) *adminAPI {
	parsed, _ := caddy.ParseNetworkAddress(address)
	host := parsed.JoinHostPort(0)
	dial, origin := host, "http://"+host
	if parsed.IsUnixNetwork() {
		dial, _, _ = strings.Cut(parsed.Host, "|") // the file's permissions may follow
		host, origin = "127.0.0.1", ""             // Caddy requires this host at a socket
	}
	return &adminAPI{host: host, origin: origin, client: http.Client{Timeout: adminTimeout, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, parsed.Network, dial)
		},
	}}}
}

// get returns the body of an answer. The caller closes it.
func (a *adminAPI) get(ctx context.Context, path string) (io.ReadCloser, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+a.host+path, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("User-Agent", userAgent)
	if a.origin != "" {
		req.Header.Set("Origin", a.origin)
	}
	resp, err := a.client.Do(req)
	if err != nil {
		return nil, cause.Of(err)
	}
	if resp.StatusCode != http.StatusOK {
		resp.Body.Close()
		return nil, fmt.Errorf("it answers %d", resp.StatusCode)
	}
	return resp.Body, nil
}

var errNoHandlers = errors.New("it lists no chat")

// open returns how many chats are open, for each handler.
func (a *adminAPI) open(ctx context.Context) ([]int, error) {
	body, err := a.get(ctx, "/illumichat/")
	if err != nil {
		return nil, err
	}
	defer body.Close()
	var handlers []struct {
		Streams struct {
			Open int `json:"open"`
		} `json:"streams"`
	}
	if err := json.NewDecoder(body).Decode(&handlers); err != nil || len(handlers) == 0 {
		return nil, errNoHandlers
	}
	open := make([]int, len(handlers))
	for i, h := range handlers {
		open[i] = h.Streams.Open
	}
	return open, nil
}

// firstEvents is how many answers have begun, and how long their first events took in all.
type firstEvents struct {
	count int
	took  time.Duration
}

// firstEvents reads the metrics.
func (a *adminAPI) firstEvents(ctx context.Context) (f firstEvents, err error) {
	body, err := a.get(ctx, "/metrics")
	if err != nil {
		return f, err
	}
	defer body.Close()
	const metric = "caddy_illumichat_first_event_seconds_"
	lines := bufio.NewScanner(body)
	for lines.Scan() {
		name, ok := strings.CutPrefix(lines.Text(), metric)
		if !ok {
			continue
		}
		value, err := strconv.ParseFloat(name[strings.LastIndexByte(name, ' ')+1:], 64)
		switch {
		case err != nil:
		case strings.HasPrefix(name, "count"):
			f.count += int(value)
		case strings.HasPrefix(name, "sum"):
			f.took += time.Duration(value * float64(time.Second))
		}
	}
	return f, lines.Err()
}

// sentFirst returns how long the chat took to send its first event, if that was the only one since before. Otherwise it
// returns 0.
func (c *checker) sentFirst(ctx context.Context, before firstEvents) time.Duration {
	after, err := c.admin.firstEvents(ctx)
	if err != nil || after.count != before.count+1 {
		return 0
	}
	return after.took - before.took
}
