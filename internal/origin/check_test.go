package origin

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// A page of the site itself passes if a proxy in front has only rewritten Host, and says which Host the browser asked.
func TestCheck(t *testing.T) {
	type header = map[string]string
	policy, err := New([]string{"https://shop.example.com"})
	if err != nil {
		t.Fatal(err)
	}
	const own = "https://www.example.com"
	for _, test := range []struct {
		name    string
		header  header
		trusted bool // the proxy that sent the request
		hint    string
	}{
		{"the site's own page", header{"Host": "www.example.com", "Origin": own}, false, ""},
		{"the default port in Host", header{"Host": "www.example.com:443", "Origin": own}, false, ""},
		{"capital letters in Host", header{"Host": "WWW.Example.com", "Origin": own}, false, ""},
		{"an allowed page", header{"Host": "backend", "Origin": "https://shop.example.com", "Sec-Fetch-Site": "cross-site"}, false, ""},
		{"no page", header{"Host": "backend"}, false, ""},
		{"a page that the browser knows", header{"Host": "backend", "Origin": own, "Sec-Fetch-Site": "same-origin"}, false, ""},

		{"a trusted proxy", header{"Host": "backend", "Origin": own, "X-Forwarded-Host": "www.example.com"}, true, ""},
		{"a trusted proxy that names the port", header{"Host": "backend", "Origin": own, "X-Forwarded-Host": "www.example.com:443"}, true, ""},
		{"a trusted proxy at another port", header{"Host": "backend", "Origin": own + ":8443", "X-Forwarded-Host": "www.example.com:8443"}, true, ""},
		{"two proxies", header{"Host": "backend", "Origin": own, "X-Forwarded-Host": "www.example.com , cdn.example.net"}, true, ""},
		{"an IPv6 address", header{"Host": "backend", "Origin": "http://[2001:db8::1]", "X-Forwarded-Host": "[2001:db8::1]:80"}, true, ""},
		{"a trusted proxy that keeps Host", header{"Host": "www.example.com", "Origin": own, "X-Forwarded-Host": "else.example"}, true, ""},

		{"a proxy that rewrites Host", header{"Host": "backend", "Origin": own}, false, hintRewritten},
		{"a trusted proxy without the field", header{"Host": "backend", "Origin": own}, true, hintRewritten},
		{"a trusted proxy, another page", header{"Host": "backend", "Origin": "https://else.example", "X-Forwarded-Host": "www.example.com"}, true, hintRewritten},
		{"a trusted proxy, another port", header{"Host": "backend", "Origin": own + ":8443", "X-Forwarded-Host": "www.example.com"}, true, hintRewritten},
		{"the default port of another scheme", header{"Host": "www.example.com:80", "Origin": own}, false, hintRewritten},
		{"the second of two hosts", header{"Host": "backend", "Origin": own, "X-Forwarded-Host": "else.example, www.example.com"}, true, hintRewritten},
		{"Forwarded", header{"Host": "backend", "Origin": own, "Forwarded": "host=www.example.com"}, true, hintRewritten},
		{"nobody's X-Forwarded-Host", header{"Host": "backend", "Origin": own, "X-Forwarded-Host": "www.example.com"}, false, hintUntrusted},
		{"a page that the browser knows as another's", header{"Host": "backend", "Origin": own, "Sec-Fetch-Site": "cross-site", "X-Forwarded-Host": "www.example.com"}, true, hintForeign},
		{"a page within the site", header{"Host": "backend", "Origin": own, "Sec-Fetch-Site": "same-site"}, false, hintForeign},
		{"no origin", header{"Host": "backend", "Sec-Fetch-Site": "cross-site"}, false, hintNoPage},
		{"no origin that can be told", header{"Host": "backend", "Origin": "null"}, false, hintNoPage},
		{"what is no origin", header{"Host": "backend", "Origin": "https://%zz"}, false, hintNoPage},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, method := range []string{http.MethodPost, http.MethodGet, http.MethodOptions} {
				r := httptest.NewRequestWithContext(t.Context(), method, "/", nil)
				r.Host = test.header["Host"]
				for name, value := range test.header {
					if name != "Host" {
						r.Header.Set(name, value)
					}
				}
				err := policy.Check(r, test.trusted)
				e, refused := errors.AsType[*apierror.Error](err)
				if refused != (test.hint != "") || refused && e.Hint != test.hint {
					t.Errorf("%s: got %v with the hint of %+v, want the hint %q", method, err, e, test.hint)
				}
				if refused && (!strings.Contains(e.Cause.Error(), test.header["Origin"]) || !strings.Contains(e.Cause.Error(), test.header["Host"])) {
					t.Errorf("%s: the cause does not name the hosts: %v", method, e.Cause)
				}
				if refused && len(e.Text) > 100 {
					t.Errorf("the visitor gets a long text: %s", e.Text)
				}
			}
		})
	}
}

// Each value of the request is cut in a cause, and none reaches a hint.
func TestCauseIsShort(t *testing.T) {
	policy, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("a", 10_000)
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	r.Host = long
	r.Header = http.Header{"Origin": {"https://" + long + "\n"}, "X-Forwarded-Host": {long + "b"}}
	e, _ := errors.AsType[*apierror.Error](policy.Check(r, false))
	if e == nil || len(e.Cause.Error()) > 500 || strings.Contains(e.Hint, "aaa") || strings.Contains(e.Cause.Error(), "\n") {
		t.Errorf("got %v with the hint %q", e.Cause, e.Hint)
	}
}
