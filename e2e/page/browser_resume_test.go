package page

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	cdpnetwork "github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// network is a TCP proxy between a browser and a site. A test can break its connections.
type network struct {
	url string

	mu       sync.Mutex
	visitors map[*visitorConn]bool
}

// visitorConn is the browser's side of a connection.
type visitorConn struct {
	net.Conn

	mu   sync.Mutex
	last time.Time // of the last write
	dead bool      // writes are discarded
}

func (c *visitorConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead {
		return len(p), nil
	}
	c.last = time.Now()
	return c.Conn.Write(p)
}

func (c *visitorConn) close() { c.Close() }

// silence makes a connection in use discard all writes from now on, and closes an idle one. A connection is in use if its
// last write is less than 100 ms ago.
func (c *visitorConn) silence() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead = time.Since(c.last) < 100*time.Millisecond; !c.dead {
		c.Close()
	}
}

// newNetwork forwards connections to a site until the test ends.
func newNetwork(tb testing.TB, s *sitetest.Site) *network {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	n := &network{url: "http://" + listener.Addr().String(), visitors: make(map[*visitorConn]bool)}
	tb.Cleanup(func() {
		listener.Close()
		n.each((*visitorConn).close)
	})
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go n.pass(&visitorConn{Conn: conn}, strings.TrimPrefix(s.Plain, "http://"))
		}
	}()
	return n
}

// pass forwards one connection to the site's address.
func (n *network) pass(visitor *visitorConn, address string) {
	defer visitor.Close()
	server, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	n.mu.Lock()
	n.visitors[visitor] = true
	n.mu.Unlock()
	go func() {
		_, _ = io.Copy(server, visitor)
		server.Close()
	}()
	_, _ = io.Copy(visitor, server)
	n.mu.Lock()
	defer n.mu.Unlock()
	delete(n.visitors, visitor)
}

// each calls do for each open connection.
func (n *network) each(do func(*visitorConn)) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for visitor := range n.visitors {
		do(visitor)
	}
}

// outOfNetwork cuts the tab off from the network, or reconnects it, and lets the page know.
func (b *browser) outOfNetwork(is bool) {
	b.tb.Helper()
	b.offline(is)
	call(b, cdpnetwork.OverrideNetworkState, cdpnetwork.OverrideNetworkStateParams{Offline: is, DownloadThroughput: -1, UploadThroughput: -1})
}

// numberedText returns the text of a sandbox's answer with that many numbered events.
func numberedText(events int) string {
	var text strings.Builder
	for n := range events {
		fmt.Fprintf(&text, "event %d\n", n+1)
	}
	return text.String()
}

// written waits until the page shows the n-th event of the latest answer.
func (b *browser) written(n int) {
	b.tb.Helper()
	b.eventually(fmt.Sprintf(lastTurn+`?.textContent.includes("event %d\n")`, n))
}

// wantWhole waits for the latest answer to end, and checks that the page shows it once and whole.
func (b *browser) wantWhole(turns, events int) {
	b.tb.Helper()
	if got := b.answered(); got != "Finished: stop" {
		b.tb.Errorf("the answer ends with %q", got)
	}
	if got, want := b.text(), numberedText(events); got != want {
		b.tb.Errorf("the answer differs: %s", sitetest.FirstDifference(got, want))
	}
	if got := eval[int](b, `document.querySelectorAll(".turn").length`); got != turns {
		b.tb.Errorf("there are %d turns, want %d", got, turns)
	}
	if eval[bool](b, `Boolean(document.querySelector(".pause"))`) {
		b.tb.Error("the page still says that it waits")
	}
}

// wantAskedOnce checks that the upstream was asked once, and wrote its answer to the end.
func wantAskedOnce(t *testing.T, server *sandboxtest.Server) {
	t.Helper()
	if got := len(server.Requests()); got != 1 {
		t.Errorf("the upstream was asked %d times", got)
	}
	if server.Request(t, 0).Canceled() {
		t.Error("the upstream was cancelled")
	}
}

// A visitor who loses the network in the middle of an answer gets the rest once the network is back.
func TestBrowserResumeAfterLostNetwork(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	n := newNetwork(t, sitetest.Serve(t, examplePage(t, server.URL, "")))
	b.open(n.url)
	b.say("/drip 80 20ms /events 150")
	b.written(10)

	b.outOfNetwork(true)
	n.each((*visitorConn).close)
	b.eventually(lastTurn + `.querySelector(".pause")?.textContent.startsWith("The connection was lost. Reconnecting")`)
	if got := eval[string](b, `document.querySelector("#announcer").textContent`); !strings.Contains(got, "Reconnecting") {
		t.Errorf("a screen reader has read %q", got)
	}
	if got := eval[[]string](b, contrast); len(got) > 0 {
		t.Errorf("hard to read: %q", got)
	}
	if eval[bool](b, `document.querySelector("#stop").hidden`) {
		t.Error("there is no Stop")
	}
	// The page has tried to reconnect once in the meantime.
	b.eventually(lastTurn + `.querySelector(".pause")?.textContent === "The connection was lost. Reconnecting in 2 seconds."`)
	b.outOfNetwork(false)
	b.wantWhole(1, 150)
	wantAskedOnce(t, server)
}

// The page resumes an answer whose connection died without a sign. All that the browser notices is that it was out of the
// network.
func TestBrowserResumeOverSilentConnection(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	n := newNetwork(t, sitetest.Serve(t, examplePage(t, server.URL, "")))
	b.open(n.url)
	b.say("/drip 80 20ms /events 150")
	b.written(10)
	b.outOfNetwork(true)
	n.each((*visitorConn).silence)
	b.outOfNetwork(false)
	b.wantWhole(1, 150)
	wantAskedOnce(t, server)
}

// After a reload, the page resumes the answer, and shows the turns before it.
func TestBrowserResumeAfterReload(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	b.open(sitetest.Serve(t, examplePage(t, server.URL, "")).Plain)
	reload := func() {
		t.Helper()
		eval[chromedp.Void](b, `globalThis.before = true`)
		call(b, cdppage.Reload, cdppage.ReloadParams{})
		b.eventually(`!globalThis.before && document.readyState === "complete"`)
	}
	b.say("Hello")
	b.answered()
	b.say("/drip 80 20ms /events 250")
	for _, at := range []int{10, 40} {
		b.written(at)
		reload()
	}
	b.wantWhole(2, 250)

	// Another reload changes nothing.
	reload()
	b.eventually(`document.querySelectorAll(".turn").length === 2`)
	said := `Array.from(document.querySelectorAll(".turn"), (e) => e.querySelector(".question").textContent + "|" + Array.from(e.querySelectorAll(".text"), (e) => e.textContent).join(""))`
	want := []string{"Hello|" + sitetest.SandboxText(t, "Hello"), "/drip 80 20ms /events 250|" + numberedText(250)}
	for i, got := range eval[[]string](b, said) {
		if got != want[i] {
			t.Errorf("turn %d differs: %s", i+1, sitetest.FirstDifference(got, want[i]))
		}
	}
	if got := eval[int](b, `document.querySelectorAll("[aria-busy=true]").length`); got != 0 {
		t.Errorf("%d elements are busy", got)
	}
	if got := len(server.Requests()); got != 2 {
		t.Errorf("the upstream was asked %d times", got)
	}

	b.say("/turns")
	b.answered()
	if got, want := b.text(), "1. Hello\n2. /drip 80 20ms /events 250\n3. /turns\n"; got != want {
		t.Errorf("the chat's turns are %q, want %q", got, want)
	}
}

// If the server no longer has an answer, the visitor can ask for it again.
func TestBrowserResumeTooLate(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	b.open(sitetest.Serve(t, examplePage(t, server.URL, "")).Plain)
	eval[chromedp.Void](b, `sessionStorage.setItem("chat", JSON.stringify({ messages: [], open: { content: "Hello", stream: "AAAAAAAAAAAAAAAAAAAAAA" } }))`)
	call(b, cdppage.Reload, cdppage.ReloadParams{})
	b.wantFailed("The connection to the assistant broke off.", "closed:connection")
	perform(b, chromedp.Click(chromedp.CSS(".again")))
	b.eventually(lastTurn + `.querySelector(".end")?.textContent === "Finished: stop"`)
	if got, want := b.text(), sitetest.SandboxText(t, "Hello"); got != want {
		t.Errorf("the answer is %q, want %q", got, want)
	}
}

// Stop also cancels the upstream request, long before the grace of resume is over. It works after a reload of the page, too.
func TestBrowserResumeStops(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	b.open(sitetest.Serve(t, examplePage(t, server.URL, "resume {\ngrace 1h\n}")).Plain)
	for i, reload := range []bool{false, true} {
		b.say("/drip 80 20ms /endless")
		b.written(10)
		if reload {
			call(b, cdppage.Reload, cdppage.ReloadParams{})
			b.eventually(`document.readyState === "complete" && !document.querySelector("#stop").hidden`)
			b.written(10)
		}
		perform(b, chromedp.Click(chromedp.CSS("#stop")))
		if got, want := b.answered(), "Stopped.\nTry again"; got != want {
			t.Errorf("the answer ends with %q, want %q", got, want)
		}
		stopped := time.Now()
		asked := server.Request(t, i)
		asked.Wait(t)
		if took := time.Since(stopped); !asked.Canceled() || took > sitetest.Patience {
			t.Errorf("the upstream went on for %s", took)
		}
	}
}
