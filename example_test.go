package illumichat

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// adaptSilently adapts a Caddyfile that must not give rise to a warning.
func adaptSilently(tb testing.TB, caddyfile string) []byte {
	tb.Helper()
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		tb.Fatalf("adapting the Caddyfile: %v", err)
	}
	for _, w := range warnings {
		tb.Errorf("adapting the Caddyfile: %s", w)
	}
	return config
}

func TestExampleServesItsPageAndAChat(t *testing.T) {
	const site = "http://localhost:8080"
	e := runExample(t, "Caddyfile", sandbox.Options{})
	e.wantPage(t, site)
	e.wantPolicy(t, site, "'self'")
	if page := readExample(t, "site/chat.js"); !strings.Contains(page, sitetest.ChatPath) {
		t.Errorf("the page does not ask %s", sitetest.ChatPath)
	}
	wantAnswer(t, e.chat(t, site, sitetest.Hello))
}
