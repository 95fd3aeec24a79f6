package page

import (
	"fmt"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// goBack goes back in the tab's history. The command "back" would wait for a page to load that may come from the cache for the
// Back button.
func (f *firefox) goBack() {
	f.tb.Helper()
	f.command("run", `setTimeout(() => history.back())`)
}

// The example's page works in Firefox: after a reload it continues the answer, and keeps the draft. Stop works, and a further
// reload, or a visit to another page, changes nothing of what the page shows.
func TestFirefoxKeepsTheConversation(t *testing.T) {
	f := openFirefox(t)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, examplePage(t, server.URL, ""))
	f.command("open", s.Plain)
	f.eventually(drawn)
	write := func(text string) {
		t.Helper()
		f.command("run", fmt.Sprintf(`{
			const box = ui("#question");
			box.value = %q;
			box.dispatchEvent(new Event("input"));
		}`, text))
	}
	const shown = `ui("#log")?.innerHTML`
	const writing = `ui(".text")?.textContent.match(/event %d\b/) && !ui("#stop").hidden`

	write("/drip 80 20ms /endless")
	f.command("run", `ui("#send").click()`)
	f.eventually(fmt.Sprintf(writing, 5))
	write("A draft")
	f.command("reload", nil)
	f.eventually(fmt.Sprintf(writing, 10))
	f.eventually(`ui("#question").value === "A draft"`)
	f.command("run", `ui("#stop").click()`)
	f.eventually(`ui(".end .line")?.textContent === "Stopped."`)
	upstream := server.Request(t, 0)
	upstream.Wait(t)
	if !upstream.Canceled() {
		t.Error("the upstream request was not canceled")
	}

	before := f.command("run", shown)
	f.command("reload", nil)
	f.eventually(fmt.Sprintf("%s === %s", shown, before))
	f.command("open", s.Plain+"/illumichat.js")
	f.goBack()
	f.eventually(fmt.Sprintf("%s === %s", shown, before))
	f.wantNoWrongs()
}

// A page that returns by the Back button does not show its conversation to a visitor who has signed in meanwhile, not even if it
// was loaded anew before.
func TestFirefoxGoesBackToNobodyElsesConversation(t *testing.T) {
	f := openFirefox(t)
	site := newScriptedSite(t, sends(someDelta+goodEnd))
	s := sitetest.Serve(t, siteWithLogin(examplePage(t, site.url, "resume {\nowner {http.request.cookie.user}\n}")))
	f.command("open", s.Plain+"/login?user=alice")
	f.command("open", s.Plain)
	f.eventually(drawn)
	f.command("run", `{
		ui("#question").value = "Secret of Alice";
		ui("#composer").requestSubmit();
	}`)
	f.eventually(`ui(".end")`)
	f.command("reload", nil)
	f.eventually(`ui(".end")`)
	f.command("open", s.Plain+"/login?user=bob")
	f.goBack()
	f.eventually(`ui("#log")?.textContent === ""`)
	f.wantNoWrongs()
}
