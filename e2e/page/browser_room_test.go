package page

import (
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// room is the JavaScript for which part of the page's height shows the conversation, in the middle of the page. What covers the
// conversation does not count.
const room = `(() => {
	const rows = Array.from({ length: innerHeight / 2 }, (_, i) => ui.at(innerWidth / 2, 2 * i));
	return rows.filter((element) => ui("#log").contains(element)).length / rows.length;
})()`

// On a small screen, most of the height is the conversation's, and the box for a question is in reach.
func TestBrowserLeavesRoomForTheConversation(t *testing.T) {
	b := openBrowser(t)
	s := sitetest.Serve(t, statesSite(newChatStates(t)))
	b.use(wide)
	b.begin(s, englishPage)
	for range 3 {
		b.say("end")
		b.answered()
	}
	for _, screen := range []struct {
		layout
		fontSize string
		least    float64
	}{
		{zoomed, "", 0.9},
		{landscape, "", 0.9},
		{layout{name: "a phone with large text", width: 375, height: 720}, "200%", 0.5},
		{layout{name: "a phone beside its keyboard", width: 375, height: 340}, "", 0.9},
		{layout{name: "a phone", width: 375, height: 720}, "", 0.7},
	} {
		t.Run(screen.name, func(t *testing.T) {
			b := b.in(t)
			b.use(screen.layout)
			eval[chromedp.Void](b, `document.documentElement.style.fontSize = "`+screen.fontSize+`"`)
			eval[chromedp.Void](b, `ui("#log").children[1].scrollIntoView()`)
			b.nextFrame()
			if got := eval[float64](b, room); got < screen.least {
				t.Errorf("%.0f %% of the height shows the conversation, want %.0f %%", 100*got, 100*screen.least)
			}
			if got := eval[[]string](b, outside); len(got) > 0 {
				t.Errorf("outside of the page, or small: %q", got)
			}

			b.focus("#scroller")
			b.focus("#question")
			b.nextFrame()
			b.wantInView("#question")
			b.write(strings.Repeat("A long question. ", 40))
			b.nextFrame()
			b.wantInView("#question")
			b.eventually(`ui.inReach("#send")`)
			eval[chromedp.Void](b, `ui("#question").value = ""`)
		})
	}
}

// wantInView checks that the page shows an element whole.
func (b *browser) wantInView(selector string) {
	b.tb.Helper()
	if !eval[bool](b, `(({ top, bottom }) => Math.round(top) >= 0 && Math.round(bottom) <= innerHeight)(ui("`+selector+`").getBoundingClientRect())`) {
		b.tb.Errorf("%s is not in view", selector)
	}
}
