package page

import (
	"fmt"
	"strings"
	"testing"

	cdpemulation "github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// Auto-translation leaves an answer alone while it is being written. Even if a browser translates it, so that the text has
// other nodes, the page shows what comes after.
func TestBrowserIsTranslated(t *testing.T) {
	b := openBrowser(t)
	events := make(steps)
	site := newScriptedSite(t, inSteps(events, says("One two"), says(" three"), says(" four.\n\nFive"), goodEnd))
	b.openChat(site.url, "")
	b.say("Hello")
	events <- struct{}{}
	text := lastTurn + `?.querySelector(".text")`
	b.eventually(text + `?.textContent === "One two"`)
	if got := eval[string](b, text+`.translate + ""`); got != "false" {
		t.Errorf("while it is written, translate is %s", got)
	}
	// As Chromium's translation does.
	eval[chromedp.Void](b, `
		const nodes = document.createTreeWalker(`+text+`, NodeFilter.SHOW_TEXT);
		while (nodes.nextNode()) {
			const font = document.createElement("font");
			font.textContent = nodes.currentNode.data.toUpperCase();
			nodes.currentNode.replaceWith(font);
			break;
		}
	`)
	events <- struct{}{}
	b.eventually(text + `.textContent.includes("three")`)
	events <- struct{}{}
	events <- struct{}{}
	b.answered()
	if got := eval[string](b, text+`.innerText`); !strings.Contains(got, "four.") || !strings.Contains(got, "Five") {
		t.Errorf("the page shows %q", got)
	}
	if got := eval[string](b, text+`.translate + ""`); got != "true" {
		t.Errorf("at the end, translate is %s", got)
	}
}

// On paper, there is the whole conversation, and nothing that could be pressed.
func TestBrowserPrints(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, answers("# First\n\n"+strings.Repeat("A line.\n\n", 100)+"The last line."))
	b.openChat(site.url, "")
	b.say("Hello")
	b.answered()
	call(b, cdpemulation.SetEmulatedMedia, cdpemulation.SetEmulatedMediaParams{Media: "print"})
	for _, part := range []string{"#composer", ".actions button", ".new"} {
		if eval[bool](b, `ui("`+part+`").checkVisibility()`) {
			t.Errorf("the paper has %s", part)
		}
	}
	const bottom = `ui(".text > :last-child").getBoundingClientRect().bottom + scrollY`
	if got := eval[bool](b, bottom+` > 3000 && `+bottom+` <= document.documentElement.scrollHeight && ui("#scroller").scrollHeight === ui("#scroller").clientHeight`); !got {
		t.Error("the paper ends before the conversation does")
	}
	if got := eval[int](b, `document.documentElement.scrollWidth - innerWidth`); got > 0 {
		t.Errorf("the conversation is %d px too wide", got)
	}
}

// A text of 300 KB in the box does not make typing slower than the browser's own text box does.
func TestBrowserTypesInALongText(t *testing.T) {
	b := openBrowser(t)
	b.openChat("http://127.0.0.1:1", "")
	b.eventually(`ui("#question")`)
	eval[chromedp.Void](b, `
		globalThis.typing = (box) => {
			box.focus();
			box.value = "";
			document.execCommand("insertText", false, "The quick brown fox jumps over the lazy dog. ".repeat(6700));
			let least = Infinity;
			for (let n = 0; n < 5; n++) {
				const begin = performance.now();
				document.execCommand("insertText", false, "x");
				box.getBoundingClientRect();
				least = Math.min(least, performance.now() - begin);
			}
			return least;
		};
		globalThis.plain = document.body.appendChild(document.createElement("textarea"));
		plain.style.cssText = "font: 16px sans-serif; width: 600px; height: 190px";
	`)
	ours, plain := eval[float64](b, `typing(ui("#question"))`), eval[float64](b, `typing(plain)`)
	t.Logf("a key takes %.1f ms, and %.1f ms in a plain box", ours, plain)
	if ours > 2*plain+5 {
		t.Errorf("a key takes %.1f ms, and only %.1f ms in a plain box", ours, plain)
	}
	if got := eval[int](b, value+`.length`); got < 300_000 {
		t.Errorf("the box has %d characters", got)
	}
}

// Safari shows a keyboard over the page. The chat then has the height that is left. A page that is more than the chat stays where
// the visitor has scrolled it to.
func TestBrowserFitsAboveAKeyboard(t *testing.T) {
	b := openBrowser(t)
	perform(b, chromedp.EmulateViewport(375, 700))
	b.onNewPage(`
		const viewport = Object.assign(new EventTarget(), { scale: 1, height: 700 });
		Object.defineProperty(window, "visualViewport", { value: viewport });
		globalThis.setViewport = (scale, height) => {
			Object.assign(viewport, { scale, height });
			viewport.dispatchEvent(new Event("resize"));
		};
	`)
	s := sitetest.Serve(t, shop(proxyTo("http://127.0.0.1:1"), strings.Repeat("<br>", 200)+`<illumichat-chat mode="bubble" open></illumichat-chat>`))
	for _, page := range []string{"/chat/", "/shop"} {
		b.open(s.Plain + page)
		b.eventually(`ui("#question")`)
		eval[any](b, `scrollTo(0, 500)`)
		for _, step := range []struct {
			name   string
			scale  float64
			height int
			want   int
		}{{"a keyboard", 1, 400, 400}, {"no keyboard", 1, 700, 700}, {"a bar of the browser", 1, 640, 700}, {"zoom", 2, 350, 700}} {
			eval[any](b, fmt.Sprintf(`void setViewport(%g, %d)`, step.scale, step.height))
			if got := eval[int](b, `ui("#panel").offsetHeight`); got != step.want {
				t.Errorf("%s, %s: the chat is %d px high, want %d", page, step.name, got, step.want)
			}
		}
	}
	if got := eval[int](b, `scrollY`); got != 500 {
		t.Errorf("the site's page has scrolled to %d", got)
	}
}
