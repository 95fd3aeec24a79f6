package illumichat

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// converseOverAll opens a stream over each protocol.
func converseOverAll(tb testing.TB, s *site, u *handUpstream) map[string]*conversation {
	tb.Helper()
	streams := make(map[string]*conversation)
	for proto, visitor := range protocols(tb) {
		streams[proto] = converse(tb, u, visitor, chatRequest(tb, s.secure, hello))
		if got := streams[proto].response.Proto; got != proto {
			tb.Fatalf("the answer came over %s, want %s", got, proto)
		}
	}
	return streams
}

func TestReloadsLoseNothing(t *testing.T) {
	u := newHandUpstream(t)
	// Each config knows the assistant under a name of its own.
	version := func(n int) string { return chatToURL(u.url, fmt.Sprintf("alias v%d asst_demo", n)) }
	named := func(n int) string { return strings.Replace(hello, "asst_demo", fmt.Sprintf("v%d", n), 1) }

	s := serveWith(t, "", version(0))
	streams := converseOverAll(t, s, u)
	for n := 1; n <= 3; n++ {
		s.reload(version(n))
		for _, stream := range streams {
			stream.step(t)
		}
		for proto, visitor := range protocols(t) {
			t.Run(fmt.Sprintf("%s after reload %d", proto, n), func(t *testing.T) {
				resp, err := visitor.RoundTrip(chatRequest(t, s.secure, named(n-1)))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				wantError(t, resp, http.StatusForbidden, "forbidden:assistant")
				converse(t, u, visitor, chatRequest(t, s.secure, named(n))).finish(t)
			})
		}
	}
	for _, stream := range streams {
		stream.step(t)
		stream.finish(t)
	}
}

// Caddy closes the HTTP/3 connections of a replaced config when the grace period ends, and no others.
func TestReloadTellsHTTP3BeforeTheGracePeriodEnds(t *testing.T) {
	u := newHandUpstream(t)
	s := serveWith(t, "grace_period 1s", chatToURL(u.url, ""))
	streams := converseOverAll(t, s, u)
	s.reload("header X-Config newer\n" + chatToURL(u.url, ""))
	// A QUIC connection that comes during a reload can still be accepted by the old config.
	var visitor http.RoundTripper
	eventually(t, "a connection is with the new config", func() bool {
		visitor = protocols(t)["HTTP/3.0"]
		req := chatRequest(t, s.secure, "")
		req.Method = http.MethodGet
		resp, err := visitor.RoundTrip(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.Header.Get("X-Config") == "newer"
	})
	newer := converse(t, u, visitor, chatRequest(t, s.secure, hello))

	streams["HTTP/3.0"].isShutDown(t, "HTTP/3.0")
	<-streams["HTTP/3.0"].upstream.over

	// This is what Caddy logs when it has waited long enough for the other two.
	eventually(t, "the grace period has ended", func() bool { return strings.Contains(s.log(), `"msg":"server shutdown"`) })
	streams["HTTP/3.0"] = newer // which is none of the old config's
	for _, stream := range streams {
		stream.step(t)
		stream.finish(t)
	}
}

// ours finds the goroutines that run code of this package.
func ours() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		for _, method := range []string{".(*Handler).ServeHTTP", ".(*exchange).", ".(*relay).", ".(*sink).", ".(*watch)."} {
			if strings.Contains(stack, "caddy-illumichat"+method) {
				found = append(found, stack)
				break
			}
		}
	}
	return strings.Join(found, "\n\n")
}

func openExchangeCount() int {
	openExchanges.mu.Lock()
	defer openExchanges.mu.Unlock()
	return len(openExchanges.set)
}

func TestNothingIsLeftOfAnExchange(t *testing.T) {
	const soon = "resume {\ngrace 50ms\nkeep 50ms\n}"
	for name, subdirectives := range map[string]func(*testing.T) string{
		"":                   func(*testing.T) string { return "" },
		"resumable":          func(*testing.T) string { return soon },
		"resumable in Redis": func(t *testing.T) string { return strings.Replace(resumableInRedis(t), "resume", soon, 1) },
	} {
		t.Run(name, func(t *testing.T) { nothingIsLeft(t, "\n"+subdirectives(t)) })
	}
}

func nothingIsLeft(t *testing.T, subdirectives string) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := serve(t, chatTo(server, "commit_after 10ms\nidle_timeout 50ms\nresponse_timeout 100ms\nheartbeat 5ms\nretry {\nbackoff 1ms\n}"+subdirectives))
	visitors := protocols(t)

	// The checks below must be able to see something.
	ctx, leave := context.WithCancel(t.Context())
	s.send(visitors["HTTP/1.1"], chatRequest(t, s.secure, saying("/endless")).WithContext(ctx))
	if openExchangeCount() != 1 || ours() == "" {
		t.Error("an open exchange is not seen")
	}
	leave()

	const each = 5
	done := make(chan error)
	for _, visitor := range visitors {
		// A connection that is shared must not depend on the patience of one who leaves.
		if err := exchangeOnce(t.Context(), visitor, s.secure, "/events 1", false); err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct {
			command string
			leaves  bool
		}{
			{"/events 100", false},
			{"/large 200000", false},
			{"/cut", false},
			{"/reset", false},
			{"/reset 0", false},
			{"/stall", false},
			{"/silent", false},
			{"/hang", false},
			{"/status 500", false},
			{"/json", false},
			{"/talk-on 20ms", false},
			{"/echo-token", false},
			{"/endless", true},
			{"/endless-event", true},
			{"/silent", true},
		} {
			go func() {
				var errs error
				for range each {
					errs = errors.Join(errs, exchangeOnce(t.Context(), visitor, s.secure, tc.command, tc.leaves))
				}
				done <- errs
			}()
		}
	}
	for range len(visitors) * 15 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	eventually(t, "all exchanges are closed", func() bool { return openExchangeCount() == 0 })
	eventually(t, "all goroutines have ended", func() bool { return ours() == "" })
	eventually(t, "the upstream's requests are over", func() bool { return server.Open() == 0 })
}

// exchangeOnce sends a chat and reads the answer to its end, or leaves soon.
func exchangeOnce(ctx context.Context, visitor http.RoundTripper, origin, command string, leaves bool) error {
	if leaves {
		var leave context.CancelFunc
		ctx, leave = context.WithTimeout(ctx, 30*time.Millisecond)
		defer leave()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, origin+chatPath, strings.NewReader(saying(command)))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := visitor.RoundTrip(req)
	if err == nil {
		_, err = io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if err != nil && !leaves {
		return fmt.Errorf("%s: %w", command, err)
	}
	return nil
}
