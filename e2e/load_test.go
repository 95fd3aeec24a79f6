package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// No answer is cut short under load, when connections are reused the moment they are free. A proxy that forwards the
// visitor's body while reading it was seen to lose one answer in 5,000, so fewer than twice as many chats would prove
// little.
func TestAnswersAreWholeUnderLoad(t *testing.T) {
	const visitors = 64
	chats := int64(10_000)
	if testing.Short() {
		chats = 2_000
	}
	want := sitetest.Numbered(1) + sitetest.Numbered(2) + sitetest.Numbered(3) + sitetest.Finish
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		first, rest, _ := strings.Cut(want, "\n\n")
		_, _ = io.WriteString(w, first+"\n\n")
		_ = http.NewResponseController(w).Flush()
		_, _ = io.WriteString(w, rest)
	}))
	t.Cleanup(upstream.Close)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, ""))

	var connections atomic.Int64
	transport := &http.Transport{
		MaxIdleConnsPerHost: visitors,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			connections.Add(1)
			return new(net.Dialer).DialContext(ctx, network, address)
		},
	}
	t.Cleanup(transport.CloseIdleConnections)
	var asked atomic.Int64
	failed := make(chan error, visitors)
	var wg sync.WaitGroup
	for range visitors {
		wg.Go(func() {
			for asked.Add(1) <= chats {
				if err := askWhole(t, s, transport, want); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	wg.Wait()
	close(failed)
	var errs error
	for err := range failed {
		errs = errors.Join(errs, err)
	}
	if errs != nil {
		t.Error(errs)
	}
	// Otherwise the test would not use kept connections.
	if n := connections.Load(); n > 2*visitors {
		t.Errorf("%d connections were opened for %d visitors", n, visitors)
	}
}

func askWhole(tb testing.TB, s *sitetest.Site, transport http.RoundTripper, want string) error {
	resp, err := transport.RoundTrip(sitetest.ChatRequest(tb, s.Plain, sitetest.Hello))
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return fmt.Errorf("reading the answer: %w after %q", err, body)
	}
	if resp.StatusCode != http.StatusOK || string(body) != want {
		return fmt.Errorf("got %s, %q", resp.Status, body)
	}
	return nil
}

// A chat's body is not kept in memory while its answer streams. net/http by itself would keep it.
func TestStreamMemoryOfALargeChat(t *testing.T) {
	const streams, size = 30, 500_000
	end := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, sitetest.Delta)
		_ = http.NewResponseController(w).Flush()
		<-end
		_, _ = io.WriteString(w, sitetest.Finish)
	}))
	t.Cleanup(upstream.Close)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, ""))
	transport := &http.Transport{MaxIdleConnsPerHost: streams}
	t.Cleanup(transport.CloseIdleConnections)
	chat := sitetest.Saying(strings.Repeat("x", size))
	readAllLater := func(n int) (answers []*http.Response) {
		for range n {
			answers = append(answers, s.Send(transport, sitetest.ChatRequest(t, s.Plain, chat)))
		}
		return answers
	}
	answers := readAllLater(1) // allocates what is allocated only once
	before := sitetest.UsedMemory()
	answers = append(answers, readAllLater(streams)...)
	per := (sitetest.UsedMemory() - before) / streams
	close(end)
	for _, resp := range answers {
		sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp))
	}
	t.Logf("%d bytes a stream, of the visitor's and the upstream's ends too", per)
	if per > size/2 {
		t.Errorf("a stream takes %d bytes while its chat has %d", per, size)
	}
}
