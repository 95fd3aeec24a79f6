package page

import (
	"fmt"
	"strings"
	"testing"

	cdpinput "github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// openPhone starts a browser as that of a phone.
func openPhone(tb testing.TB) *browser {
	tb.Helper()
	b := openBrowser(tb)
	perform(b, chromedp.EmulateViewport(390, 844, chromedp.EmulateMobile, chromedp.EmulateTouch, chromedp.EmulatePortrait))
	return b
}

// tap touches an element for a moment.
func (b *browser) tap(selector string) {
	b.tb.Helper()
	x, y := b.center(selector)
	call(b, cdpinput.DispatchTouchEvent, cdpinput.DispatchTouchEventParams{
		Type: cdpinput.DispatchTouchEventTypeTouchStart, TouchPoints: []*cdpinput.TouchPoint{{X: x, Y: y}},
	})
	call(b, cdpinput.DispatchTouchEvent, cdpinput.DispatchTouchEventParams{
		Type: cdpinput.DispatchTouchEventTypeTouchEnd, TouchPoints: []*cdpinput.TouchPoint{},
	})
}

// On a phone, Enter makes a new line, and Send sends. Send, Stop and Try again do not open the keyboard: they move the focus to
// no text field.
func TestBrowserOnAPhone(t *testing.T) {
	b := openPhone(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	b.open(sitetest.Serve(t, examplePage(t, server.URL, "")).Plain)
	if got := eval[string](b, `ui("#question").enterKeyHint`); got != "enter" {
		t.Errorf("the keyboard's Enter has the label %q", got)
	}
	if got := eval[string](b, `getComputedStyle(ui("#keys")).display`); got != "none" {
		t.Errorf("the page explains the keys of a desktop: display is %s", got)
	}

	b.tap("#question")
	b.eventually(`ui.active().id === "question"`)
	b.write("/stall")
	b.press(keyEnter)
	b.write("3")
	if got, want := eval[string](b, value), "/stall\n3"; got != want {
		t.Fatalf("the box has %q, want %q", got, want)
	}
	const isAnswering, isStopped = `!ui("#stop").hidden`, `ui(".again")`
	for _, step := range []struct{ button, then string }{{"#send", isAnswering}, {"#stop", isStopped}, {".again", isAnswering}, {"#stop", isStopped}} {
		// The page ignores a tap on Stop at once after one on Send.
		sitetest.Eventually(t, "a tap on "+step.button+" is taken", func() bool {
			if eval[bool](b, "Boolean("+step.then+")") {
				return true
			}
			b.tap(step.button)
			return false
		})
		if got := b.focused(); got != "scroller" {
			t.Errorf("after a tap on %s, the focus is at %q", step.button, got)
		}
	}
	if got := len(server.Requests()); got != 2 {
		t.Errorf("the upstream was asked %d times, want 2", got)
	}
}

// Enter that chooses a word of an input method does not send. The next Enter does.
func TestBrowserWithInputMethod(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	b.open(sitetest.Serve(t, examplePage(t, server.URL, "")).Plain)
	b.focus("#question")
	call(b, cdpinput.ImeSetComposition, cdpinput.ImeSetCompositionParams{Text: "にほん", SelectionStart: 3, SelectionEnd: 3})
	b.press(cdpinput.DispatchKeyEventParams{Key: "Enter", WindowsVirtualKeyCode: 229}) // as an input method sends it
	b.write("日本")
	if got := eval[string](b, value); got != "日本" {
		t.Fatalf("the box has %q", got)
	}
	if got := eval[int](b, `ui.all(".turn").length`); got != 0 {
		t.Fatalf("there are %d turns", got)
	}
	b.press(keyEnter)
	b.answered()
	if got := b.text(); !strings.Contains(got, "日本") {
		t.Errorf("the answer is %q", got)
	}
}

// The second click of a double click on Send does not stop the answer, although Stop is where Send was. A later click does.
func TestBrowserTakesADoubleClickForOne(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	b.open(sitetest.Serve(t, examplePage(t, server.URL, "")).Plain)
	b.focus("#question")
	b.write("/stall 3")
	x, y := b.center("#send")
	for n := range int64(2) {
		for _, kind := range []cdpinput.DispatchMouseEventType{cdpinput.DispatchMouseEventTypeMousePressed, cdpinput.DispatchMouseEventTypeMouseReleased} {
			call(b, cdpinput.DispatchMouseEvent, cdpinput.DispatchMouseEventParams{
				Type: kind, X: x, Y: y, Button: cdpinput.MouseButtonLeft, ClickCount: n + 1,
			})
		}
		if got := eval[string](b, fmt.Sprintf(`ui.at(%g, %g).id`, x, y)); got != "stop" {
			t.Fatalf("where Send was, there is %q", got)
		}
	}
	b.eventually(showsFirstWords)
	if eval[bool](b, `ui("#stop").hidden`) {
		t.Error("the second click has stopped the answer")
	}
	b.clickStop()
	if got, want := b.answered(), "Stopped."; got != want {
		t.Errorf("the answer ends with %q, want %q", got, want)
	}
}
