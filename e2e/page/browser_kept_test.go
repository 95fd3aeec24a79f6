package page

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// toolEvent returns an event about a call of a tool. The rest has its fields after the name.
func toolEvent(kind, name, rest string) string {
	return fmt.Sprintf(`data: {"type":"tool-%s","toolName":%q,%s}`+"\n\n", kind, name, rest)
}

// stalls returns a handler that sends the stream, and then nothing until the visitor leaves.
func stalls(stream string) http.HandlerFunc { return sitetest.Stalling(sends(stream)) }

// onKept changes what the next page finds in its tab: the script gets it as kept.
func (b *browser) onKept(script string) {
	b.tb.Helper()
	b.onNewPage(`{
		const text = sessionStorage.getItem("` + storageKey + `");
		if (text) {
			const kept = JSON.parse(text).value;
			` + script + `
			sessionStorage.setItem("` + storageKey + `", JSON.stringify({ ...JSON.parse(text), value: kept }));
		}
	}`)
}

// A reload changes nothing of what the page shows: texts, tools, and how each answer ended. The last one can be asked again.
func TestBrowserShowsAllAfterReload(t *testing.T) {
	b := openBrowser(t)
	answers := map[string]http.HandlerFunc{
		"tools":  sends(someDelta + toolEvent("call", "one", `"args":{"n":1}`) + toolEvent("result", "one", `"result":[1]`) + someDelta + goodEnd),
		"silent": sends(toolEvent("call", "one", `"args":{}`) + toolEvent("result", "one", `"result":"done"`) + goodEnd),
		"broken": sends(someDelta + toolEvent("call", "two", `"args":{}`)),
		"empty":  sends(goodEnd),
		"length": sends(someDelta + `data: {"type":"finish","finishReason":"length"}` + "\n\n"),
		"failed": fails(http.StatusBadRequest, "bad_request:chat", ""),
		"long":   sends(strings.Repeat(`data: {"type":"text-delta","textDelta":"A line of a long text.\n"}`+"\n\n", 500) + goodEnd),
		"slow":   stalls(someDelta),
	}
	said := []string{"tools", "silent", "broken", "empty", "length", "failed", "long", "slow"}
	var handlers []http.HandlerFunc
	for _, text := range said {
		handlers = append(handlers, answers[text])
	}
	site := newScriptedSite(t, append(handlers, sends(someDelta+goodEnd))...)
	b.open(sitetest.Serve(t, examplePage(t, site.url, sitetest.Once)).Plain)
	for _, text := range said[:len(said)-1] {
		b.say(text)
		b.answered()
	}
	b.say("slow")
	b.eventually(lastTurn + `.querySelector(".text")`)
	b.press(keyTab)
	b.press(keyEnter)
	b.answered()

	const shown = `ui("#log").innerHTML`
	before := eval[string](b, shown)
	for _, part := range []string{
		"The assistant sent an empty answer.", "reached its maximum length", "The connection to the assistant broke off.", "closed:upstream",
		"That did not work: that failed.", "Used one", "two: no result", "Stopped.",
	} {
		if !strings.Contains(before, part) {
			t.Errorf("the page does not show %q", part)
		}
	}
	b.reload()
	b.eventually(`ui.all(".turn .end").length === ` + fmt.Sprint(len(said)))
	if after := eval[string](b, shown); after != before {
		t.Errorf("the page shows something else: %s", sitetest.FirstDifference(after, before))
	}
	if got := eval[int](b, `ui.all(".again").length`); got != 1 {
		t.Errorf("%d questions can be asked again", got)
	}

	b.click(".again")
	b.eventually(endedWell)
	if got := eval[int](b, `ui.all(".turn").length`); got != len(said) {
		t.Errorf("there are %d turns", got)
	}
	questions := site.questions()
	if got, want := questions[len(questions)-1].Messages, questions[len(questions)-2].Messages; !slices.Equal(got, want) {
		t.Errorf("the page asks again with %q, want %q", got, want)
	}
}

// A page that is loaded anew before the first word of an answer shows its question, and gets the answer. The upstream is asked
// once.
func TestBrowserGetsAnswerAfterReloadBeforeFirstWord(t *testing.T) {
	b := openBrowser(t)
	u := sitetest.NewHandUpstream(t)
	b.open(sitetest.Serve(t, examplePage(t, u.URL, "commit_after off")).Plain)
	b.say("Hello")
	answer := u.Next(t)
	b.reload()
	b.eventually(`ui(".question")?.textContent === "Hello"`)
	b.eventually(`ui("#stop")?.hidden === false`)
	answer.Say(t, someDelta)
	b.eventually(lastTurn + `?.querySelector(".text")?.textContent === "Yes."`)
	answer.Say(t, goodEnd)
	answer.End()
	if got := b.answered(); got != "" || b.text() != "Yes." {
		t.Errorf("the answer is %q, and ends with %q", b.text(), got)
	}
	if got := eval[int](b, `ui.all(".turn").length`); got != 1 {
		t.Errorf("there are %d turns", got)
	}
}

// If the server no longer has an answer, the page keeps the part that it knows, and the visitor can ask again.
func TestBrowserResumeTooLate(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, stalls(someDelta), sends(someDelta+someDelta+goodEnd))
	b.open(sitetest.Serve(t, examplePage(t, site.url, "resume {\ngrace 1s\n}")).Plain)
	b.say("Hello")
	b.eventually(lastTurn + `?.querySelector(".text")`)
	b.onKept(`if (kept.open) kept.open.id = kept.last.id = "AAAAAAAAAAAAAAAAAAAAAA";`)
	b.reload()
	b.wantFailed("The connection to the assistant broke off.", "closed:connection")
	if got := b.text(); got != "Yes." {
		t.Errorf("the page has kept %q", got)
	}
	b.click(".again")
	b.eventually(endedWell)
	if got := b.text(); got != "Yes.Yes." {
		t.Errorf("the answer is %q", got)
	}
}

// A question that never got an answer is marked after a reload, and the visitor can send it.
func TestBrowserMarksUnsentQuestions(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, sitetest.Silent, sends(someDelta+goodEnd))
	b.open(sitetest.Serve(t, examplePage(t, site.url, "commit_after off\nresume {\ngrace 1s\n}")).Plain)
	b.say("Hello")
	sitetest.Eventually(t, "the upstream is asked", func() bool { return len(site.questions()) == 1 })
	// The site has no answer with this id any more.
	b.onKept(`if (kept.open) { kept.open.asked -= 3600_000; kept.open.id = "AAAAAAAAAAAAAAAAAAAAAA"; }`)
	b.reload()
	if got, want := b.answered(), "This message may not have been sent."; got != want {
		t.Errorf("the page says %q, want %q", got, want)
	}
	b.wantTryAgain()
	b.click(".again")
	b.eventually(endedWell)
	if got := eval[string](b, `ui.all(".question").map((e) => e.textContent).join()`); got != "Hello" {
		t.Errorf("the questions are %q", got)
	}
}

// A text that is not sent yet stays in the box over a reload, in the middle of an answer too.
func TestBrowserKeepsDraft(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	b.open(sitetest.Serve(t, examplePage(t, server.URL, "")).Plain)
	b.say("/drip 80 20ms /endless")
	b.written(3)
	for _, draft := range []string{"A half", "A half sent"} {
		eval[chromedp.Void](b, `ui("#question").select()`)
		b.write(draft)
		b.reload()
		b.eventually(`ui("#stop")?.hidden === false`)
		if got := eval[string](b, value); got != draft {
			t.Errorf("the box has %q, want %q", got, draft)
		}
	}
	b.clickStop()
	b.answered()
	if eval[bool](b, `ui("#send").disabled`) {
		t.Error("the draft cannot be sent")
	}
	b.click("#send")
	b.answered()
	b.reload()
	b.eventually(`ui.all(".turn .end").length === 2`)
	if got := eval[string](b, value); got != "" {
		t.Errorf("after it was sent, the box has %q", got)
	}
}

// siteWithLogin adds a page to a site at which a visitor signs in, as the user of its query.
func siteWithLogin(directives string) string {
	return `
		handle /login {
			header Set-Cookie "user={query.user}; Path=/"
			header Content-Type text/html
			respond "<!doctype html><title>signed in</title>"
		}
		handle {
			` + directives + `
		}`
}

// The next user of a tab sees nothing of the user before, and sends nothing of that conversation. The same user, who comes
// back from another page, sees it.
func TestBrowserShowsAConversationToItsVisitorOnly(t *testing.T) {
	b := openBrowser(t)
	site := newScriptedSite(t, sends(someDelta+goodEnd, "X-Chat-Id", "chat_of_alice"), sends(someDelta+goodEnd))
	s := sitetest.Serve(t, siteWithLogin(examplePage(t, site.url, "resume {\nowner {http.request.cookie.user}\n}")))
	login := func(user string) {
		t.Helper()
		b.open(s.Plain + "/login?user=" + user)
		b.open(s.Plain)
	}
	login("carol")
	b.write("A draft of Carol")

	login("alice")
	b.eventually(`ui.active().id === "question"`)
	if got := eval[string](b, value); got != "" {
		t.Errorf("the box of Alice has %q", got)
	}
	b.say("Secret of Alice")
	b.answered()
	b.write("A draft of Alice")

	login("alice")
	b.eventually(endedWell)
	if got := eval[string](b, value); got != "A draft of Alice" {
		t.Errorf("the box of Alice has %q", got)
	}

	login("bob")
	b.write("Question of Bob")
	b.eventually(`!ui("#send").disabled`)
	if got := eval[string](b, `ui("#log").textContent`); got != "" {
		t.Errorf("Bob sees %q", got)
	}
	b.press(keyEnter)
	b.answered()
	asked := site.questions()[1]
	if asked.ChatID != "" || len(asked.Messages) != 1 || asked.Messages[0].Content != "Question of Bob" {
		t.Errorf("Bob sends %+v", asked)
	}
}
