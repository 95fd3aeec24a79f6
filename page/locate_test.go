package page

import (
	"net/http/httptest"
	"strings"
	"testing"
)

func TestLocate(t *testing.T) {
	const asset = "assets/0123456789abcdef/lib/turn.js"
	for _, test := range []struct {
		path     string // configured
		request  string // as other handlers have left it
		original string // "": the same
		want     string // the file's name; "": the next handler's; "redirect"
	}{
		{"/chat", "/chat", "", "redirect"},
		{"/chat", "/CHAT", "", "redirect"},
		{"/chat", "/chat/", "", "index.html"},
		{"/chat", "/Chat/", "", "index.html"},
		{"/chat", "/chat/illumichat.js", "", "illumichat.js"},
		{"/chat", "/chat/" + asset, "", asset},
		{"/chat", "/chat/assets/page.css", "", ""},
		{"/chat", "/chat/assets/", "", ""},
		{"/chat", "/chat//", "", ""},
		{"/chat", "/chat/deep/illumichat.js", "", ""},
		{"/chat", "/chat/lib/turn.js", "", ""},
		{"/chat", "/chat/index.html", "", ""},
		{"/chat", "/chat/nothing", "", ""},
		{"/chat", "/chatty", "", ""},
		{"/chat", "/cha", "", ""},
		{"/chat", "/", "", ""},
		{"/chat", "/chat", "/app/chat", "redirect"},
		{"/chat", "/chat/", "/app/chat/", "index.html"},
		{"/chat/", "/chat", "", "redirect"},
		{"/chat/", "/chat/", "", "index.html"},

		{"/", "/", "", "index.html"},
		{"/", "", "/chat", "redirect"},
		{"/", "/illumichat.js", "", "illumichat.js"},
		{"/", "/about", "", ""},
		{"/", "/about/", "", ""},

		{"", "/", "", "index.html"},
		{"", "/any/folder/", "", "index.html"},
		{"", "/any/folder", "", "redirect"},
		{"", "/any/page.html", "", ""},
		{"", "/any/illumichat.js", "", "illumichat.js"},
		{"", "/any/" + asset, "", asset},
		{"", "/assets/" + asset, "", asset},
		{"", "/assets/app.js", "", ""},
		{"", "/any/assets/short/lib/turn.js", "", ""},
		{"", "/", "/chat", "redirect"},
		{"", "", "/chat", "redirect"},
		{"", "/", "/chat/", "index.html"},
		{"", "/illumichat.js", "/chat/illumichat.js", "illumichat.js"},
		{"", "/folder", "/rewritten/", "index.html"},
	} {
		h := &Handler{Path: test.path}
		var err error
		h.setDefaults()
		if h.site, err = h.newSite(); err != nil {
			t.Fatal(err)
		}
		if test.original == "" {
			test.original = test.request
		}
		got, asked := h.locate(test.request, test.original)
		if asked == folder {
			got = "redirect"
		}
		if got != test.want || (asked == elsewhere) != (test.want == "") {
			t.Errorf("path %q: %s (%s) leads to %q, %v, want %q", test.path, test.request, test.original, got, asked, test.want)
		}
	}
}

// Wherever the page is, the redirect leads to the same host, and to the page.
func TestRedirectStays(t *testing.T) {
	for request, want := range map[string]string{
		"/chat":                    "http://example.com/chat/",
		"/app/chat?a=b&c":          "http://example.com/app/chat/?a=b&c",
		"//evil.example":           "http://example.com//evil.example/",
		"/https:%2f%2fevil":        "http://example.com/https:%2f%2fevil/",
		"/javascript:alert":        "http://example.com/javascript:alert/",
		`/%5cevil.example`:         "http://example.com/%5Cevil.example/",
		"/a%20b":                   "http://example.com/a%20b/",
		"/a%0d%0aSet-Cookie:%20a=": "http://example.com/a%0D%0ASet-Cookie:%20a=/",
	} {
		r := httptest.NewRequestWithContext(t.Context(), "GET", request, nil)
		w := httptest.NewRecorder()
		redirect(w, r.URL)
		location := w.Header().Get("Location")
		base := *r.URL
		base.Scheme, base.Host = "http", "example.com"
		to, err := base.Parse(location)
		if err != nil || !strings.EqualFold(to.String(), want) || strings.ContainsAny(location, "\\\r\n ") {
			t.Errorf("%s: %q leads to %v, %v, want %s", request, location, to, err, want)
		}
	}
}
