package example

import (
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// The quick start, example/Caddyfile, serves its page and answers a chat.
func TestExampleServesItsPageAndAChat(t *testing.T) {
	const site = "http://localhost:8080"
	e := sitetest.RunExample(t, "Caddyfile", sandbox.Options{})
	e.WantPage(t, site+"/", sitetest.ChatPath)
	sitetest.WantAnswer(t, e.Chat(t, site, sitetest.Hello))
}
