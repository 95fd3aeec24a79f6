package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// These tests are those of docs/troubleshooting.md: each row is reproduced, and its remedy works. The files
// troubleshooting_*_test.go have the rows of one part of the page each.

// notReproduced marks a row that no test reproduces.
const notReproduced = "*not reproduced*"

// symptom is what a row of the page says that one sees.
type symptom struct {
	id     string
	text   string
	looked bool
}

// code matches a code span.
var code = regexp.MustCompile("`([^`]+)`")

// wantIn checks that seen has all words that the row quotes, in any order. In a quotation, "…" stands for words that
// differ.
func (s *symptom) wantIn(t *testing.T, seen string) {
	t.Helper()
	s.looked = true
	for _, quoted := range code.FindAllStringSubmatch(s.text, -1) {
		rest := seen
		for piece := range strings.SplitSeq(quoted[1], "…") {
			_, after, found := strings.Cut(rest, piece)
			if !found {
				t.Errorf("the row says that one sees %q, but that is not in\n%s", quoted[1], seen)
				break
			}
			rest = after
		}
	}
}

// reproductions reproduce the rows, by the ids of their anchors. Each checks that the cause has the symptom, and that it
// has gone with the remedy.
var reproductions = []map[string]func(*testing.T, *symptom){
	configTroubles, errorTroubles, streamTroubles, limitTroubles, proxyTroubles, resumeTroubles, pageTroubles,
}

// troubles returns the rows of the page.
func troubles(t *testing.T) []*symptom {
	t.Helper()
	page := docstest.Read(t, "docs/troubleshooting.md").Text
	var rows []*symptom
	known := make(map[string]bool)
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "| ") || strings.HasPrefix(line, "| you see ") {
			continue
		}
		row := regexp.MustCompile(`^\| <a id="([a-z0-9-]+)"></a>(.+?) \| .+ \| .+ \|$`).FindStringSubmatch(strings.TrimSpace(line))
		if row == nil {
			t.Errorf("this row has no anchor, or not three cells: %s", line)
			continue
		}
		if known[row[1]] || strings.Contains(page, "(#"+row[1]+")") { // the page links its headings
			t.Errorf("the anchor %s is not the only one", row[1])
		}
		known[row[1]] = true
		rows = append(rows, &symptom{id: row[1], text: row[2]})
	}
	return rows
}

// Each row of the page is reproduced, and each reproduction has a row.
func TestTroubleshooting(t *testing.T) {
	all := make(map[string]func(*testing.T, *symptom))
	for _, part := range reproductions {
		for id, reproduce := range part {
			if all[id] != nil {
				t.Errorf("%s is reproduced twice", id)
			}
			all[id] = reproduce
		}
	}
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	rows := troubles(t)
	if len(rows) < 20 {
		t.Errorf("the page has %d rows", len(rows))
	}
	for _, row := range rows {
		reproduce := all[row.id]
		delete(all, row.id)
		switch marked := strings.Contains(row.text, notReproduced); {
		case reproduce == nil && !marked:
			t.Errorf("no test reproduces the row %s", row.id)
		case reproduce != nil && marked:
			t.Errorf("the row %s says that it is not reproduced, but it is", row.id)
		case reproduce != nil:
			t.Run(row.id, func(t *testing.T) {
				reproduce(t, row)
				if !row.looked && !t.Skipped() {
					t.Error("the test does not look for the symptom")
				}
			})
		}
	}
	for id := range all {
		t.Errorf("the page has no row %s", id)
	}
}

// around are the servers around the sites of these tests. Directives name them by words in capital letters.
type around struct {
	upstream string // UPSTREAM
	root     string // ROOT: the folder of a single-page site
	app      string // APP: an application, which answers "the application"
}

// newAround starts the servers. The upstream is a sandbox if answer is nil.
func newAround(t *testing.T, answer http.HandlerFunc) around {
	t.Helper()
	a := around{root: pages(t)}
	if answer == nil {
		a.upstream = sandboxtest.NewServer(t, sandbox.Options{}).URL
	} else {
		a.upstream = sitetest.NewUpstream(t, answer).URL
	}
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "the application") }))
	t.Cleanup(app.Close)
	a.app = app.URL
	return a
}

// in replaces the names of the servers in a text.
func (a around) in(directives string) string {
	return strings.NewReplacer("UPSTREAM", a.upstream, "ROOT", a.root, "APP", a.app).Replace(directives)
}

// chatAt returns an illumichat directive with a path, or without one if path is empty, and further subdirectives.
func chatAt(path, subdirectives string) string {
	endpoint := "endpoint UPSTREAM"
	if strings.Contains(subdirectives, "endpoint ") {
		endpoint = ""
	}
	return fmt.Sprintf("illumichat %s {\ntoken {env.ILLUMICHAT_API_TOKEN}\nassistants asst_demo\n%s\n%s\n}\n", path, endpoint, subdirectives)
}

// chatOf returns the directive of a chat at the usual path.
func chatOf(subdirectives string) string { return chatAt(sitetest.ChatPath, subdirectives) }

// visiting is a site and what a visitor does there.
type visiting struct {
	global, directives string
	request            func(t *testing.T, s *sitetest.Site) *http.Request // nil: a chat
}

// see serves the site, or reloads it if it is served already, and returns what the visitor gets.
func (v visiting) see(t *testing.T, s *sitetest.Site, a around) string {
	t.Helper()
	s.Global = "grace_period 1ms\n" + v.global
	s.Reload(a.in(v.directives))
	if v.request == nil {
		v.request = hello
	}
	return seen(t, s.Send(sitetest.OneShot, v.request(t, s)))
}

// hello returns a chat that the sandbox answers.
func hello(t *testing.T, s *sitetest.Site) *http.Request {
	t.Helper()
	return sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
}

// saying returns a request that says text.
func saying(text string) func(t *testing.T, s *sitetest.Site) *http.Request {
	return func(t *testing.T, s *sitetest.Site) *http.Request {
		t.Helper()
		return sitetest.ChatRequest(t, s.Plain, sitetest.Saying(text))
	}
}

// sending returns a POST to a path of the site.
func sending(path, contentType, body string) func(t *testing.T, s *sitetest.Site) *http.Request {
	return func(t *testing.T, s *sitetest.Site) *http.Request {
		t.Helper()
		req := sitetest.ChatRequest(t, s.Plain, body)
		req.URL.Path = path
		req.Header.Set("Content-Type", contentType)
		return req
	}
}

// seen returns a response as text.
func seen(t *testing.T, resp *http.Response) string {
	t.Helper()
	text, err := httputil.DumpResponse(resp, true)
	if err != nil {
		t.Fatalf("reading the response: %v", err)
	}
	return string(text)
}

// served returns a site for a test that loads its config. It is not served yet.
func served(t *testing.T) *sitetest.Site {
	t.Helper()
	s := sitetest.New(t, "")
	t.Cleanup(func() { _ = caddy.Stop() })
	return s
}

// mended returns the reproduction of a row that a visitor sees in the answer to one request, or the operator in the log. With
// the cause, the row's symptom is there. With the remedy, the chat is answered.
func mended(cause, remedy visiting) func(*testing.T, *symptom) { return mendedWith(nil, cause, remedy) }

// mendedWith is mended for an upstream that answers with answer. A nil answer stands for the sandbox.
func mendedWith(answer http.HandlerFunc, cause, remedy visiting) func(*testing.T, *symptom) {
	return func(t *testing.T, row *symptom) {
		a, s := newAround(t, answer), served(t)
		got := cause.see(t, s, a)
		row.wantIn(t, got+s.Log())
		if strings.Contains(row.text, "an empty body") && !strings.HasSuffix(got, "\r\n\r\n") {
			t.Errorf("the body is not empty: %s", got)
		}
		wantAnswered(t, remedy.see(t, s, a))
	}
}

// wantAnswered checks that what a visitor has seen is an answer up to the finish of the upstream.
func wantAnswered(t *testing.T, got string) {
	t.Helper()
	if !strings.HasPrefix(got, "HTTP/1.1 200 ") || strings.Count(got, `"type":"finish"`) != 1 || !strings.Contains(got, `"finishReason":"stop"`) {
		t.Errorf("with the remedy, the chat is not answered:\n%s", got)
	}
}

// heldBack sends a chat to url, whose upstream is u. It reports whether the first event does not arrive within wait, while
// nothing follows it.
func heldBack(t *testing.T, u *sitetest.HandUpstream, url string, wait time.Duration) bool {
	t.Helper()
	first := make(chan struct{})
	over := make(chan struct{})
	go func() {
		defer close(over)
		resp, err := sitetest.OneShot.RoundTrip(sitetest.ChatRequest(t, url, sitetest.Hello))
		if err != nil {
			t.Errorf("sending the request: %v", err)
			return
		}
		defer resp.Body.Close()
		if _, err := io.ReadFull(resp.Body, make([]byte, len(sitetest.Numbered(1)))); err != nil {
			t.Errorf("reading the first event: %v", err)
			return
		}
		close(first)
		if rest, err := io.ReadAll(resp.Body); err != nil || string(rest) != sitetest.Finish {
			t.Errorf("the answer ends with %q, %v", rest, err)
		}
	}()
	answer := u.Next(t)
	answer.Say(t, sitetest.Numbered(1))
	held := !closedWithin(wait, first)
	answer.Say(t, sitetest.Finish)
	answer.End()
	<-over
	return held
}

// aWhile is how long a test waits for what must not happen.
const aWhile = 300 * time.Millisecond

// closedWithin reports whether c is closed within wait.
func closedWithin(wait time.Duration, c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	case <-time.After(wait):
		return false
	}
}
