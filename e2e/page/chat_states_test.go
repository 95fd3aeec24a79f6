package page

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// shownAnswer has each part that the chat can show of an answer: Markdown, a tool, and a source.
const shownAnswer = "## Shipping\n\n#### To Norway\n\nA parcel to **Norway** takes *three* days, [says the post](https://example.com/post). " +
	"Use `track`:\n\n```js\nconst parcel = await track('10-4471', { carrier: 'Posten', since: 'Tuesday', language: 'nb-NO', verbose: true, retries: 3 });\n```\n\n" +
	"| country | days | price | carrier | insured | tracked | returns |\n|---|--:|--:|---|---|---|---|\n| Norway | 3 | 9.90 | Posten | yes | yes | free |\n| Japan | 9 | 29.90 | Yamato | yes | yes | none |\n\n" +
	"1. Pack it.\n2. Send it.\n   - by air\n   - by sea\n\n- [x] paid\n- [ ] sent\n\n> Fragile!\n\nمرحبا بك في المتجر."

// chatStates is an upstream that answers so that the chat comes into a state.
type chatStates struct{ url string }

// newChatStates starts the upstream. The question chooses the answer.
func newChatStates(tb testing.TB) *chatStates {
	tb.Helper()
	search := toolEvent("call", "web_search", `"args":{"query":"parcels to Norway"}`)
	found := toolEvent("result", "web_search", `"result":[{"title":"The post","url":"https://example.com/post"}]`)
	answers := map[string]http.HandlerFunc{
		"answer": stalls(says("Let me see. ")),
		"tool":   stalls(says("Let me see. ") + search),
		"end":    sends(search + found + says(shownAnswer) + goodEnd),
		"limit":  sends(says("Yes.")+goodEnd, "RateLimit-Policy", `"client";q=20;w=3600`, "RateLimit", `"client";r=2;t=120`),
		"length": sends(says("Yes, ") + `data: {"type":"finish","finishReason":"length"}` + "\n\n"),
		"fail":   fails(http.StatusTooManyRequests, "rate_limit:chat", "90"),
		"pause":  fails(http.StatusTooManyRequests, "rate_limit:chat", "14"),
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodDelete {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		var q pageQuestion
		if err := json.NewDecoder(r.Body).Decode(&q); err != nil || len(q.Messages) == 0 {
			tb.Errorf("the page asks %+v: %v", q, err)
			return
		}
		answer := answers[q.Messages[len(q.Messages)-1].Content]
		if answer == nil {
			tb.Errorf("the page asks %+v", q)
			return
		}
		answer(w, r)
	}))
	tb.Cleanup(server.Close)
	return &chatStates{server.URL}
}

// The pages of the site that statesSite returns.
const (
	englishPage = "/chat"
	arabicPage  = "/ar"
	bubblePage  = "/bubble"
	inlinePage  = "/inline"
)

// statesSite returns the directives of a site with the chat in each form: as a page, in English and in Arabic, and in pages of
// the site's own, as a bubble and between other things. The chat is proxied without a retry of the module's own.
func statesSite(states *chatStates) string {
	own := func(path, mode string) string {
		html := `<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">` +
			`<meta name="color-scheme" content="light dark"><title>A shop</title><script type="module" src="/chat/element.js"></script></head>` +
			`<body style="background: Canvas; color: CanvasText"><main><h1>A shop</h1><p>Things to buy.</p><illumichat-chat ` + mode + `></illumichat-chat></main></body></html>`
		return "route " + path + " {\nheader Content-Type \"text/html; charset=utf-8\"\nrespond `" + html + "`\n}"
	}
	return strings.Join([]string{
		proxyTo(states.url),
		"illumichat_page " + englishPage + "* {\ntitle \"Ask the shop\"\ngreeting \"What would you like to know?\"\nsuggestions end limit\n}",
		"illumichat_page " + arabicPage + "* {\nlang ar\nsuggestions end limit\n}",
		own(bubblePage, `mode="bubble"`),
		own(inlinePage, ``),
	}, "\n")
}

// chatState is a state of the chat that visitors see.
type chatState struct {
	name  string
	reach func(*browser) // brings a new chat into this state
}

// states are all states of the chat's own page.
var states = []chatState{
	{"empty", func(b *browser) { b.eventually(`ui.all(".suggestion").length === 2`) }},
	{"answering", func(b *browser) {
		b.say("answer")
		b.eventually(lastTurn + `?.querySelector(".text")?.textContent.includes("Let me see.")`)
	}},
	{"tool running", func(b *browser) {
		b.say("tool")
		b.eventually(lastTurn + `?.querySelector(".tool")`)
	}},
	{"waiting", func(b *browser) {
		b.say("pause")
		b.eventually(lastTurn + `?.querySelector(".pause")`)
	}},
	{"ended", func(b *browser) {
		b.say("end")
		b.answered()
		eval[chromedp.Void](b, `ui.all("details").forEach((details) => { details.open = true })`)
		b.eventually(`ui(".details pre")`)
	}},
	{"near a limit", func(b *browser) {
		b.say("limit")
		b.answered()
		b.eventually(`ui(".quota").textContent`)
	}},
	{"too long", func(b *browser) {
		b.say("length")
		b.answered()
	}},
	{"stopped", func(b *browser) {
		b.say("answer")
		b.eventually(lastTurn + `?.querySelector(".text")`)
		b.press(keyEscape)
		b.answered()
	}},
	{"failed", func(b *browser) {
		b.say("fail")
		b.answered()
		b.eventually(`ui(".automatic")`)
	}},
	{"editing", func(b *browser) {
		b.say("limit")
		b.answered()
		b.click(".edit")
		b.eventually(`ui.active().value === "limit"`)
	}},
}
