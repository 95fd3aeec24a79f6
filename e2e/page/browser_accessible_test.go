package page

import (
	"testing"

	cdpemulation "github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// layout is a screen, and what its user has set.
type layout struct {
	name          string
	width, height int64
	features      map[string]string // media features, such as prefers-color-scheme
}

// wide is a window on a desktop.
var wide = layout{name: "wide", width: 1280, height: 800}

// narrow is a small phone, held upright.
var narrow = layout{name: "narrow", width: 320, height: 640}

// dark is a phone whose user likes dark colors.
var dark = layout{name: "dark", width: 320, height: 640, features: map[string]string{"prefers-color-scheme": "dark"}}

// zoomed is a window of 1280 by 1024 px at 400 %: WCAG 2.2, success criterion 1.4.10.
var zoomed = layout{name: "at 400 %", width: 320, height: 256}

// landscape is a phone on its side, with a keyboard or without.
var landscape = layout{name: "in landscape", width: 640, height: 300}

// forced is a window in colors that its user has chosen, for all pages.
var forced = layout{name: "in the user's colors", width: 1280, height: 800, features: map[string]string{"forced-colors": "active"}}

// use shows the page as a layout does.
func (b *browser) use(l layout) {
	b.tb.Helper()
	features := []*cdpemulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}
	for name, value := range l.features {
		features = append(features, &cdpemulation.MediaFeature{Name: name, Value: value})
	}
	call(b, cdpemulation.SetEmulatedMedia, cdpemulation.SetEmulatedMediaParams{Features: features})
	perform(b, chromedp.EmulateViewport(l.width, l.height))
	b.nextFrame()
}

// nextFrame waits until the page is drawn as it is now.
func (b *browser) nextFrame() {
	b.tb.Helper()
	eval[chromedp.Void](b, `new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))`)
}

// begin opens a page of the site with a new chat.
func (b *browser) begin(s *sitetest.Site, path string) {
	b.tb.Helper()
	b.forget()
	b.open(s.Plain + path)
	b.eventually(`ui("#question")`)
}

// wantAccessible checks that axe-core finds nothing wrong with the page in any of the layouts, and that all of it fits the screen
// and is legible. (Over what CSS adds, axe-core cannot tell the contrast.)
func (b *browser) wantAccessible(layouts ...layout) {
	b.tb.Helper()
	for _, l := range layouts {
		b.use(l)
		for _, violation := range b.violations() {
			b.tb.Errorf("%s: not accessible: %s", l.name, violation)
		}
		if got := eval[[]string](b, outside); len(got) > 0 {
			b.tb.Errorf("%s: outside of the page, or small: %q", l.name, got)
		}
		if l.features["forced-colors"] == "" {
			if got := eval[[]string](b, contrast); len(got) > 0 {
				b.tb.Errorf("%s: hard to read: %q", l.name, got)
			}
		}
	}
	b.use(wide)
}

// In each state of the chat, and on each screen, nothing violates WCAG 2.2 at the levels A and AA, or a best practice.
func TestBrowserPageIsAccessible(t *testing.T) {
	requirePackages(t, packages)
	b := openBrowser(t)
	s := sitetest.Serve(t, statesSite(newChatStates(t)))
	for path, layouts := range map[string][]layout{
		englishPage: {wide, dark, narrow, zoomed, landscape, forced},
		arabicPage:  {wide, narrow},
	} {
		for _, state := range states {
			t.Run(path+" "+state.name, func(t *testing.T) {
				b := b.in(t)
				b.use(wide)
				b.begin(s, path)
				state.reach(b)
				b.wantAccessible(layouts...)
			})
		}
	}
}

// The same goes for a page of the site's own that has the chat as a part.
func TestBrowserElementIsAccessible(t *testing.T) {
	requirePackages(t, packages)
	b := openBrowser(t)
	s := sitetest.Serve(t, statesSite(newChatStates(t)))
	t.Run("closed bubble", func(t *testing.T) {
		b := b.in(t)
		b.begin(s, bubblePage)
		b.wantAccessible(wide, dark, landscape)
	})
	t.Run("open bubble", func(t *testing.T) {
		b := b.in(t)
		b.begin(s, bubblePage)
		b.click(".launcher")
		b.eventually(`ui.active().id === "question"`)
		b.wantAccessible(wide, dark, landscape)
		b.say("end")
		b.answered()
		b.wantAccessible(wide, dark, landscape)
	})
	t.Run("bubble with news", func(t *testing.T) {
		b := b.in(t)
		b.begin(s, bubblePage)
		b.click(".launcher")
		b.say("tool")
		b.eventually(lastTurn + `?.querySelector(".tool")`)
		eval[chromedp.Void](b, `document.querySelector("illumichat-chat").open = false`)
		eval[chromedp.Void](b, `document.querySelector("illumichat-chat").stop()`)
		b.eventually(`!ui(".news").hidden`)
		b.wantAccessible(wide, dark, landscape)
	})
	t.Run("inline", func(t *testing.T) {
		b := b.in(t)
		b.begin(s, inlinePage)
		b.wantAccessible(wide, dark, landscape)
		b.say("end")
		b.answered()
		b.wantAccessible(wide, dark, landscape)
	})
}
