package upstream

import (
	"strings"
	"testing"
)

func TestEndpointIsChecked(t *testing.T) {
	for _, url := range []string{
		DefaultEndpoint, "http://chat.example", "https://chat.example/a%2Fb?x=1&y=2", "http://127.0.0.1:1/", "https://[::1]:65535/chat",
	} {
		if u, err := ParseEndpoint(url); err != nil || u.String() != url {
			t.Errorf("%s: got %v, %v", url, u, err)
		}
	}
	for url, reason := range map[string]string{
		"":                              "not an http or https URL",
		"/api/chat":                     "not an http or https URL",
		"//chat.example":                "not an http or https URL",
		"chat.example":                  "not an http or https URL",
		"chat.example:443":              "not an http or https URL",
		"ftp://chat.example":            "not an http or https URL",
		"httpss://chat.example":         "not an http or https URL",
		"https:":                        "names no host",
		"https:///api/chat":             "names no host",
		"https:chat.example":            "names no host",
		"https://:443/api/chat":         "names no host",
		"https://chat.example:0":        "port that does not exist",
		"https://chat.example:65536":    "port that does not exist",
		"https://chat.example:https/":   "port that does not exist",
		"https://chat.example/#chat":    "fragment",
		"https://chat.example/%zz":      "begins no escape",
		"https://[::1/api/chat":         "a [ without its ]",
		"https://chat.example/\r\nHost": "control character",
	} {
		if u, err := ParseEndpoint(url); err == nil || u != nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: got %v, %v; want %q in the error", url, u, err, reason)
		}
	}
}

// The errors for a literal URL print no more than its scheme and host.
func TestEndpointErrorsHideSecrets(t *testing.T) {
	const hidden = "hidden0password"
	for _, url := range []string{
		"https://" + hidden + "@chat.example",
		"https://user:" + hidden + "@chat.example",
		"https://user:" + hidden + "@chat.example:0/#chat", // with other mistakes as well
		"https://user:" + hidden + "@chat.example:port",
		"https://user:" + hidden + "@chat.example/%zz",
		"https://user:" + hidden + "@[::1",
		"https://user:" + hidden + "%zz@chat.example",
		"https://user:" + hidden + "\x7f@chat.example",
		"https://user:" + hidden + "@",
		"ftp://user:" + hidden + "@chat.example",
		"user:" + hidden + "@chat.example",
		"https://user:" + hidden + "/@chat.example",
		"https://user:" + hidden + "#@chat.example",
		"https://user:" + hidden + "?@chat.example",
		"https://user:12/" + hidden + "@chat.example", // url.Parse takes user for the host and 12 for the port
		"https://user:12?" + hidden + "@chat.example",
		"https://user:" + hidden,
		"https://chat.example:0/" + hidden,
		"https://chat.example:0/?key=" + hidden,
		"https://chat.example/?key=" + hidden + "#chat",
		"https://chat.example/#" + hidden,
		"https:///api?key=" + hidden,
		"ftp://chat.example/" + hidden + "?key=" + hidden,
		"chat.example/api?key=" + hidden,
		hidden,
		"ic_sandbox000000000000000000000000000000000", // the operator wrote the token after the wrong option
	} {
		if u, err := ParseEndpoint(url); err == nil || u != nil || strings.Contains(err.Error(), hidden) || strings.Contains(err.Error(), "ic_") {
			t.Errorf("%q: got %v, the error %v", url, u, err)
		}
	}
	_, err := ParseEndpoint("ftp://chat.example/api?key=" + hidden)
	if err == nil || !strings.HasPrefix(err.Error(), "ftp://chat.example: ") {
		t.Errorf("the error does not show the scheme and the host: %v", err)
	}
}

// An error for a URL by placeholder names the placeholder, and shows nothing of its value.
func TestEndpointErrorsNameThePlaceholder(t *testing.T) {
	for value, reason := range map[string]string{
		"ftp://hidden.example/hidden?key=hidden":     "not an http or https URL",
		"https://user:hidden@hidden.example":         "credentials",
		"https://hidden.example:0/?key=hidden":       "port",
		"https://hidden.example:hidden/":             "port",
		"https://hidden.example/?key=hidden#hidden":  "fragment",
		"https://hidden.example/%zzhidden":           "escape",
		"hidden":                                     "not an http or https URL",
		"ic_sandbox00000000000000000000000000hidden": "not an http or https URL",
	} {
		t.Setenv("TEST_URL", value)
		if _, err := ResolveEndpoint("{env.TEST_URL}"); err == nil || !strings.Contains(err.Error(), "{env.TEST_URL}") || !strings.Contains(err.Error(), reason) {
			t.Errorf("%s: got %v, want %q in the error", value, err, reason)
		} else if strings.Contains(err.Error(), "hidden") {
			t.Errorf("the error shows the value: %v", err)
		}
	}
}

// Placeholders are replaced. Everybody may see Public, so it has no query, and no path that could come from a placeholder.
func TestResolveEndpoint(t *testing.T) {
	t.Setenv("TEST_EMPTY", "")
	t.Setenv("TEST_HOST", "chat.example")
	t.Setenv("TEST_PATH", "a%2Fb")
	t.Setenv("TEST_URL", "https://chat.example/from/env?key=1")
	for configured, want := range map[string]struct{ url, public string }{
		"":                            {DefaultEndpoint, DefaultEndpoint},
		"https://chat.example/a%2Fb":  {"https://chat.example/a%2Fb", "https://chat.example/a%2Fb"},
		"http://chat.example:1/?key=": {"http://chat.example:1/?key=", "http://chat.example:1/"},
		"{env.TEST_EMPTY}":            {DefaultEndpoint, "https://beta.illumichat.com"},
		"{env.TEST_URL}":              {"https://chat.example/from/env?key=1", "https://chat.example"},
		"https://{env.TEST_HOST}:8443/{env.TEST_PATH}?key=1": {"https://chat.example:8443/a%2Fb?key=1", "https://chat.example:8443"},
	} {
		e, err := ResolveEndpoint(configured)
		if err != nil {
			t.Errorf("%q: %v", configured, err)
			continue
		}
		if e.URL.String() != want.url || e.Public != want.public {
			t.Errorf("%q: got %s and %s in public, want %s and %s", configured, e.URL, e.Public, want.url, want.public)
		}
	}
	for configured, reason := range map[string]string{
		"https://chat.example/{env.TEST_EMPTY}":        "{env.TEST_EMPTY} is empty",
		"https://{http.request.host}/api/chat":         "{http.request.host} is not supported",
		"{env.TEST_HOST}":                              "not an http or https URL",
		"https://user:{env.TEST_PATH}@{env.TEST_HOST}": "credentials",
	} {
		if e, err := ResolveEndpoint(configured); err == nil || e != nil || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: got %v, %v; want %q in the error", configured, e, err, reason)
		}
	}
}
