package example

import (
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// The quick start, example/Caddyfile, serves its page and answers a chat.
func TestExampleServesItsPageAndAChat(t *testing.T) {
	const site = "http://localhost:8080"
	e := sitetest.RunExample(t, "Caddyfile", sandbox.Options{})
	e.WantPage(t, site)
	e.WantPolicy(t, site, "'self'")
	if page := sitetest.ReadExample(t, "site/chat.js"); !strings.Contains(page, sitetest.ChatPath) {
		t.Errorf("the page does not ask %s", sitetest.ChatPath)
	}
	sitetest.WantAnswer(t, e.Chat(t, site, sitetest.Hello))
}
