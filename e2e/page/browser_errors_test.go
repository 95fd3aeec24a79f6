package page

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	cdpnetwork "github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// hurry shortens timers of less than 5 s to 10 ms, in pages that are opened from now on.
func (b *browser) hurry() {
	b.tb.Helper()
	b.onNewPage(`
		const wait = globalThis.setTimeout;
		globalThis.setTimeout = (callback, milliseconds, ...values) => wait(callback, milliseconds < 5000 ? 10 : milliseconds, ...values);
	`)
}

// wantFailed waits for the latest answer to end. It checks that the page shows the words, the code and "Try again", that
// a screen reader reads the words, and that the visitor can send something else.
func (b *browser) wantFailed(words, code string) {
	b.tb.Helper()
	end := b.answered()
	if !strings.HasPrefix(end, words) {
		b.tb.Errorf("the page says %q, want %q", end, words)
	}
	if got := eval[string](b, lastTurn+`.querySelector(".end code")?.textContent ?? ""`); got != code {
		b.tb.Errorf("the page shows the code %q, want %q", got, code)
	}
	b.wantTryAgain()
	b.eventually(fmt.Sprintf(`ui("#announcer").textContent.includes(%q)`, words))
	if eval[bool](b, `ui("#send").hidden`) {
		b.tb.Error("nothing further can be sent")
	}
}

// wantTryAgain checks that the visitor can ask the latest question again, because its answer did not end well.
func (b *browser) wantTryAgain() {
	b.tb.Helper()
	if got := eval[string](b, lastTurn+`.querySelector(".end .again")?.innerText ?? ""`); got != "Try again" {
		b.tb.Errorf("the page has the button %q", got)
	}
}

// On a site with the module, the page explains each failure of a chat, shows its code and offers to try again. It keeps the
// part of the answer that has arrived.
func TestBrowserTellsOfFailures(t *testing.T) {
	b := openBrowser(t)
	b.hurry()
	server := sandboxtest.NewServer(t, sandbox.Options{})
	strange := sandboxtest.NewServer(t, sandbox.Options{Token: "ic_test000000000000000000000000000000000000", Assistants: []string{"asst_other"}})
	foreign := sandboxtest.NewServer(t, sandbox.Options{Assistants: []string{"asst_other"}})
	s := sitetest.Serve(t, examplePage(t, server.URL, ""))

	const (
		broke   = "The connection to the assistant broke off."
		slow    = "The assistant took too long."
		down    = "The assistant cannot be reached at the moment."
		wrong   = "This chat is not set up correctly."
		tooMany = "Too many messages for now."
	)
	for _, tc := range []struct {
		name          string
		upstream      *sandboxtest.Server
		subdirectives string
		say           []string // the last one fails
		words         string
		code          string
		text          string
	}{
		{"bad request", server, sitetest.Once, []string{"/status 400"}, "That did not work: The request is not valid.", "bad_request:chat", ""},
		{"token refused", strange, sitetest.Once, []string{"Hello"}, wrong, "unauthorized:upstream", ""},
		{"no such assistant", foreign, sitetest.Once, []string{"Hello"}, wrong, "not_found:chat", ""},
		{"too large", server, "max_body_size 1KiB", []string{strings.Repeat("long ", 200)}, "This message is too long for the assistant.", "too_large:chat", ""},
		{"limit", server, "limit 1 1h", []string{"Hello", "Hello"}, tooMany, "rate_limit:chat", ""},
		{"upstream's limit", server, sitetest.Once, []string{"/status 429 100"}, tooMany, "rate_limit:chat", ""},
		{"cool-down", server, sitetest.Once, []string{"/status 429 100", "Hello"}, tooMany, "rate_limit:chat", ""},
		{"no answer of a chat", server, sitetest.Once, []string{"/html"}, down, "bad_gateway:upstream", ""},
		{"too slow", server, sitetest.Once + "\nresponse_timeout 50ms\ncommit_after off", []string{"/silent"}, slow, "timeout:upstream", ""},
		{"too slow after the head", server, sitetest.Once + "\nresponse_timeout 100ms\ncommit_after 1ms", []string{"/hang"}, slow, "timeout:upstream", ""},
		{"cut", server, sitetest.Once, []string{"/cut"}, broke, "closed:upstream", firstWords},
		{"reset", server, sitetest.Once, []string{"/reset"}, broke, "closed:upstream", firstWords},
		{"stalled", server, "idle_timeout 100ms", []string{"/stall"}, slow, "stalled:upstream", firstWords},
		{"endless", server, "max_duration 500ms", []string{"/drip 100 20ms /endless"}, slow, "max_duration:upstream", ""},
		{"leak", server, sitetest.Once, []string{"/echo-token"}, broke, "leak:upstream", firstWords},
		{"error", server, sitetest.Once, []string{"/error"}, "That did not work: ", "", sitetest.SandboxText(t, "/error")},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			// The endpoint varies, because cool-downs and limits survive a reload: blocks with the same endpoint share them.
			s.Reload(examplePage(t, tc.upstream.URL+"?"+strconv.Itoa(len(tc.name)), tc.subdirectives))
			b.forget()
			b.open(s.Plain)
			for _, text := range tc.say {
				b.say(text)
				b.answered()
			}
			b.wantFailed(tc.words, tc.code)
			if want := asShown(tc.text); want != "" && b.text() != want {
				t.Errorf("the answer is %q, want %q", b.text(), want)
			}
			if tc.words == tooMany && !strings.Contains(b.answered(), "Try again in ") {
				t.Errorf("the page does not say when to try again: %q", b.answered())
			}
		})
	}

	t.Run("busy", func(t *testing.T) {
		b := b.in(t)
		s.Reload(examplePage(t, server.URL, "max_streams 1"))
		s.Ask(sitetest.Saying("/endless"))
		b.open(s.Plain)
		b.say("Hello")
		b.wantFailed("The assistant is busy.", "overloaded:chat")
		b.eventually(lastTurn + `.querySelector(".left").innerText === "You can ask again now."`)
	})
	t.Run("offline", func(t *testing.T) {
		b := b.in(t)
		b.open(s.Plain)
		b.offline(true)
		b.say("Hello")
		b.wantFailed("The site cannot be reached. Check your connection.", "unreachable:connection")
		b.offline(false)
	})
}

// An error event of the assistant is shown in its own words, with its code.
func TestBrowserTellsTheAssistantsOwnErrors(t *testing.T) {
	b := openBrowser(t)
	event := `data: {"type":"error","error":"The library is closed today.","code":"rate_limit:library"}` + "\n\n"
	site := newScriptedSite(t, sends(someDelta+event))
	b.open(sitetest.Serve(t, examplePage(t, site.url, sitetest.Once)).Plain)
	b.say("Hello")
	b.wantFailed("That did not work: The library is closed today.", "rate_limit:library")
	if got := b.text(); got != "Yes." {
		t.Errorf("the answer is %q", got)
	}
}

// If something else than the chat answers, the page says so, and sends its question once: a login page to which the site
// redirects, or the page of a firewall.
func TestBrowserTellsWhoElseAnswers(t *testing.T) {
	b := openBrowser(t)
	b.hurry()
	page := func(status int) http.HandlerFunc {
		return sitetest.Answering(status, "<!doctype html><title>Sign in</title>", "Content-Type", "text/html; charset=utf-8")
	}
	const (
		signedOut = "You are not signed in any more. Reload the page to sign in again."
		between   = "Something between this page and the assistant answered instead of it"
	)
	for _, tc := range []struct {
		name   string
		answer http.HandlerFunc
		words  string
		code   string
	}{
		{"redirect", sitetest.Answering(http.StatusFound, "", "Location", "/login"), signedOut, "redirected:connection"},
		{"redirect to another site", sitetest.Answering(http.StatusSeeOther, "", "Location", "https://login.invalid/"), signedOut, "redirected:connection"},
		{"401", sitetest.Answering(http.StatusUnauthorized, ""), signedOut, ""},
		{"login page", page(http.StatusOK), between, "not_chat:connection"},
		{"firewall", page(http.StatusForbidden), between, "not_chat:connection"},
		{"captive portal", sitetest.Answering(http.StatusNetworkAuthenticationRequired, ""), between, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			b := b.in(t)
			site := newScriptedSite(t, tc.answer)
			b.forget()
			b.openChat(site.url, "")
			b.say("Hello")
			b.wantFailed(tc.words, tc.code)
			if got := len(site.questions()); got != 1 {
				t.Errorf("the question was sent %d times", got)
			}
		})
	}
}

// A conversation that grows too long for the site goes on: the page sends its last part and says so. This holds after a reload.
func TestBrowserGoesOnWithALongConversation(t *testing.T) {
	b := openBrowser(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, examplePage(t, server.URL, ""))
	const note = `ui.all(".note")`
	for name, bound := range map[string]string{"messages": "max_messages 4", "bytes": "max_body_size 2KiB"} {
		t.Run(name, func(t *testing.T) {
			b := b.in(t)
			s.Reload(examplePage(t, server.URL, bound))
			b.forget()
			b.open(s.Plain)
			asked := 0
			for ; asked < 12 && !eval[bool](b, note+`.length > 0`); asked++ {
				b.say("Hello again, and again")
				if got := b.answered(); got != "" {
					t.Fatalf("question %d ends with %q", asked+1, got)
				}
			}
			if got, want := eval[string](b, lastTurn+`.querySelector(".note")?.textContent ?? ""`), "This conversation is long. The assistant sees only the last part of it."; got != want || asked < 2 {
				t.Errorf("with question %d, the page says %q, want %q", asked, got, want)
			}
			b.reload()
			b.say("And now?")
			if got := b.answered(); got != "" {
				t.Errorf("after a reload, the answer ends with %q", got)
			}
		})
	}
}

// An answer without text and tools is marked, and can be asked for again.
func TestBrowserTellsOfEmptyAnswers(t *testing.T) {
	b := openBrowser(t)
	blank := `data: {"type":"text-delta","textDelta":"\n"}` + "\n\n"
	site := newScriptedSite(t, sends(blank+goodEnd), sends(someDelta+goodEnd))
	b.open(sitetest.Serve(t, examplePage(t, site.url, sitetest.Once)).Plain)
	b.say("Hello")
	b.wantFailed("The assistant sent an empty answer.", "")
	b.click(".again")
	b.eventually(endedWell)
}

// A character that was cut in half does not end a conversation: not one of an answer, and not one of a question.
// The page sends no half, because some servers refuse a text that has one.
func TestBrowserGoesOnAfterHalfACharacter(t *testing.T) {
	b := openBrowser(t)
	half := `data: {"type":"text-delta","textDelta":"Hi \ud83d"}` + "\n\n"
	site := sitetest.NewUpstream(t, sitetest.ByMessage(map[string]http.HandlerFunc{"Hello": sends(half + goodEnd)}))
	b.openChat(site.URL, "")
	b.say("Hello")
	b.answered()
	for range 2 {
		eval[chromedp.Void](b, `{
			const box = ui("#question");
			box.value = "cut \ud83d";
			box.dispatchEvent(new Event("input"));
			box.form.requestSubmit();
		}`)
		if got := b.answered(); got != "" {
			t.Errorf("the next answer ends with %q", got)
		}
	}
	for _, asked := range site.Take() {
		if strings.Contains(strings.ToLower(asked.Body), `\ud83d`) {
			t.Errorf("the page sends %s", asked.Body)
		}
	}
}

// in returns the browser for the subtest tb.
func (b *browser) in(tb testing.TB) *browser {
	return &browser{tb: tb, tab: b.tab}
}

// offline cuts the tab off from the network, or reconnects it.
func (b *browser) offline(is bool) {
	b.tb.Helper()
	conditions := &cdpnetwork.Conditions{Offline: is, DownloadThroughput: -1, UploadThroughput: -1}
	call(b, cdpnetwork.EmulateNetworkConditionsByRule, cdpnetwork.EmulateNetworkConditionsByRuleParams{
		MatchedNetworkConditions: []*cdpnetwork.Conditions{conditions},
	})
}

// The page explains every error of the table in docs/errors.md, even those that it never causes: a proxy in front of the chat or
// a modified page can cause them.
func TestBrowserTellsOfEveryError(t *testing.T) {
	b := openBrowser(t)
	b.hurry()
	var row docstest.ErrorRow
	chat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fails(row.Status, row.Code, "30")(w, r) }))
	t.Cleanup(chat.Close)
	s := sitetest.Serve(t, sitePage(chat.URL, ""))
	for _, row = range docstest.ErrorRows(t) {
		t.Run(fmt.Sprint(row.Status, " ", row.Code), func(t *testing.T) {
			b := b.in(t)
			b.open(s.Plain + "/chat/")
			b.say("Hello")
			words, _, _ := strings.Cut(b.answered(), " "+row.Code)
			b.wantFailed(words, row.Code)
			// Only if the page itself is wrong does a visitor read the server's words.
			wrongPage := strings.HasPrefix(row.Code, "bad_request:") && row.Code != "bad_request:stream"
			if got := strings.Contains(words, "that failed"); got != wrongPage || words == "" {
				t.Errorf("a visitor is told %q", words)
			}
		})
	}
}
