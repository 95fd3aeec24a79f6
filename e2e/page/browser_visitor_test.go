package page

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	cdpinput "github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// Stop, pressed by keyboard, cancels the upstream request and keeps the part of the answer that has arrived. The visitor can
// then ask something else.
func TestBrowserStops(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	b.open(sitetest.Serve(t, examplePage(t, server.URL, "")).Plain)
	b.say("/stall 3")
	b.eventually(showsFirstWords)

	b.press(keyTab)
	if got := b.focused(); got != "stop" {
		t.Fatalf("after the question, the keyboard comes to %q", got)
	}
	b.press(keyEnter)
	if got, want := b.answered(), "Stopped."; got != want {
		t.Errorf("the answer ends with %q, want %q", got, want)
	}
	request := server.Request(t, 0)
	request.Wait(t)
	if !request.Canceled() {
		t.Error("the upstream was not told that the visitor has stopped")
	}
	if got, want := b.text(), asShown(firstWords); got != want {
		t.Errorf("of the answer there is %q, want %q", got, want)
	}
	if got := b.focused(); got != "question" {
		t.Errorf("after Stop, the focus is at %q", got)
	}

	b.say("/turns")
	b.answered()
	if got := eval[int](b, `ui.all(".turn").length`); got != 2 {
		t.Errorf("the page shows %d turns, want 2", got)
	}
	if got := eval[int](b, `ui.all(".again").length`); got != 1 {
		t.Errorf("%d questions can be asked again, want the last one", got)
	}
}

// "Try again" replaces the broken answer with the new one, on the page and in the history that the page sends.
func TestBrowserTriesAgain(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, sends(someDelta+goodEnd), sends(someDelta), sends(someDelta), sends(someDelta+goodEnd))
	b.open(sitetest.Serve(t, examplePage(t, site.url, "")).Plain)
	b.say("First")
	b.answered()
	b.say("Second")
	b.wantFailed("The connection to the assistant broke off.", "closed:upstream")

	for range 2 {
		b.focus(".again")
		b.press(keyEnter)
		b.eventually(lastTurn + `.querySelector(".end")`)
	}
	b.eventually(endedWell)
	if got, want := eval[string](b, `ui.all(".question, .text").map((e) => e.textContent).join("|")`),
		"First|Yes.|Second|Yes."; got != want {
		t.Errorf("the page shows %q, want %q", got, want)
	}
	for i, q := range site.questions() {
		var said []string
		for _, m := range q.Messages {
			said = append(said, m.Content)
		}
		want := "First|Yes.|Second"
		if i == 0 {
			want = "First"
		}
		if got := strings.Join(said, "|"); got != want {
			t.Errorf("request %d is %q, want %q", i+1, got, want)
		}
	}
}

// Before it retries by itself, the page says why and for how long it waits. The visitor can stop that.
func TestBrowserAsksAgain(t *testing.T) {
	b := openBrowser(t)
	busy := fails(http.StatusTooManyRequests, "rate_limit:chat", "2")
	site := newScriptedSite(t, busy, sends(someDelta+goodEnd), fails(http.StatusTooManyRequests, "rate_limit:chat", "10"))
	b.openChat(site.url, "")

	b.say("Hello")
	b.eventually(lastTurn + `.querySelector(".pause")?.textContent === "Too many messages for now. Trying again in 3 seconds."`)
	if got := eval[string](b, `ui("#announcer").textContent`); !strings.Contains(got, "Trying again") {
		t.Errorf("a screen reader has read %q", got)
	}
	if got := b.answered(); got != "" || b.text() != "Yes." {
		t.Errorf("the answer is %q, and ends with %q", b.text(), got)
	}
	if eval[bool](b, `Boolean(ui(".pause"))`) {
		t.Error("the page still says that it waits")
	}

	b.say("Hello")
	b.eventually(lastTurn + `.querySelector(".pause")`)
	b.press(keyTab)
	b.press(keyEnter)
	if got, want := b.answered(), "Stopped."; got != want {
		t.Errorf("the answer ends with %q, want %q", got, want)
	}
}

// The page shows markup in questions, answers, tool calls and error codes as text.
func TestBrowserShowsMarkupAsText(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, examplePage(t, server.URL, ""))
	for _, said := range []string{
		`<img src=x onerror="alert(1)"><script>alert(2)</script><style>:host{display:none}</style>`,
		`</p></div><iframe srcdoc="<script>alert(3)</script>"></iframe><a href="javascript:alert(4)">go</a>`,
		"<!-- <svg onload=alert(5)> \u202e ${7+7} {{7+7}}",
	} {
		b.forget()
		b.open(s.Plain)
		b.say(said)
		b.answered()
		if got := eval[string](b, lastTurn+`.querySelector(".question").textContent`); got != said {
			t.Errorf("the question is %q, want %q", got, said)
		}
		if got, want := b.text(), asShown(sitetest.SandboxText(t, said)); got != want {
			t.Errorf("the answer is %q, want %q", got, want)
		}
	}
	site := newScriptedSite(t,
		sends(`data: {"type":"tool-call","toolName":"<b>t</b>","args":{"a":"<img src=x onerror=alert(7)>"}}`+"\n\n"+
			`data: {"type":"tool-result","toolName":"<b>t</b>","result":"<script>alert(8)</script>"}`+"\n\n"+goodEnd),
		fails(http.StatusConflict, "<b>x</b>:chat", ""))
	s.Reload(examplePage(t, site.url, sitetest.Once))
	b.forget()
	b.open(s.Plain)
	b.say("Hello")
	b.answered()
	b.click(".tool summary")
	b.eventually(`ui(".tool").innerText.includes("<script>alert(8)</script>") && ui(".tool").innerText.includes("<b>t</b>")`)
	b.say("Hello")
	b.answered()

	// The page creates no other elements.
	if got := eval[string](b, `
		Array.from(new Set(ui.all("#log *").map((e) => e.localName))).sort().join(" ")
	`); got != "button code details div h2 p path pre section span summary svg" {
		t.Errorf("the page has made %s", got)
	}
	if got := eval[string](b, lastTurn+`.querySelector(".end").textContent`); !strings.Contains(got, "<b>x</b>:chat") {
		t.Errorf("the code is shown as %q", got)
	}
}

// A page that follows the API's guide works, although it takes each chunk for whole lines and the upstream's chunks end
// anywhere. (net/http writes an event of more than about 4 KiB in pieces, and the browser may read it in pieces.)
func TestBrowserWithNaivePage(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{Pace: 2 * time.Millisecond})
	b.open(sitetest.Serve(t, sitetest.ChatTo(server, "heartbeat 5ms")+"\nroot e2e/page/testdata\nfile_server").Plain + "/naive.html")
	var numbered strings.Builder
	for n := range 200 {
		fmt.Fprintf(&numbered, "event %d\n", n+1)
	}
	for say, want := range map[string]string{
		"Hello":                         sitetest.SandboxText(t, "Hello"),
		"Grüße, 世界 👋 /chunk 1":          sitetest.SandboxText(t, "Grüße, 世界 👋 /chunk 1"),
		"/events 200":                   numbered.String(),
		"/events 200 /burst 7":          numbered.String(),
		"/chunk 1 /events 200":          numbered.String(),
		"/chunk 7 /events 200 /crlf":    numbered.String(),
		"/drip 11 1ms /events 200":      numbered.String(),
		"/events 200 /comments 2":       numbered.String(),
		"/slow-first 100ms /events 200": numbered.String(),
		"/large 2000":                   strings.Repeat("0123456789", 200),
	} {
		t.Run(say, func(t *testing.T) {
			b := b.in(t)
			eval[chromedp.Void](b, fmt.Sprintf(`ask(%q)`, say))
			if got := eval[string](b, `document.querySelector("output").textContent`); got != want {
				t.Errorf("the page shows %.300q, want %.300q", got, want)
			}
			if got := eval[string](b, `document.querySelector("output").dataset.end ?? ""`); got != "stop" {
				t.Errorf("the page has seen the finish %q", got)
			}
		})
	}
}

// The page works with a mouse or a finger, and with an input method for other than Latin letters: Enter sends nothing while
// it chooses a word, is held down, or makes a new line.
func TestBrowserTakesInput(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	b.open(sitetest.Serve(t, examplePage(t, server.URL, "")).Plain)
	turns := func() int { return eval[int](b, `ui.all(".turn").length`) }

	if !eval[bool](b, `ui("#send").disabled`) {
		t.Error("an empty message can be sent")
	}
	call(b, cdpinput.InsertText, cdpinput.InsertTextParams{Text: "/stall 3"})
	for _, event := range []string{"isComposing: true", "keyCode: 229", "repeat: true", "shiftKey: true"} {
		eval[chromedp.Void](b, `ui("#question").dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", cancelable: true, `+event+` }))`)
		if turns() != 0 {
			t.Fatalf("Enter sends with %s", event)
		}
	}
	b.click("#send")
	b.eventually(showsFirstWords)
	if got := b.focused(); got != "question" {
		t.Errorf("after Send, the focus is at %q", got)
	}

	// While an answer streams, the page sends no further question, but keeps its text in the input field.
	b.say("Another")
	if got := eval[string](b, `ui("#question").value`); turns() != 1 || got != "Another" {
		t.Errorf("while an answer is written, there are %d turns, and %q is kept", turns(), got)
	}
	b.clickStop()
	b.answered()
	b.click(".again")
	b.eventually(`ui("#log").getAttribute("aria-busy") === "true"`)
	if got := b.focused(); got != "question" {
		t.Errorf("after Try again, the focus is at %q", got)
	}
	b.click("#stop")
	b.answered()
	if got := eval[[]string](b, `ui.all("[aria-busy]").map((e) => e.getAttribute("aria-busy"))`); slices.Contains(got, "true") {
		t.Errorf("the page still says that it is busy: %q", got)
	}
	if got := turns(); got != 1 {
		t.Errorf("there are %d turns, want 1", got)
	}
}

// parts is the JavaScript for the texts of the parts of the latest answer: its texts, its tools with their details, and how it
// ended.
const parts = `Array.from(` + lastTurn + `.querySelector(".answer").children, (part) => {
	const { innerText } = part.querySelector(".line") ?? part;
	return [innerText.split("\n")[0], ...Array.from(part.querySelectorAll("pre"), (pre) => pre.textContent)].join(" ").trim();
})`

// wantParts opens the tools of the latest answer, and checks the texts of its parts.
func (b *browser) wantParts(want ...string) {
	b.tb.Helper()
	eval[chromedp.Void](b, `for (const tool of `+lastTurn+`.querySelectorAll(".tool")) tool.open = true`)
	b.eventually(lastTurn + `.querySelectorAll(".tool").length === ` + lastTurn + `.querySelectorAll(".details").length`)
	if got := eval[[]string](b, parts); !slices.Equal(got, want) {
		b.tb.Errorf("the page shows %q, want %q", got, want)
	}
}

// The page shows tool calls that run at the same time, and those of which only the call or only the result arrives.
func TestBrowserShowsTools(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, sends(someDelta+
		toolEvent("call", "one", `"args":{"n":1}`)+toolEvent("call", "two", `"args":2`)+toolEvent("call", "two", `"args":3`)+
		toolEvent("result", "two", `"result":"first"`)+toolEvent("result", "three", `"result":"alone"`)+
		someDelta+`data: {"type":"finish","finishReason":"length"}`+"\n\n"+someDelta))
	b.open(sitetest.Serve(t, examplePage(t, site.url, sitetest.Once)).Plain)
	b.say("Hello")
	const end = "The answer ends here because it reached its maximum length."
	if got := b.answered(); got != end {
		t.Errorf("the answer ends with %q", got)
	}
	b.wantParts("Yes.", "one: no result {\n  \"n\": 1\n}", "Used two 2 first", "two: no result 3", "Used three alone", "Yes.", end)
	b.eventually(fmt.Sprintf(`ui("#announcer").textContent.includes(%q)`, end))
}

// A result goes to the call with its toolCallId. After a finish that ends only a step, the answer goes on.
func TestBrowserShowsStepsOfAnAnswer(t *testing.T) {
	b := openBrowser(t)
	stepEnd := `data: {"type":"finish","finishReason":"tool-calls"}` + "\n\n"
	calls := toolEvent("call", "find", `"toolCallId":"a","args":1`) + toolEvent("call", "find", `"toolCallId":"b","args":2`)
	site := newScriptedSite(t,
		sends(someDelta+calls+stepEnd+toolEvent("result", "find", `"toolCallId":"b","result":"second"`)+toolEvent("result", "find", `"toolCallId":"a","result":"first"`)+someDelta+goodEnd),
		sends(calls+stepEnd))
	b.open(sitetest.Serve(t, examplePage(t, site.url, sitetest.Once)).Plain)
	for _, want := range [][]string{
		{"Yes.", "Used find 1 first", "Used find 2 second", "Yes.", ""},
		{"find: no result 1", "find: no result 2", "The assistant ended before its answer was complete."},
	} {
		b.say("Hello")
		b.answered()
		b.wantParts(want...)
	}
}

// The page scrolls with the end of an answer as it grows, but not for a visitor who has scrolled up.
func TestBrowserLetsVisitorsScroll(t *testing.T) {
	b := openBrowser(t)
	events := make(steps)
	server := sandboxtest.NewServer(t, sandbox.Options{OnEvent: events.wait})
	b.open(sitetest.Serve(t, examplePage(t, server.URL, "")).Plain)
	const atEnd = `(() => { const s = ui("#scroller"); return s.scrollHeight - s.clientHeight - s.scrollTop < 16; })()`
	more := func() {
		for range 10 {
			events <- struct{}{}
		}
	}
	shown := func(n int) string { return fmt.Sprintf(lastTurn+`?.textContent.match(/event %d\b/)`, n) }
	b.say("/events 100")
	for n := 10; n <= 60; n += 10 {
		more()
		b.eventually(shown(n))
		b.eventually(atEnd)
	}
	top := eval[float64](b, `(ui("#scroller").scrollTop -= 200, ui("#scroller").scrollTop)`)
	b.eventually(`!` + atEnd)
	more()
	b.eventually(shown(70))
	if got := eval[float64](b, `new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(ui("#scroller").scrollTop))))`); got != top {
		t.Errorf("the page has scrolled from %g to %g by itself", top, got)
	}
	eval[chromedp.Void](b, `ui("#scroller").scrollTop = 1e6`)
	b.eventually(atEnd)
	more()
	b.eventually(shown(80))
	b.eventually(atEnd)
	b.click("#stop")
}

// After a while the page empties its announcements, so that a screen reader does not find the answer twice.
func TestBrowserFallsSilent(t *testing.T) {
	b := openBrowser(t)
	b.onNewPage(`
		const wait = globalThis.setTimeout;
		globalThis.setTimeout = (callback, milliseconds) => {
			if (milliseconds < 10_000) return wait(callback, milliseconds);
			globalThis.fallSilent = callback;
		};
	`)
	site := newScriptedSite(t, sends(someDelta+goodEnd))
	b.open(sitetest.Serve(t, examplePage(t, site.url, sitetest.Once)).Plain)
	b.say("Hello")
	b.eventually(`ui("#announcer").textContent.includes("Yes.")`)
	eval[chromedp.Void](b, `fallSilent()`)
	if got := eval[string](b, `ui("#announcer").textContent`); got != "" {
		t.Errorf("the announcer still says %q", got)
	}
}
