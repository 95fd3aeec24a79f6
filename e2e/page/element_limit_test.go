package page

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
)

// After a 429, the page counts down. The visitor cannot ask again before the time is up; if they want, the page asks by itself.
func TestBrowserCountsDown(t *testing.T) {
	b := openBrowser(t)
	// The client itself waits for up to 15 seconds.
	refused := fails(http.StatusTooManyRequests, "rate_limit:chat", "20")
	site := newScriptedSite(t, refused, answers("At last."))
	b.passTime()
	b.openChat(site.url, "")
	b.say("Hello")
	if got := b.answered(); !strings.Contains(got, "Too many messages for now.") || !regexp.MustCompile(`Try again in (1\d|20) seconds\.`).MatchString(got) {
		t.Errorf("the page says %q", got)
	}
	left := lastTurn + `.querySelector(".left").textContent`
	b.eventually(left + ` !== ` + fmt.Sprintf("%q", eval[string](b, left)))
	b.click(".again")
	if got := len(site.questions()); got != 1 {
		t.Errorf("the page has asked %d times before the time is up", got)
	}
	b.click(".automatic input")
	eval[any](b, `void (passed = 18_000)`)
	b.eventually(lastTurn + `?.querySelector(".text")?.textContent === "At last."`)
	if got := len(site.questions()); got != 2 {
		t.Errorf("the page has asked %d times, want 2", got)
	}
}

// Without the visitor's wish, the page only says that the time is up.
func TestBrowserDoesNotAskUnasked(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, fails(http.StatusTooManyRequests, "rate_limit:chat", "20"), answers("At last."))
	b.passTime()
	b.openChat(site.url, "")
	b.say("Hello")
	b.answered()
	eval[any](b, `void (passed = 20_000)`)
	b.eventually(lastTurn + `.querySelector(".left").textContent === "You can ask again now."`)
	if got := len(site.questions()); got != 1 {
		t.Errorf("the page has asked %d times", got)
	}
	b.click(".again")
	b.eventually(lastTurn + `?.querySelector(".text")?.textContent === "At last."`)
}

// The page says when one of the site's limits is nearly used up.
func TestBrowserTellsOfANearLimit(t *testing.T) {
	b := openBrowser(t)
	limited := func(limits string) http.HandlerFunc {
		return sends(someDelta+goodEnd, "RateLimit-Policy", `"client";q=20;w=60, "client-2";q=100;w=3600`, "RateLimit", limits)
	}
	site := newScriptedSite(t,
		limited(`"client";r=12;t=3, "client-2";r=80;t=30`),
		limited(`"client";r=11;t=3, "client-2";r=5;t=600`),
		limited(`"client";r=1;t=59, "client-2";r=4;t=600`),
		limited(`"client";r=20, "client-2";r=80;t=30`))
	b.openChat(site.url, "")
	for _, want := range []string{"", "5 messages left for now. You can send more in 10 minutes.", "1 message left for now. You can send more in 59 seconds.", ""} {
		b.say("Hello")
		b.answered()
		if got := eval[bool](b, fmt.Sprintf(`ui("#announcer").textContent.includes(%q)`, want)); !got {
			t.Errorf("a screen reader does not say %q", want)
		}
		if got := eval[string](b, `ui(".quota").checkVisibility() ? ui(".quota").textContent : ""`); got != want {
			t.Errorf("the page says %q, want %q", got, want)
		}
	}
}
