package page

import (
	"flag"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	cdpemulation "github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// contrast finds the elements whose text has a contrast of less than 4.5:1 with its background: WCAG 2.2, success
// criterion 1.4.3.
const contrast = `(() => {
	const channels = (color) => color.match(/[\d.]+/g).map(Number);
	const luminance = (color) => {
		const [r, g, b] = channels(color).map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
		return 0.2126 * r + 0.7152 * g + 0.0722 * b;
	};
	const behind = (e) => {
		for (; e; e = ui.around(e)) {
			const color = getComputedStyle(e).backgroundColor;
			if ((channels(color)[3] ?? 1) > 0) return color;
		}
		return 'rgb(255, 255, 255)';
	};
	const poor = [];
	for (const e of ui.everything()) {
		const says = Array.from(e.childNodes).some((n) => n.nodeType === Node.TEXT_NODE && n.data.trim());
		if (!says && e.localName !== 'textarea' || e.disabled || !e.checkVisibility() || e.closest('.visually-hidden')) continue;
		const [dark, light] = [luminance(getComputedStyle(e).color), luminance(behind(e))].sort((a, b) => a - b);
		const ratio = (light + 0.05) / (dark + 0.05);
		if (ratio < 4.5) poor.push(e.localName + '.' + e.className + ' ' + ratio.toFixed(2));
	}
	return poor;
})()`

// outside finds the elements that do not fit into the page's width, and the controls that are too small for a finger, less
// than 24 by 24 px: WCAG 2.2, success criterion 2.5.8. Code and tables may scroll, by success criterion 1.4.10.
const outside = `(() => {
	const scrolled = ui.all('pre, :has(> table)');
	return ui.everything().filter((e) => {
		if (!e.checkVisibility() || e.closest('.visually-hidden') || scrolled.some((box) => box !== e && box.contains(e))) return false;
		const { left, right, width, height } = e.getBoundingClientRect();
		return left < 0 || right > innerWidth || e.matches('button, summary') && (width < 24 || height < 24);
	}).map((e) => e.localName + '.' + e.className);
})()`

// update makes TestBrowserLooks take the README's screenshots:
//
//	go test -run TestBrowserLooks ./e2e/page -args -update
var update = flag.Bool("update", false, "take the screenshots of the README")

// The page fits the screen of a desktop and of a phone, and its text is legible in light and in dark colors.
func TestBrowserLooks(t *testing.T) {
	event := func(event string) string { return "data: " + event + "\n\n" }
	say := func(text string) string { return event(fmt.Sprintf(`{"type":"text-delta","textDelta":%q}`, text)) }
	shipping := say("Yes, to all of **Norway**:\n\n| | Days | Price |\n|---|---|---|\n| Parcel | 3–5 | 12 € |\n| Express | 1–2 | 29 € |\n\n"+
		"We tell you its number as soon as it is on its way.") + goodEnd
	order := say("Let me see where it is.") +
		event(`{"type":"tool-call","toolName":"find_order","args":{"number":"10-4471"}}`) +
		event(`{"type":"tool-result","toolName":"find_order","result":{"state":"on its way","carrier":"Posten","since":"Tuesday"}}`) +
		say("Your order 10-4471 left us on Tuesday with Posten.\n\nI will ask them when it comes.") +
		event(`{"type":"tool-call","toolName":"ask_carrier","args":{"carrier":"Posten"}}`)

	b := openBrowser(t)
	s := sitetest.Serve(t, examplePage(t, "http://127.0.0.1:1", ""))
	for _, size := range []struct {
		name          string
		width, height int64
	}{{"wide", 1000, 800}, {"narrow", 375, 720}} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(size.name+" "+scheme, func(t *testing.T) {
				b := b.in(t)
				site := newScriptedSite(t, fails(http.StatusServiceUnavailable, "overloaded:chat", "90"), sends(shipping),
					func(w http.ResponseWriter, r *http.Request) {
						sends(order)(w, r)
						_ = http.NewResponseController(w).Flush()
						<-r.Context().Done()
					})
				s.Reload(examplePage(t, site.url, sitetest.Once))
				call(b, cdpemulation.SetEmulatedMedia, cdpemulation.SetEmulatedMediaParams{Features: []*cdpemulation.MediaFeature{
					{Name: "prefers-color-scheme", Value: scheme},
					{Name: "prefers-reduced-motion", Value: "reduce"},
				}})
				perform(b, chromedp.EmulateViewport(size.width, size.height, chromedp.EmulateScale(2)))
				b.forget()
				b.open(s.Plain)
				check := func() {
					t.Helper()
					if got := eval[[]string](b, contrast); len(got) > 0 {
						t.Errorf("hard to read: %q", got)
					}
					if got := eval[[]string](b, outside); len(got) > 0 {
						t.Errorf("outside of the page, or small: %q", got)
					}
				}
				b.say("Do you ship to Norway?")
				b.answered()
				check()
				b.click(".new")
				b.say("Do you ship to Norway?")
				b.answered()
				b.say("And where is my order 10-4471?")
				b.eventually(lastTurn + `.querySelectorAll(".tool").length === 2`)
				check()
				if *update {
					picture := perform(b, chromedp.CaptureScreenshot())
					if err := os.WriteFile(fmt.Sprintf("example/screenshots/%s-%s.png", size.name, scheme), picture, 0o644); err != nil {
						t.Fatal(err)
					}
				}
				b.click("#stop") // otherwise the answer never ends
			})
		}
	}
}

// A word without a break opportunity is broken anywhere, so that it fits a screen of 320 px. Text in a right-to-left script
// is shown from right to left.
func TestBrowserFitsLongWords(t *testing.T) {
	b := openBrowser(t)
	long := strings.Repeat("https://example.com/", 20)
	site := newScriptedSite(t,
		sends(fmt.Sprintf(`data: {"type":"text-delta","textDelta":%q}`+"\n\n"+`data: {"type":"tool-call","toolName":%[1]q,"args":%[1]q}`+"\n\n"+
			`data: {"type":"finish","finishReason":%[1]q}`+"\n\n", long)),
		func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(http.StatusConflict)
			_, _ = fmt.Fprintf(w, `{"error":%q,"code":%[1]q}`, long)
		},
		sends(`data: {"type":"text-delta","textDelta":"مرحبا!"}`+"\n\n"+goodEnd))
	b.open(sitetest.Serve(t, examplePage(t, site.url, sitetest.Once)).Plain)
	perform(b, chromedp.EmulateViewport(320, 640))
	for _, said := range []string{long, long, "مرحبا!"} {
		b.say(said)
		b.answered()
	}
	if got := eval[[]string](b, outside); len(got) > 0 {
		t.Errorf("outside of the page, or small: %q", got)
	}
	if got := eval[int](b, `ui("#scroller").scrollWidth - ui("#scroller").clientWidth`); got != 0 {
		t.Errorf("the conversation is %d px wider than the screen", got)
	}
	for _, selector := range []string{".question", ".text > p"} {
		if got := eval[string](b, `getComputedStyle(`+lastTurn+`.querySelector("`+selector+`")).direction`); got != "rtl" {
			t.Errorf("Arabic is written %s in %s", got, selector)
		}
	}
}
