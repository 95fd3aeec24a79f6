package page

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// during makes the request, calls do while the page is busy with it, and returns what the page has seen by the end.
func (p page) during(tb testing.TB, request pageRequest, do func()) (view pageView) {
	tb.Helper()
	defer time.AfterFunc(sitetest.Patience, p.kill).Stop()
	if err := p.requests.Encode(request); err != nil {
		tb.Fatalf("asking the page: %v", err)
	}
	do()
	if err := p.views.Decode(&view); err != nil {
		tb.Fatalf("waiting for what the page sees: %v", err)
	}
	return view
}

// wantAnswer checks that the page saw the sandbox's usual answer once and whole.
func (v *pageView) wantAnswer(tb testing.TB, say string) {
	tb.Helper()
	if v.Error != (pageError{}) {
		tb.Errorf("the page saw the error %+v", v.Error)
	}
	if kinds := v.kinds(tb); kinds != wholeAnswer {
		tb.Errorf("the page saw the events %q, want %q", kinds, wholeAnswer)
	}
	if want := sitetest.SandboxText(tb, say); v.Text != want {
		tb.Errorf("the page saw the text %q, want %q", v.Text, want)
	}
	if !slices.Equal(v.States, []string{"done"}) {
		tb.Errorf("the turns are %q", v.States)
	}
}

// A page that leaves an answer does not stop it, and can continue it. A page that stops it cancels the upstream request, long
// before the grace is over.
func TestPageResumeLeavesOrStops(t *testing.T) {
	p := openPage(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	url := sitetest.Serve(t, sitetest.ChatTo(server, "resume {\ngrace 1h\n}")).Plain + sitetest.ChatPath
	aborted := pageError{Name: "Stopped", Message: "the visitor has seen enough"}
	for leave, want := range map[string]pageError{"detach": detached, "abort": aborted, "break": {}} {
		t.Run(leave, func(t *testing.T) {
			n := len(server.Requests())
			got := p.see(t, pageRequest{URL: url, Say: []string{"/burst 10 /endless"}, Stop: leave})
			got.wantFirstEvent(t, want)
			if !slices.Equal(got.States, []string{"open"}) {
				t.Errorf("the turn is %q", got.States)
			}

			got = p.see(t, pageRequest{URL: url, Stop: "stop"})
			if got.OpenQuestion != "/burst 10 /endless" {
				t.Errorf("the page continues the answer to %q", got.OpenQuestion)
			}
			got.wantFirstEvent(t, stoppedByPage)
			upstream := server.Request(t, n)
			upstream.Wait(t)
			if !upstream.Canceled() || len(server.Requests()) != n+1 {
				t.Errorf("the upstream was asked %d times; canceled: %t", len(server.Requests())-n, upstream.Canceled())
			}
		})
	}
	t.Run("stop", func(t *testing.T) {
		n := len(server.Requests())
		got := p.see(t, pageRequest{URL: url, Say: []string{"/burst 10 /endless"}, Stop: "stop"})
		got.wantFirstEvent(t, stoppedByPage)
		upstream := server.Request(t, n)
		upstream.Wait(t)
		if !upstream.Canceled() {
			t.Error("the upstream request was not canceled")
		}
	})
}

// An answer that the page has left for longer than the grace is canceled, and cannot be continued to its end.
func TestPageResumeAfterGrace(t *testing.T) {
	p := openPage(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	url := sitetest.Serve(t, sitetest.ChatTo(server, "resume {\ngrace 10ms\n}")).Plain + sitetest.ChatPath
	p.see(t, pageRequest{URL: url, Say: []string{"/burst 10 /endless"}, Stop: "detach"})
	upstream := server.Request(t, 0)
	upstream.Wait(t)
	if !upstream.Canceled() {
		t.Error("the upstream request was not canceled")
	}
	got := p.see(t, pageRequest{URL: url})
	if got.Error.Name != "ChatError" || !slices.Equal(got.States, []string{"failed"}) {
		t.Errorf("the turn is %q, and the error %+v", got.States, got.Error)
	}
}

// A question is paid for once if its response is lost.
func TestPageResumeAfterLostPost(t *testing.T) {
	p := openPage(t)
	events := make(steps)
	server := sandboxtest.NewServer(t, sandbox.Options{OnEvent: events.wait})
	n := newNetwork(t, sitetest.Serve(t, sitetest.ChatTo(server, "resume")))
	got := p.during(t, pageRequest{URL: n.url + sitetest.ChatPath, Say: []string{"Hello"}}, func() {
		server.Request(t, 0)
		n.each((*visitorConn).close)
		close(events)
	})
	got.wantAnswer(t, "Hello")
	if len(got.Retries) != 1 || got.Retries[0].Error.Code != "unreachable:connection" {
		t.Errorf("the page retried after %+v", got.Retries)
	}
	wantAskedOnce(t, server)
}

// A question is paid for once if its request arrives twice.
func TestPageResumeOfRepeatedRequest(t *testing.T) {
	p := openPage(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	url := sitetest.Serve(t, sitetest.ChatTo(server, "resume")).Plain + sitetest.ChatPath
	got := p.see(t, pageRequest{URL: url, Say: []string{"Hello"}, Twice: true})
	got.wantAnswer(t, "Hello")
	wantAskedOnce(t, server)
}

// A question is paid for once if the page is loaded anew before the first word: while the page waits for the response headers,
// and after them.
func TestPageResumeBeforeTheFirstWord(t *testing.T) {
	p := openPage(t)
	for name, tc := range map[string]struct{ stay, subdirectives string }{
		"before the headers": {"asked", ""},
		"after the headers":  {"opened", "commit_after 1ms"},
	} {
		t.Run(name, func(t *testing.T) {
			events := make(steps)
			server := sandboxtest.NewServer(t, sandbox.Options{OnEvent: events.wait})
			url := sitetest.Serve(t, sitetest.ChatTo(server, "resume\n"+tc.subdirectives)).Plain + sitetest.ChatPath
			p.see(t, pageRequest{URL: url, Say: []string{"Hello"}, Stay: tc.stay})
			server.Request(t, 0)
			p.see(t, pageRequest{Leave: true})
			got := p.during(t, pageRequest{URL: url}, func() { close(events) })
			got.wantAnswer(t, "Hello")
			if got.OpenQuestion != "Hello" {
				t.Errorf("the page continues the answer to %q", got.OpenQuestion)
			}
			wantAskedOnce(t, server)
		})
	}
}

// If the page is loaded anew in a pause before a retry, of the page or of the server, the question is asked again only by the
// one whose pause it is.
func TestPageResumeInRetryPause(t *testing.T) {
	p := openPage(t)
	for name, tc := range map[string]struct {
		stay, retry string
		exchanges   int
	}{
		"of the page":   {"opened", sitetest.Once, 2},
		"of the server": {"asked", "retry {\nattempts 2\nbackoff 1s 1s\n}", 1},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			var exchanges sync.Map // by the key that all attempts of one exchange share
			failed := make(chan struct{})
			answers := sandbox.New(sandbox.Options{})
			upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				exchanges.Store(r.Header.Get("Idempotency-Key"), true)
				if asked.Add(1) > 1 {
					answers.ServeHTTP(w, r)
					return
				}
				w.WriteHeader(http.StatusServiceUnavailable)
				close(failed)
			}))
			t.Cleanup(upstream.Close)
			url := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "resume\n"+tc.retry)).Plain + sitetest.ChatPath
			p.see(t, pageRequest{URL: url, Say: []string{"Hello"}, Stay: tc.stay})
			<-failed
			got := p.see(t, pageRequest{URL: url})
			got.wantAnswer(t, "Hello")
			if asked.Load() != 2 {
				t.Errorf("the upstream was asked %d times, want 2", asked.Load())
			}
			n := 0
			exchanges.Range(func(any, any) bool {
				n++
				return true
			})
			if n != tc.exchanges {
				t.Errorf("there were %d exchanges, want %d", n, tc.exchanges)
			}
		})
	}
}

// The client replaces a connection that is dead without a sign, after three heartbeats.
func TestPageResumeOverSilentConnection(t *testing.T) {
	p := openPage(t)
	events := make(steps)
	server := sandboxtest.NewServer(t, sandbox.Options{OnEvent: events.wait})
	n := newNetwork(t, sitetest.Serve(t, sitetest.ChatTo(server, "resume\nheartbeat 200ms")))
	got := p.during(t, pageRequest{URL: n.url + sitetest.ChatPath, Say: []string{"Hello"}, Heartbeat: 0.2}, func() {
		events <- struct{}{}
		sitetest.Eventually(t, "the page gets the first event", func() (is bool) {
			n.each(func(c *visitorConn) { is = is || c.used() })
			return is
		})
		n.each((*visitorConn).deafen)
		close(events)
	})
	got.wantAnswer(t, "Hello")
	if got.Reconnects == 0 {
		t.Error("the page did not reconnect")
	}
	wantAskedOnce(t, server)
}

// After a reload in the middle of an answer, the page sees it from its first event on.
func TestPageResumeAfterReload(t *testing.T) {
	p := openPage(t)
	events := make(steps)
	server := sandboxtest.NewServer(t, sandbox.Options{OnEvent: events.wait})
	url := sitetest.Serve(t, sitetest.ChatTo(server, "resume")).Plain + sitetest.ChatPath
	p.during(t, pageRequest{URL: url, Say: []string{"Hello"}, Stay: "opened"}, func() {
		for range 3 {
			events <- struct{}{}
		}
	})
	p.see(t, pageRequest{Leave: true})
	got := p.during(t, pageRequest{URL: url}, func() { close(events) })
	got.wantAnswer(t, "Hello")
	if got.ChatID == "" {
		t.Error("the page knows no chat")
	}
	wantAskedOnce(t, server)
}
