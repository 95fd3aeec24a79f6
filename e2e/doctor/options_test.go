package doctor

import (
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/doctor/site"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// An option that cannot be used is an error, which says what to write. It shows no token.
func TestOptionsThatCannotBeUsed(t *testing.T) {
	const url = "https://example.com/api/chat-proxy"
	token := sitetest.FakeToken("3")
	for _, tc := range []struct {
		url     string
		options site.Options
		words   string
	}{
		{"example.com/chat", site.Options{}, "such as https://example.com/api/chat-proxy"},
		{"ftp://example.com/", site.Options{}, "no http or https URL"},
		{"https://example.com:99999/", site.Options{}, "no http or https URL"},
		{"https://alice:secret@example.com/", site.Options{}, "leave them out"},
		{"https://example.com/?" + token, site.Options{}, "API token"},
		{url, site.Options{Question: token}, "--question: this has the form of an API token"},
		{url, site.Options{Assistant: token}, "--assistant: this has the form of an API token"},
		{url, site.Options{}, "--question is empty"},
		{url, site.Options{NoChat: true, Origin: "www.example.com"}, "did you mean https://www.example.com?"},
		{url, site.Options{NoChat: true, Origin: "*"}, "--origin: * would let any page"},
		{url, site.Options{NoChat: true, Admin: "localhost"}, "such as localhost:2019"},
	} {
		var found findings
		err := site.Check(t.Context(), tc.url, tc.options, &found)
		if err == nil || !strings.Contains(err.Error(), tc.words) {
			t.Errorf("%s, %+v: got the error %v, want %q", tc.url, tc.options, err, tc.words)
		}
		if err != nil && (strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "secret@")) {
			t.Errorf("the error shows a secret: %v", err)
		}
		if len(found) > 0 {
			t.Errorf("%s: the check went on:\n%s", tc.url, found)
		}
	}
}
