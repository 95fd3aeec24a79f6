package page

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	cdpinput "github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// Further keys for which a page does something.
var (
	keyBackTab = cdpinput.DispatchKeyEventParams{Key: "Tab", WindowsVirtualKeyCode: 9, Modifiers: 8} // with Shift
	keySpace   = cdpinput.DispatchKeyEventParams{Key: " ", WindowsVirtualKeyCode: 32, Text: " "}
	keyHome    = cdpinput.DispatchKeyEventParams{Key: "Home", WindowsVirtualKeyCode: 36}
	keyEnd     = cdpinput.DispatchKeyEventParams{Key: "End", WindowsVirtualKeyCode: 35}
	keyUp      = cdpinput.DispatchKeyEventParams{Key: "ArrowUp", WindowsVirtualKeyCode: 38}
)

// stop is where the keyboard stops in a page.
type stop struct {
	Name     string // as visitors read it, or an id
	Visible  bool   // whether the page shows it, with nothing over it
	Outlined bool   // whether it, or the box around it, shows that it has the focus
}

// stopHere is the JavaScript for the stop that has the focus.
const stopHere = `(() => {
	const element = ui.active();
	const { left, right, top, bottom } = element.getBoundingClientRect();
	const [x, y] = [Math.max(left, 0) + Math.min(right, innerWidth), Math.max(top, 0) + Math.min(bottom, innerHeight)].map((sum) => sum / 2);
	const outlined = [element, ui.around(element) ?? element].some((box) => {
		const { outlineStyle, outlineWidth } = getComputedStyle(box);
		return outlineStyle !== 'none' && parseFloat(outlineWidth) > 0;
	});
	return {
		name: element.id || element.getAttribute('aria-label') || element.innerText,
		visible: element.contains(ui.at(x, y)) && bottom > 0 && top < innerHeight,
		outlined,
	};
})()`

// stops presses a key until it has gone around the page, and returns where it stopped.
func (b *browser) stops(key cdpinput.DispatchKeyEventParams) (stops []stop) {
	b.tb.Helper()
	eval[chromedp.Void](b, `ui.active().blur()`)
	for range 100 {
		b.press(key)
		b.nextFrame()
		// Between its last stop and its first one, the page may leave the focus to the browser.
		if eval[bool](b, `ui.active() === document.body`) {
			continue
		}
		here := eval[stop](b, stopHere)
		if len(stops) > 0 && here.Name == stops[0].Name {
			return stops
		}
		stops = append(stops, here)
	}
	b.tb.Fatalf("the keyboard does not come around the page: it stops at %+v", stops)
	return nil
}

// The keyboard reaches all that there is, in the order of the page, and nothing twice. The page shows where it is. It stops at
// code and tables only where they scroll.
func TestBrowserByKeyboard(t *testing.T) {
	b := openBrowser(t)
	s := sitetest.Serve(t, statesSite(newChatStates(t)))
	b.use(wide)
	b.begin(s, englishPage)
	b.say("end")
	b.answered()
	for _, screen := range []struct {
		layout
		scrolling []string
	}{{wide, []string{"Code"}}, {narrow, []string{"Code", "Table"}}, {zoomed, []string{"Code", "Table"}}} {
		want := slices.Concat([]string{"scroller", "New chat", "Edit the question", "Searched the web", "says the post", "Copy the code"}, screen.scrolling,
			[]string{"Copy the answer", "Ask again", "Helpful", "Not helpful", "question"})
		b.use(screen.layout)
		for _, key := range []cdpinput.DispatchKeyEventParams{keyTab, keyBackTab} {
			var names []string
			for _, stop := range b.stops(key) {
				names = append(names, stop.Name)
				if !stop.Visible || !stop.Outlined {
					t.Errorf("%s: the keyboard stops at %+v", screen.name, stop)
				}
			}
			// The page is a circle.
			start := slices.Index(names, want[0])
			names = slices.Concat(names[max(start, 0):], names[:max(start, 0)])
			if !slices.Equal(names, want) {
				t.Errorf("%s: the keyboard stops at %q, want %q", screen.name, names, want)
			}
			slices.Reverse(want[1:])
		}
	}
}

// A visitor without a mouse can do all that others can.
func TestBrowserWithoutAMouse(t *testing.T) {
	b := openBrowser(t)
	s := sitetest.Serve(t, statesSite(newChatStates(t)))
	b.use(narrow)
	b.begin(s, englishPage)
	b.eventually(`ui.active().id === "question"`)
	tabTo := func(key cdpinput.DispatchKeyEventParams, name string) {
		t.Helper()
		encoded, _ := json.Marshal(name)
		for range 20 {
			b.press(key)
			if eval[bool](b, fmt.Sprintf(`(({ id, ariaLabel, innerText }) => [id, ariaLabel, innerText].includes(%s))(ui.active())`, encoded)) {
				return
			}
		}
		t.Fatalf("the keyboard does not come to %q", name)
	}

	tabTo(keyBackTab, "end")
	b.press(keyEnter)
	b.answered()
	b.eventually(`ui.active().id === "question"`)

	tabTo(keyBackTab, "Searched the web")
	b.press(keyEnter)
	b.eventually(`ui(".tool").open && ui(".tool").innerText.includes("parcels to Norway")`)
	b.press(keyEnter)
	b.eventually(`!ui(".tool").open`)

	tabTo(keyTab, "Helpful")
	b.press(keySpace)
	b.eventually(`ui(".helpful").ariaPressed === "true"`)

	tabTo(keyBackTab, "scroller")
	const atEnd = `(({ scrollTop, clientHeight, scrollHeight }) => scrollTop + clientHeight > scrollHeight - 2)(ui("#scroller"))`
	// While the page scrolls smoothly, it may ignore a key.
	pressUntil := func(key cdpinput.DispatchKeyEventParams, expression string) {
		t.Helper()
		sitetest.Eventually(t, key.Key+" scrolls", func() bool {
			b.press(key)
			b.nextFrame()
			return eval[bool](b, expression)
		})
	}
	pressUntil(keyEnd, atEnd)
	pressUntil(keyUp, `!`+atEnd)
	pressUntil(keyHome, `ui("#scroller").scrollTop === 0`)
	pressUntil(keyEnd, atEnd)

	tabTo(keyBackTab, "Edit the question")
	b.press(keyEnter)
	b.eventually(`ui.active().id === "question" && ` + value + ` === "end"`)
	b.press(keyEscape)
	b.eventually(value + ` === ""`)

	b.say("answer")
	b.eventually(lastTurn + `.querySelector(".text")?.textContent.includes("Let me see.")`)
	tabTo(keyTab, "stop")
	b.press(keySpace)
	if got := b.answered(); !strings.HasPrefix(got, "Stopped.") {
		t.Errorf("the answer ends with %q", got)
	}
	tabTo(keyBackTab, "New chat")
	b.press(keyEnter)
	b.eventually(`ui.all(".turn").length === 0 && ui.active().id === "question"`)
}
