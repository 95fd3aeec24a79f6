package page

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	cdpbrowser "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	cdpinput "github.com/chromedp/cdproto/input"
	cdplog "github.com/chromedp/cdproto/log"
	cdppage "github.com/chromedp/cdproto/page"
	cdpruntime "github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// uiScript lets tests find the parts of the chat page, wherever they are.
const uiScript = "e2e/page/testdata/ui.js"

// browser is a tab of a real Chromium.
type browser struct {
	tb  testing.TB
	tab context.Context

	mu     sync.Mutex
	wrongs []string // exceptions, dialogs and other errors of pages
}

// openBrowser opens a tab with nothing in its storage, and closes it when the test ends. With options, its Chromium is started
// for this test. The test fails if a page in the tab throws an exception, opens a dialog, or does something that its
// Content-Security-Policy or another site forbids.
func openBrowser(tb testing.TB, options ...chromedp.ExecAllocatorOption) *browser {
	tb.Helper()
	open := openShared
	if len(options) > 0 {
		open = func(tb testing.TB) (context.Context, context.CancelFunc) { return startChromium(tb, options...) }
	}
	tab, closeTab := open(tb)
	b := &browser{tb: tb, tab: tab}
	tb.Cleanup(func() {
		closeTab()
		b.mu.Lock()
		defer b.mu.Unlock()
		for _, wrong := range b.wrongs {
			tb.Errorf("in the browser: %s", wrong)
		}
	})
	if err := chromedp.Listen(tab, b.notice); err != nil {
		tb.Fatalf("opening a tab: %v", err)
	}
	call(b, cdplog.Enable, cdp.Empty{})
	b.findParts()
	return b
}

// findParts lets tests find the parts of the chat page, in the page that is open and in each that is opened: see ui.js.
func (b *browser) findParts() {
	b.tb.Helper()
	script, err := os.ReadFile(uiScript)
	if err != nil {
		b.tb.Fatal(err)
	}
	b.onNewPage(string(script))
	eval[chromedp.Void](b, string(script))
}

// notice records an event if it is an exception, a dialog or another error of a page.
func (b *browser) notice(event any) {
	var wrong string
	switch e := event.(type) {
	case *cdpruntime.EventExceptionThrown:
		wrong = e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			wrong += " " + e.ExceptionDetails.Exception.Description
		}
	case *cdplog.EventEntryAdded:
		// An HTTP error makes an entry as well, whose source is the network.
		if e.Entry.Source == cdplog.EntrySourceNetwork || e.Entry.Level != cdplog.EntryLevelError {
			return
		}
		wrong = fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text)
	case *cdppage.EventJavascriptDialogOpening:
		wrong = "a dialog says " + e.Message
	default:
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.wrongs = append(b.wrongs, wrong)
}

// wantWrong checks that the browser has recorded an error that contains part. Other errors still fail the test.
func (b *browser) wantWrong(part string) {
	b.tb.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	rest := slices.DeleteFunc(slices.Clone(b.wrongs), func(wrong string) bool { return strings.Contains(wrong, part) })
	if len(rest) == len(b.wrongs) {
		b.tb.Errorf("the browser does not say %q", part)
	}
	b.wrongs = rest
}

// perform runs an action in the tab, and returns its result.
func perform[T any](b *browser, action chromedp.Action[T]) T {
	b.tb.Helper()
	ctx, cancel := context.WithTimeout(b.tab, sitetest.Patience)
	defer cancel()
	result, err := chromedp.Run(ctx, action)
	if err != nil {
		b.tb.Fatalf("in the browser: %v", err)
	}
	return result
}

// call sends the browser a command of the DevTools protocol, for what no page can do.
func call[P, R any](b *browser, command cdp.Command[P, R], params P) R {
	b.tb.Helper()
	return perform(b, func(ctx context.Context, t *chromedp.Target) (R, error) { return cdp.Call(ctx, t, command, params) })
}

// storageKey is the key under which the page keeps its conversation in the tab.
const storageKey = "illumichat"

// forget deletes the conversation that the open page has stored in its tab.
func (b *browser) forget() {
	b.tb.Helper()
	eval[chromedp.Void](b, `try { sessionStorage.clear() } catch { /* there is no page yet */ }`)
}

// drawn is the JavaScript that reports whether the chat, if the page has one, is drawn.
const drawn = `document.readyState === "complete" && (!document.querySelector("illumichat-chat") || ui("#question"))`

// allow grants the pages of the tab permissions, by the names of the Permissions API.
func (b *browser) allow(names ...string) {
	b.tb.Helper()
	for _, name := range names {
		call(b, cdpbrowser.SetPermission, cdpbrowser.SetPermissionParams{
			Permission: &cdpbrowser.PermissionDescriptor{Name: name}, Setting: cdpbrowser.PermissionSettingGranted,
			BrowserContextID: chromedp.FromContext(b.tab).BrowserContextID,
		})
	}
}

// open loads a page.
func (b *browser) open(url string) {
	b.tb.Helper()
	perform(b, chromedp.Navigate(url))
	b.eventually(drawn)
}

// reload loads the page anew.
func (b *browser) reload() {
	b.tb.Helper()
	eval[chromedp.Void](b, `globalThis.before = true`)
	call(b, cdppage.Reload, cdppage.ReloadParams{})
	b.eventually("!globalThis.before && " + drawn)
}

// onNewPage runs a script in each page before its own scripts, from now on.
func (b *browser) onNewPage(script string) {
	b.tb.Helper()
	call(b, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: script})
}

// eval runs JavaScript in the page, waits for its value if that is a promise, and returns it.
func eval[T any](b *browser, expression string) T {
	b.tb.Helper()
	return perform(b, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
}

// eventually waits until an expression is true in the page.
func (b *browser) eventually(expression string) {
	b.tb.Helper()
	is := false
	defer func() {
		if !is {
			b.tb.Logf("the page shows:\n%s", eval[string](b, "ui.shown()"))
		}
	}()
	sitetest.Eventually(b.tb, expression, func() bool {
		is = eval[bool](b, "Boolean("+expression+")")
		return is
	})
}

// The keys that do something in the page.
var (
	keyEnter = cdpinput.DispatchKeyEventParams{Key: "Enter", WindowsVirtualKeyCode: 13, Text: "\r"}
	keyTab   = cdpinput.DispatchKeyEventParams{Key: "Tab", WindowsVirtualKeyCode: 9}
)

// press presses a key, wherever the focus is. It does not use chromedp's KeyEvent, because that sends the key's character
// even if the page has prevented the default action.
func (b *browser) press(key cdpinput.DispatchKeyEventParams) {
	b.tb.Helper()
	for _, key.Type = range []cdpinput.DispatchKeyEventType{cdpinput.DispatchKeyEventTypeKeyDown, cdpinput.DispatchKeyEventTypeKeyUp} {
		call(b, cdpinput.DispatchKeyEvent, key)
	}
}

// say enters a message as a visitor does, and sends it.
func (b *browser) say(text string) {
	b.tb.Helper()
	b.focus("#question")
	b.write(text)
	// The element takes a question when it shows the conversation of before. The pages of the examples have no such button.
	b.eventually(`ui("#send")?.hidden || !ui("#send")?.disabled`)
	b.press(keyEnter)
}

// clickStop clicks Stop until the page takes the click: it ignores one that follows a click on Send at once.
func (b *browser) clickStop() {
	b.tb.Helper()
	sitetest.Eventually(b.tb, "Stop ends the answer", func() bool {
		if eval[bool](b, `ui("#stop").hidden`) {
			return true
		}
		perform(b, chromedp.MouseClickXY(b.center("#stop")))
		return false
	})
}

// focus moves the focus to an element, once it is there.
func (b *browser) focus(selector string) {
	b.tb.Helper()
	b.eventually(`ui("` + selector + `")`)
	eval[chromedp.Void](b, `ui("`+selector+`").focus()`)
}

// click clicks on an element with the mouse, once it is there and nothing covers it.
func (b *browser) click(selector string) {
	b.tb.Helper()
	b.eventually(`ui.inReach("` + selector + `")`)
	perform(b, chromedp.MouseClickXY(b.center(selector)))
}

// center returns the x and y of an element's center.
func (b *browser) center(selector string) (x, y float64) {
	b.tb.Helper()
	at := eval[[]float64](b, `(({ x, y, width, height }) => [x + width / 2, y + height / 2])(ui("`+selector+`").getBoundingClientRect())`)
	return at[0], at[1]
}

// value is the JavaScript for the text in the box for the question.
const value = `ui("#question").value`

// write writes text where the focus is.
func (b *browser) write(text string) {
	b.tb.Helper()
	call(b, cdpinput.InsertText, cdpinput.InsertTextParams{Text: text})
}

// lastTurn is the JavaScript that finds the latest question with its answer.
const lastTurn = `ui("#log > :last-child")`

// hasEnded is the JavaScript that reports whether the latest answer has ended.
const hasEnded = lastTurn + `?.querySelector(".end")`

// endedWell is the JavaScript that reports whether the latest answer has ended, and ended well.
const endedWell = hasEnded + `?.querySelector(".line").innerText === ""`

// answered waits for the latest answer to end, and returns the page's line about how it ended. It is empty if it ended well.
func (b *browser) answered() string {
	b.tb.Helper()
	b.eventually(hasEnded)
	return eval[string](b, lastTurn+`.querySelector(".end .line").innerText`)
}

// text returns the text of the latest answer as the page shows it: see asShown.
func (b *browser) text() string {
	b.tb.Helper()
	return asShown(eval[string](b, `Array.from(`+lastTurn+`.querySelectorAll(".text"), (e) => e.innerText.trim()).join(" ")`))
}

// asShown returns what a visitor reads of a text that has no markup: its lines, without empty ones and without the spaces around
// them.
func asShown(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\n")
}

// showsFirstWords is the JavaScript that reports whether the page shows the first words of the sandbox's usual answer, and no
// more.
var showsFirstWords = fmt.Sprintf(lastTurn+`?.querySelector(".text")?.innerText.trim() === %q`, asShown(firstWords))

// focused returns the id of the element that has the focus.
func (b *browser) focused() string {
	b.tb.Helper()
	return eval[string](b, `ui.active()?.id`)
}

// examplePage returns the directives of the site in example/Caddyfile, with further subdirectives of illumichat.
func examplePage(tb testing.TB, endpoint, subdirectives string) (directives string) {
	tb.Helper()
	return exampleSite(tb, "example/Caddyfile", endpoint, subdirectives)
}

// exampleSite returns the directives of the site in an example's Caddyfile, with further subdirectives of illumichat.
func exampleSite(tb testing.TB, file, endpoint, subdirectives string) (directives string) {
	tb.Helper()
	tb.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	tb.Setenv("ILLUMICHAT_ASSISTANT", sandbox.Assistant)
	tb.Setenv("ILLUMICHAT_ENDPOINT", endpoint)
	text, err := os.ReadFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	const line = "\t\tendpoint {env.ILLUMICHAT_ENDPOINT}\n"
	_, directives, found := strings.Cut(string(text), "\nhttp://localhost:8080 {\n")
	if !found || strings.Count(directives, line) != 1 {
		tb.Fatalf("%s is not as this test knows it", file)
	}
	directives = directives[:strings.LastIndex(directives, "}")]
	if strings.Contains(subdirectives, "resume") { // which replaces the example's resume
		directives = strings.Replace(directives, "\t\tresume\n", "", 1)
	}
	return strings.Replace(directives, line, line+subdirectives+"\n", 1)
}

// steps lets a sandbox send one event for each value that the test sends.
type steps chan struct{}

func (s steps) wait(r *http.Request, _ int) {
	select {
	case <-s:
	case <-r.Context().Done():
	}
}

// With a keyboard and a screen reader, a visitor can ask, follow the answer as it streams, and ask again.
func TestBrowserChats(t *testing.T) {
	b := openBrowser(t)
	events := make(steps)
	server := sandboxtest.NewServer(t, sandbox.Options{OnEvent: events.wait})
	b.open(sitetest.Serve(t, examplePage(t, server.URL, "")).Plain)
	eval[chromedp.Void](b, `
		globalThis.announced = [];
		new MutationObserver((changes) => {
			for (const { addedNodes } of changes) announced.push(...Array.from(addedNodes, (node) => node.textContent));
		}).observe(ui("#announcer"), { childList: true });
	`)
	b.eventually(`ui.active()?.id === "question"`)

	b.say("Hello")
	send := func(n int) {
		for range n {
			events <- struct{}{}
		}
	}
	send(3)
	b.eventually(showsFirstWords)
	b.eventually(`announced.includes("Hello!")`) // the first sentence, while the second is being written
	if eval[bool](b, `ui("#stop").hidden`) || !eval[bool](b, `ui("#send").hidden`) {
		t.Error("there is no Stop while the answer is written")
	}
	if got := b.focused(); got != "question" {
		t.Errorf("the focus has gone to %q", got)
	}

	send(slices.IndexFunc(sitetest.SandboxEvents(t), func(e sitetest.Event) bool { return e.Type == "tool-call" }) + 1 - 3)
	const tool = lastTurn + `.querySelector(".tool")`
	b.eventually(tool + `?.innerText === "Searching the web …"`)
	send(1)
	b.eventually(tool + `.innerText === "Searched the web"`)
	b.click(".tool summary")
	for _, detail := range []string{"web_search", `"query": "Hello"`, "Result"} {
		b.eventually(fmt.Sprintf(tool+`.innerText.includes(%q)`, detail))
	}

	close(events)
	if got := b.answered(); got != "" {
		t.Errorf("the answer ends with %q", got)
	}
	want := asShown(sitetest.SandboxText(t, "Hello"))
	if got := b.text(); got != want {
		t.Errorf("the answer is %q, want %q", got, want)
	}
	if got := eval[string](b, `Array.from(`+lastTurn+`.querySelector(".answer").children, (e) => e.className).join(" ")`); got != "text tool text end" {
		t.Errorf("the answer shows %q", got)
	}
	before, after, _ := strings.Cut(want, "begin with. ")
	read := "The assistant is answering. " + before + "begin with. Searching the web … " + after + " The answer is complete."
	if got := eval[string](b, `announced.filter(Boolean).join(" ")`); got != read {
		t.Errorf("a screen reader has read %q, want %q", got, read)
	}

	b.say("/turns")
	b.answered()
	if got, want := b.text(), "Hello\n/turns"; got != want {
		t.Errorf("the chat's turns are %q, want %q", got, want)
	}
}

// The page streams over HTTP/2 and HTTP/3, the protocols that browsers speak with a production site.
func TestBrowserOverTLS(t *testing.T) {
	events := make(steps, 100)
	server := sandboxtest.NewServer(t, sandbox.Options{OnEvent: events.wait})
	s := sitetest.Serve(t, examplePage(t, server.URL, ""))
	encoded, _ := localhost.PEM()
	block, _ := pem.Decode(encoded)
	parsed, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256(parsed.RawSubjectPublicKeyInfo)
	for protocol, flag := range map[string]chromedp.ExecAllocatorOption{
		"h2": chromedp.Flag("disable-quic", true),
		"h3": chromedp.Flag("origin-to-force-quic-on", strings.TrimPrefix(s.Secure, "https://")),
	} {
		t.Run(protocol, func(t *testing.T) {
			// For QUIC, Chromium cannot ignore certificate errors in general, only those of certain keys.
			trust := chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:]))
			b := openBrowser(t, trust, flag, chromedp.Flag("host-resolver-rules", "MAP localhost 127.0.0.1"))
			b.open(s.Secure)
			for range 3 {
				events <- struct{}{}
			}
			b.say("Hello")
			b.eventually(showsFirstWords)
			for range cap(events) {
				events <- struct{}{}
			}
			b.answered()
			if got, want := b.text(), asShown(sitetest.SandboxText(t, "Hello")); got != want {
				t.Errorf("the answer is %q, want %q", got, want)
			}
			used := eval[[]string](b, `performance.getEntriesByType("resource").filter((e) => e.name.endsWith("`+sitetest.ChatPath+`")).map((e) => e.nextHopProtocol)`)
			if !slices.Equal(used, []string{protocol}) {
				t.Errorf("the chat went over %q", used)
			}
			for len(events) > 0 {
				<-events
			}
		})
	}
}
