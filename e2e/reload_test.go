package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// Open streams go on over several reloads, while new requests get the new config.
func TestReloadsLoseNothing(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	// Each config knows the assistant under a name of its own.
	version := func(n int) string { return sitetest.ChatToURL(u.URL, fmt.Sprintf("alias v%d asst_demo", n)) }
	named := func(n int) string { return strings.Replace(sitetest.Hello, "asst_demo", fmt.Sprintf("v%d", n), 1) }

	s := sitetest.ServeWith(t, "", version(0))
	streams := sitetest.ConverseOverAll(t, s, u)
	for n := 1; n <= 3; n++ {
		s.Reload(version(n))
		for _, stream := range streams {
			stream.Step(t)
		}
		for proto, visitor := range sitetest.Protocols(t) {
			t.Run(fmt.Sprintf("%s after reload %d", proto, n), func(t *testing.T) {
				resp, err := visitor.RoundTrip(sitetest.ChatRequest(t, s.Secure, named(n-1)))
				if err != nil {
					t.Fatal(err)
				}
				defer resp.Body.Close()
				sitetest.WantError(t, resp, http.StatusForbidden, "forbidden:assistant")
				sitetest.Converse(t, u, visitor, sitetest.ChatRequest(t, s.Secure, named(n))).Finish(t)
			})
		}
	}
	for _, stream := range streams {
		stream.Step(t)
		stream.Finish(t)
	}
}

// After a reload, Caddy closes the old config's HTTP/3 connections when the grace period ends, so their streams get a
// finish before. All other streams go on.
func TestReloadTellsHTTP3BeforeTheGracePeriodEnds(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.ServeWith(t, "grace_period 1s", sitetest.ChatToURL(u.URL, ""))
	streams := sitetest.ConverseOverAll(t, s, u)
	s.Reload("header X-Config newer\n" + sitetest.ChatToURL(u.URL, ""))
	// A QUIC connection that comes during a reload can still be accepted by the old config.
	var visitor http.RoundTripper
	sitetest.Eventually(t, "a connection is with the new config", func() bool {
		visitor = sitetest.Protocols(t)["HTTP/3.0"]
		req := sitetest.ChatRequest(t, s.Secure, "")
		req.Method = http.MethodGet
		resp, err := visitor.RoundTrip(req)
		if err != nil {
			return false
		}
		defer resp.Body.Close()
		return resp.Header.Get("X-Config") == "newer"
	})
	newer := sitetest.Converse(t, u, visitor, sitetest.ChatRequest(t, s.Secure, sitetest.Hello))

	streams["HTTP/3.0"].IsShutDown(t, "HTTP/3.0")
	<-streams["HTTP/3.0"].Upstream.Over

	// Caddy logs this when it no longer waits for the other two streams.
	sitetest.Eventually(t, "the grace period has ended", func() bool { return strings.Contains(s.Log(), `"msg":"server shutdown"`) })
	streams["HTTP/3.0"] = newer // which belongs to the new config
	for _, stream := range streams {
		stream.Step(t)
		stream.Finish(t)
	}
}

// A chat over HTTP/3 whose body comes so late that no time is left for an answer gets an error, before Caddy closes the
// connection.
func TestReloadTellsHTTP3ThatItIsTooLate(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.ServeWith(t, "grace_period 4s", "route {\nbody_tap\n"+sitetest.ChatToURL(u.URL, "")+"\n}")
	visitor := sitetest.Protocols(t)["HTTP/3.0"]
	early := sitetest.Converse(t, u, visitor, sitetest.ChatRequest(t, s.Secure, sitetest.Hello))
	for len(tapped) > 0 {
		<-tapped
	}
	body, write := io.Pipe()
	late := sitetest.ChatRequest(t, s.Secure, "")
	late.Body, late.ContentLength = body, -1
	answered := make(chan *http.Response, 1)
	go func() {
		defer close(answered)
		resp, err := visitor.RoundTrip(late)
		if err != nil {
			t.Errorf("who is late gets no answer: %v", err)
			return
		}
		answered <- resp
	}()
	if _, err := io.WriteString(write, sitetest.Hello[:10]); err != nil {
		t.Fatal(err)
	}
	<-tapped
	s.Reload("respond gone")
	early.IsShutDown(t, "HTTP/3.0")
	_, _ = io.WriteString(write, sitetest.Hello[10:]) // if this fails, there is no answer
	write.Close()
	if resp := <-answered; resp != nil {
		defer resp.Body.Close()
		sitetest.WantError(t, resp, http.StatusServiceUnavailable, "shutting_down:proxy")
	}
	for len(tapped) > 0 {
		<-tapped
	}
}

// ours returns the stacks of goroutines that run code of the module for an exchange.
func ours() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for stack := range strings.SplitSeq(string(stacks), "\n\n") {
		if slices.ContainsFunc(strings.Split(stack, "\n"), isOurs) {
			found = append(found, stack)
		}
	}
	return strings.Join(found, "\n\n")
}

// isOurs reports whether a line of a stack names a function of the module that runs for an exchange. Functions of tests
// and their helpers do not count. Nor do goroutines that live as long as a config or a kept connection, or that look
// out for the exit.
func isOurs(line string) bool {
	function, ok := strings.CutPrefix(line, "github.com/illumichat/caddy-illumichat")
	if !ok || strings.Contains(function, ".(*lookout).run") || strings.Contains(function, ".(*readAhead).Read") {
		return false
	}
	return !slices.ContainsFunc([]string{"/e2e", "/internal/localhost.", "/internal/redistest.", "/internal/sitetest.", "/sandbox", "/store/redisstore."},
		func(other string) bool { return strings.HasPrefix(function, other) })
}

// However an exchange ends, it leaves no goroutine and no upstream request behind.
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
	s := sitetest.Serve(t, sitetest.ChatTo(server, "commit_after 10ms\nidle_timeout 50ms\nresponse_timeout 100ms\nheartbeat 5ms\nretry {\nbackoff 1ms\n}"+subdirectives))
	visitors := sitetest.Protocols(t)

	// An open exchange shows that the checks below can see one.
	ctx, leave := context.WithCancel(t.Context())
	s.Send(visitors["HTTP/1.1"], sitetest.ChatRequest(t, s.Secure, sitetest.Saying("/endless")).WithContext(ctx))
	if openExchangeCount() != 1 || ours() == "" {
		t.Error("an open exchange is not seen")
	}
	leave()

	const each = 5
	done := make(chan error)
	for _, visitor := range visitors {
		// This opens the connection that the visitors share: it must not depend on one who leaves soon.
		if err := exchangeOnce(t.Context(), visitor, s.Secure, "/events 1", false); err != nil {
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
					errs = errors.Join(errs, exchangeOnce(t.Context(), visitor, s.Secure, tc.command, tc.leaves))
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
	sitetest.Eventually(t, "all exchanges are closed", func() bool { return openExchangeCount() == 0 })
	sitetest.Eventually(t, "all goroutines have ended", func() bool { return ours() == "" })
	sitetest.Eventually(t, "the upstream's requests are over", func() bool { return server.Open() == 0 })
}

// exchangeOnce sends a chat and reads the answer to its end, or leaves after 30 ms.
func exchangeOnce(ctx context.Context, visitor http.RoundTripper, origin, command string, leaves bool) error {
	if leaves {
		var leave context.CancelFunc
		ctx, leave = context.WithTimeout(ctx, 30*time.Millisecond)
		defer leave()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, origin+sitetest.ChatPath, strings.NewReader(sitetest.Saying(command)))
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
