package page

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"testing"

	cdpnetwork "github.com/chromedp/cdproto/network"
	cdppage "github.com/chromedp/cdproto/page"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// hurry shortens timers of less than 5 s to 10 ms, in pages that are opened from now on.
func (b *browser) hurry() {
	b.tb.Helper()
	call(b, cdppage.AddScriptToEvaluateOnNewDocument, cdppage.AddScriptToEvaluateOnNewDocumentParams{Source: `
		const wait = globalThis.setTimeout;
		globalThis.setTimeout = (callback, milliseconds) => wait(callback, milliseconds < 5000 ? 10 : milliseconds);
	`})
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
	if got := eval[string](b, lastTurn+`.querySelector(".end button")?.textContent ?? ""`); got != "Try again" {
		b.tb.Errorf("the page has the button %q", got)
	}
	if said := eval[string](b, `document.querySelector("#announcer").textContent`); !strings.Contains(said, words) {
		b.tb.Errorf("a screen reader reads %q, want %q", said, words)
	}
	if eval[bool](b, `document.querySelector("#send").hidden`) {
		b.tb.Error("nothing further can be sent")
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
		tooMany = "Too many messages for now. Try again in"
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
		{"too many messages in it", server, "max_messages 2", []string{"Hello", "Hello"}, "This conversation has grown too long.", "too_many_messages:chat", ""},
		{"too large", server, "max_body_size 1KiB", []string{strings.Repeat("long ", 200)}, "This conversation has grown too long.", "too_large:chat", ""},
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
			if tc.text != "" && b.text() != tc.text {
				t.Errorf("the answer is %q, want %q", b.text(), tc.text)
			}
		})
	}

	t.Run("busy", func(t *testing.T) {
		b := b.in(t)
		s.Reload(examplePage(t, server.URL, "max_streams 1"))
		s.Ask(sitetest.Saying("/endless"))
		b.open(s.Plain)
		b.say("Hello")
		b.wantFailed("The assistant is busy. Try again in 1 second.", "overloaded:chat")
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

// The page explains every error of the README's table, even those that it never causes: a proxy in front of the chat or a
// modified page can cause them.
func TestBrowserTellsOfEveryError(t *testing.T) {
	rows := regexp.MustCompile("(?m)^\\| (\\d{3}) \\| `([a-z_:]+)` \\|").FindAllStringSubmatch(sitetest.Readme(t), -1)
	if len(rows) < 13 {
		t.Fatalf("the README has %d errors", len(rows))
	}
	b := openBrowser(t)
	b.hurry()
	var status int
	var code string
	chat := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fails(status, code, "30")(w, r) }))
	t.Cleanup(chat.Close)
	s := sitetest.Serve(t, fmt.Sprintf("root example/site\nfile_server\nreverse_proxy %s %s", sitetest.ChatPath, chat.URL))
	for _, row := range rows {
		status, _ = strconv.Atoi(row[1])
		code = row[2]
		t.Run(row[1]+" "+code, func(t *testing.T) {
			b := b.in(t)
			b.open(s.Plain)
			b.say("Hello")
			words := eval[string](b, fmt.Sprintf(`
				Promise.all([import("/explain.js"), import("/illumichat.js")]).then(([{ explain }, { ChatError }]) =>
					explain(new ChatError("that failed", { status: %d, code: %q, retryAfter: 30 })))`, status, code))
			b.wantFailed(words, code)
			switch code {
			case "bad_request:chat", "method_not_allowed:chat", "unsupported_media_type:chat":
				// The page itself is wrong, and its visitors can do nothing about that.
			default:
				if strings.Contains(words, "that failed") {
					t.Errorf("a visitor is told %q", words)
				}
			}
		})
	}
}
