package page

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// longestSmooth is how long a page may run at a time, so that visitors notice nothing.
const longestSmooth = 50 * time.Millisecond

// pours returns a handler that answers with a text in 5,000 events a second, of 20 bytes each.
func pours(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for rest := text; rest != ""; <-tick.C {
			for range 50 {
				n := min(20, len(rest))
				if _, err := io.WriteString(w, says(rest[:n])); err != nil {
					return
				}
				rest = rest[n:]
			}
			_ = http.NewResponseController(w).Flush()
		}
		_, _ = io.WriteString(w, goodEnd)
	}
}

// However fast and long an answer is, the page draws and reacts meanwhile. An answer of 200,000 characters counts as one that has
// all that assistants write, and as one block of code.
func TestBrowserStaysSmooth(t *testing.T) {
	const size = 200_000
	fill := func(with string) string { return strings.Repeat(with, size/len(with)) }
	chapter := "## Shipping\n\n" + strings.Repeat("A parcel to **Norway** takes *three* days, [says the post](https://example.com/post). Use `track`.\n\n", 5) +
		strings.Repeat("- A parcel takes **three** days\n", 20) + "\n" +
		"| to | days | price |\n|---|---|---|\n" + strings.Repeat("| Norway | three | 9.90 |\n", 10) + "\n" +
		"```js\n" + strings.Repeat("const parcel = await track('10-4471');\n", 10) + "```\n\n"
	answers := map[string]string{
		"chapters": fill(chapter),
		"code":     "```js\n" + fill("const parcel = await track('10-4471', { carrier: 'Posten' });\n") + "```\n",
	}
	b := openBrowser(t)
	for name, text := range answers {
		t.Run(name, func(t *testing.T) {
			b := b.in(t)
			// What else the machine does makes a measurement longer, never shorter. So the best of three counts.
			const most = 3
			site := newScriptedSite(t, pours(text), pours(text), pours(text))
			s := sitetest.Serve(t, sitePage(site.url, ""))
			b.use(wide)
			b.begin(s, englishPage)
			limit := time.Duration(float64(longestSmooth) * b.slowness())
			longest := time.Duration(1<<63 - 1)
			for n := 0; n < most && longest > limit; n++ {
				b.begin(s, englishPage)
				longest = min(longest, b.longestTask(func() {
					b.say("Hello")
					sitetest.Within(t, time.Minute, "the answer ends", func() bool { return eval[bool](b, `Boolean(`+lastTurn+`?.querySelector(".end"))`) })
				}))
				t.Logf("longest task %v, limit %v", longest, limit)
			}
			if longest > limit {
				t.Errorf("the page does not react for %v, want %v at most", longest, limit)
			}
			if got := eval[int](b, `document.querySelector("illumichat-chat").chat.turns[0].text.length`); got != len(text) {
				t.Errorf("of %d characters, %d arrive", len(text), got)
			}
		})
	}
}
