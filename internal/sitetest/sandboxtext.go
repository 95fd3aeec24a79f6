package sitetest

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

// SandboxText returns the text of the sandbox's usual answer, which quotes said.
func SandboxText(tb testing.TB, said string) string {
	tb.Helper()
	var text strings.Builder
	for _, e := range SandboxEvents(tb) {
		text.WriteString(e.TextDelta)
	}
	const quoted = "“Hello”"
	if strings.Count(text.String(), quoted) != 1 {
		tb.Fatalf("the answer does not quote the question once: %q", text.String())
	}
	return strings.Replace(text.String(), quoted, "“"+said+"”", 1)
}

// SandboxEvents returns the events of the sandbox's usual answer to "Hello". It reads the answer without the page's client.
func SandboxEvents(tb testing.TB) []Event {
	tb.Helper()
	r := httptest.NewRequestWithContext(tb.Context(), http.MethodPost, ChatPath, strings.NewReader(Hello))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	BareChat().ServeHTTP(w, r)
	return DecodeEvents(tb, w.Body.String())
}

// BareChat returns a chat endpoint with nothing between the page and the sandbox, so a broken answer reaches the page as it is.
func BareChat() http.Handler {
	api := sandbox.New(sandbox.Options{})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Authorization", "Bearer "+sandbox.Token)
		api.ServeHTTP(w, r)
	})
}
