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

// used reports whether something was written.
func (c *visitorConn) used() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return !c.last.IsZero()
}

// deafen makes a connection discard all writes from now on.
func (c *visitorConn) deafen() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead = true
}

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
	b.eventually(fmt.Sprintf(lastTurn+`?.textContent.match(/event %d\b/)`, n))
}

// wantWhole waits for the latest answer to end, and checks that the page shows it once and whole.
func (b *browser) wantWhole(turns, events int) {
	b.tb.Helper()
	if got := b.answered(); got != "" {
		b.tb.Errorf("the answer ends with %q", got)
	}
	if got, want := b.text(), asShown(numberedText(events)); got != want {
		b.tb.Errorf("the answer differs: %s", sitetest.FirstDifference(got, want))
	}
	if got := eval[int](b, `ui.all(".turn").length`); got != turns {
		b.tb.Errorf("there are %d turns, want %d", got, turns)
	}
	if eval[bool](b, `Boolean(ui(".pause"))`) {
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
	const offline = "You are offline. The answer continues as soon as you are back online."
	b.eventually(lastTurn + `.querySelector(".pause")?.textContent === "` + offline + `"`)
	if got := eval[string](b, `ui("#announcer").lastElementChild.textContent`); got != offline {
		t.Errorf("a screen reader has read %q", got)
	}
	if got := eval[[]string](b, contrast); len(got) > 0 {
		t.Errorf("hard to read: %q", got)
	}
	if eval[bool](b, `ui("#stop").hidden`) {
		t.Error("there is no Stop")
	}
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
	b.say("Hello")
	b.answered()
	b.say("/drip 80 20ms /events 250")
	for _, at := range []int{10, 40} {
		b.written(at)
		b.reload()
	}
	b.wantWhole(2, 250)

	// Another reload changes nothing.
	b.reload()
	b.eventually(`ui.all(".turn .end").length === 2`)
	said := `ui.all(".turn").map((e) => e.querySelector(".question").textContent + "|" + Array.from(e.querySelectorAll(".text"), (e) => e.innerText.trim()).join(" "))`
	want := []string{"Hello|" + asShown(sitetest.SandboxText(t, "Hello")), "/drip 80 20ms /events 250|" + asShown(numberedText(250))}
	for i, got := range eval[[]string](b, said) {
		if got = asShown(got); got != want[i] {
			t.Errorf("turn %d differs: %s", i+1, sitetest.FirstDifference(got, want[i]))
		}
	}
	if got := eval[int](b, `ui.all("[aria-busy=true]").length`); got != 0 {
		t.Errorf("%d elements are busy", got)
	}
	if got := len(server.Requests()); got != 2 {
		t.Errorf("the upstream was asked %d times", got)
	}

	b.say("/turns")
	b.answered()
	if got, want := b.text(), "Hello\n/drip 80 20ms /events 250\n/turns"; got != want {
		t.Errorf("the chat's turns are %q, want %q", got, want)
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
			b.reload()
			b.eventually(`ui("#stop")?.hidden === false`)
			b.written(10)
		}
		b.click("#stop")
		if got, want := b.answered(), "Stopped."; got != want {
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

// An answer that another page of the visitor stops is marked as stopped elsewhere, and the part that has arrived stays.
func TestBrowserTellsOfStopElsewhere(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	b.open(sitetest.Serve(t, examplePage(t, server.URL, "")).Plain)
	b.say("/drip 80 20ms /endless")
	b.written(3)
	b.reload() // which keeps the answer's id in the tab
	b.written(3)
	eval[int](b, `fetch("`+sitetest.ChatPath+`", {
		method: "DELETE", headers: { "Illumichat-Stream": JSON.parse(sessionStorage.getItem("`+storageKey+`")).value.open.id },
	}).then((response) => response.status)`)
	if got, want := b.answered(), "Stopped elsewhere."; got != want {
		t.Errorf("the answer ends with %q, want %q", got, want)
	}
	if got := b.text(); !strings.HasPrefix(got, "event 1\nevent 2\nevent 3\n") {
		t.Errorf("the answer is %q", got)
	}
}

// In a browser without AbortSignal.any, such as Safari before 17.4, an answer survives its connection.
func TestBrowserResumeInOlderBrowsers(t *testing.T) {
	b := openBrowser(t)
	b.onNewPage(`delete AbortSignal.any`)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	n := newNetwork(t, sitetest.Serve(t, examplePage(t, server.URL, "")))
	b.open(n.url)
	b.say("/drip 80 20ms /events 150")
	b.written(10)
	n.each((*visitorConn).close)
	b.wantWhole(1, 150)
	wantAskedOnce(t, server)
}

// The page notices a connection that died although the browser reports nothing: at once when the visitor returns to the page,
// and otherwise after three heartbeats. It then resumes the answer, or says that it broke off if the site has no resume.
func TestBrowserNoticesDeadConnection(t *testing.T) {
	b := openBrowser(t)
	// A heartbeat takes 15 s.
	b.onNewPage(`
		const repeat = globalThis.setInterval;
		globalThis.setInterval = (callback, milliseconds) => repeat(callback, milliseconds / (globalThis.haste ?? 1));
	`)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, examplePage(t, server.URL, ""))
	n := newNetwork(t, s)
	for _, tc := range []struct {
		name    string
		resume  bool
		say     string
		before  string
		after   string
		wantEnd string
	}{
		{"the visitor returns", true, "/drip 80 20ms /events 150", "", `document.dispatchEvent(new Event("visibilitychange"))`, ""},
		{"heartbeats are missing", true, "/drip 80 20ms /events 150", `globalThis.haste = 50`, "", ""},
		{"without resume", false, "/drip 80 20ms /endless", `globalThis.haste = 50`, "", "The connection to the assistant broke off. stalled:connection"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			directives := examplePage(t, server.URL, "")
			if !tc.resume {
				directives = strings.Replace(directives, "\t\tresume\n", "", 1)
			}
			s.Reload(directives)
			b.open(n.url)
			b.forget()
			b.reload()
			eval[any](b, tc.before+";0")
			b.say(tc.say)
			b.written(10)
			n.each((*visitorConn).silence)
			eval[any](b, tc.after+";0")
			if got := b.answered(); got != tc.wantEnd {
				t.Errorf("the answer ends with %q, want %q", got, tc.wantEnd)
			}
			if got, want := b.text(), asShown(numberedText(150)); tc.resume && got != want {
				t.Errorf("the answer differs: %s", sitetest.FirstDifference(got, want))
			}
		})
	}
}
