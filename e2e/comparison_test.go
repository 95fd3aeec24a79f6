package e2e

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// proxyPath is where the comparison's site has reverse_proxy.
const proxyPath = "/api/reverse-proxy"

// comparison sends the same chats through reverse_proxy and through the module.
type comparison struct {
	*sitetest.Site
	upstream *sitetest.Upstream
	tb       *testing.T
}

// compare serves a site with both, in front of an upstream that answers with answer. The reverse_proxy has the options that an
// expert sets for this API: it adds the token, removes cookies, and flushes each event.
func compare(t *testing.T, answer http.HandlerFunc, subdirectives string) comparison {
	t.Helper()
	upstream := sitetest.NewUpstream(t, answer)
	return comparison{tb: t, upstream: upstream, Site: sitetest.Serve(t, fmt.Sprintf(`handle %s {
		reverse_proxy %s {
			flush_interval -1
			header_up Authorization "Bearer %s"
			header_up -Cookie
		}
	}
	%s`, proxyPath, upstream.URL, sandbox.Token, sitetest.ChatToURL(upstream.URL, subdirectives)))}
}

// request returns a chat to a path of the site.
func (c comparison) request(ctx context.Context, path, chat string) *http.Request {
	req := sitetest.ChatRequest(c.tb, c.Plain, chat).WithContext(ctx)
	req.URL.Path = path
	return req
}

// outcome sends a chat and returns its status and how its body ends.
func (c comparison) outcome(req *http.Request) string {
	resp := c.Send(http.DefaultTransport, req)
	body, err := io.ReadAll(resp.Body)
	switch text := string(body); {
	case strings.Contains(text, sandbox.Token):
		return fmt.Sprint(resp.StatusCode, " with the token")
	case err != nil:
		return fmt.Sprint(resp.StatusCode, " cut")
	case strings.HasSuffix(text, sitetest.Finish):
		return fmt.Sprint(resp.StatusCode, " complete")
	default:
		return fmt.Sprint(resp.StatusCode, " ", regexp.MustCompile(`"code":"([^"]*)"|$`).FindStringSubmatch(text)[1])
	}
}

// want checks the outcomes of one chat.
func (c comparison) want(chat, proxy, ours string, header ...string) {
	t := c.tb
	t.Helper()
	for path, want := range map[string]string{proxyPath: proxy, sitetest.ChatPath: ours} {
		req := c.request(t.Context(), path, chat)
		for i := 0; i < len(header); i += 2 {
			req.Header.Set(header[i], header[i+1])
		}
		if got := c.outcome(req); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}

// starting answers with an event.
var starting = sitetest.Answering(http.StatusOK, sitetest.Delta, "Content-Type", "text/event-stream")

// comparedFaults are the rows of the README's comparison, by what happens.
var comparedFaults = map[string]func(*testing.T){
	"the API answers 503 once": func(t *testing.T) {
		var asked atomic.Int32
		c := compare(t, func(w http.ResponseWriter, r *http.Request) {
			if asked.Add(1)%2 == 1 {
				w.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			sitetest.Finishing(w, r)
		}, "retry {\nbackoff 1ms\n}")
		for path, want := range map[string]string{proxyPath: "503 ", sitetest.ChatPath: "200 complete"} {
			asked.Store(0)
			if got := c.outcome(c.request(t.Context(), path, sitetest.Hello)); got != want {
				t.Errorf("%s: got %q, want %q", path, got, want)
			}
		}
	},
	"the API's connection breaks in an answer": func(t *testing.T) {
		compare(t, sitetest.Breaking(starting), "").want(sitetest.Hello, "200 cut", "200 closed:upstream")
	},
	"the API falls silent in an answer": func(t *testing.T) {
		c := compare(t, sitetest.Stalling(starting), "idle_timeout 200ms")
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		resp := c.Send(http.DefaultTransport, c.request(ctx, proxyPath, sitetest.Hello))
		ended := make(chan struct{})
		go func() {
			_, _ = io.Copy(io.Discard, resp.Body)
			close(ended)
		}()
		// Several answers of ours end, one after another, while the proxy's is still open.
		for range 3 {
			if got := c.outcome(c.request(t.Context(), sitetest.ChatPath, sitetest.Hello)); got != "200 stalled:upstream" {
				t.Errorf("got %q", got)
			}
		}
		select {
		case <-ended:
			t.Error("the proxy's answer ends, too")
		default:
		}
	},
	"the API limits the rate (429)": func(t *testing.T) {
		c := compare(t, sitetest.Answering(http.StatusTooManyRequests, "", "Retry-After", "60"), "")
		for path, want := range map[string]int{proxyPath: 2, sitetest.ChatPath: 1} {
			c.upstream.Take()
			for range 2 {
				c.outcome(c.request(t.Context(), path, sitetest.Hello))
			}
			if got := len(c.upstream.Take()); got != want {
				t.Errorf("%s: the API is asked %d times for 2 chats, want %d", path, got, want)
			}
		}
	},
	"the API repeats the token in an error": func(t *testing.T) {
		compare(t, sitetest.Answering(http.StatusBadRequest, `{"error":"`+sandbox.Token+` may not do that","code":"bad_request:api"}`,
			"Content-Type", "application/json"), "").want(sitetest.Hello, "400 with the token", "400 bad_request:upstream")
	},
	"a page names another assistant": func(t *testing.T) {
		compare(t, sitetest.Finishing, "").want(strings.Replace(sitetest.Hello, "asst_demo", "asst_internal", 1), "200 complete", "403 forbidden:assistant")
	},
	"a page of another site asks": func(t *testing.T) {
		compare(t, sitetest.Finishing, "").want(sitetest.Hello, "200 complete", "403 forbidden:origin",
			"Origin", "https://elsewhere.example", "Sec-Fetch-Site", "cross-site")
	},
	"the visitor's connection is lost": func(t *testing.T) {
		goOn := make(chan struct{})
		c := compare(t, func(w http.ResponseWriter, r *http.Request) {
			starting(w, r)
			_ = http.NewResponseController(w).Flush()
			select {
			case <-goOn:
				_, _ = io.WriteString(w, sitetest.Finish)
			case <-r.Context().Done():
			}
		}, "resume")
		// lose reads an event, and loses the connection.
		lose := func(path string) (stream string) {
			ctx, leave := context.WithCancel(t.Context())
			defer leave()
			resp := c.Send(http.DefaultTransport, c.request(ctx, path, sitetest.Hello))
			sitetest.NextEvent(t, bufio.NewReader(resp.Body))
			return resp.Header.Get("Illumichat-Stream")
		}
		lose(proxyPath)
		stream := lose(sitetest.ChatPath)
		close(goOn)
		if got := sitetest.ReadAll(t, c.GoOn(t, stream, 1)); !strings.Contains(got, sitetest.Finish[:len(sitetest.Finish)-1]) {
			t.Errorf("the module's answer goes on with %q", got)
		}
		if asked := len(c.upstream.Take()); asked != 2 {
			t.Errorf("the API is asked %d times", asked)
		}
		if got := c.outcome(c.request(t.Context(), proxyPath, sitetest.Hello)); got != "200 complete" || len(c.upstream.Take()) != 1 {
			t.Errorf("the proxy's second answer is %q", got)
		}
	},
}

// Each row of the README's comparison is true of both.
func TestReverseProxyOnTheSameFaults(t *testing.T) {
	var rows []docstest.Row
	for _, table := range docstest.Read(t, "README.md").Tables() {
		if table.Column("`reverse_proxy`") == 1 {
			rows = table.Rows
		}
	}
	if len(rows) != len(comparedFaults) {
		t.Errorf("the README has %d rows, and this test %d", len(rows), len(comparedFaults))
	}
	for _, row := range rows {
		name := row.Cell(0)
		fault, ok := comparedFaults[name]
		if !ok {
			t.Errorf("no test is about %q", name)
			continue
		}
		t.Run(name, fault)
	}
}
