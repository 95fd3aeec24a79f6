package values

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// An error prints words that are no secrets as they are.
func TestWordsArePrinted(t *testing.T) {
	for _, word := range []string{
		"", "tokne", "max_streams_per_client", "asst_demo", "20", "1h", "https://www.example.com", "https://www.example.com:8443/chat",
		"{env.ILLUMICHAT_API_TOKEN_OF_SITE_2}", "{file./run/secrets/site-2@example/0123456789abcdef0123}", "{evn.TEST_ASSISTANT}", "{http.auth.user.id}",
		"topic_identifier1", "wss", "@api", "Straße", "{file./run/secrets/ic_production}", "{env.ic_production_site_2}", "{file./run/secrets/wsk_live_production}",
		"{file./run/secrets/ic_production2024}", "ic_production", "max_idle_conns_per_host", "tls_insecure_skip_verify", "assistantIdentifier", "expectContinueTime",
		"1h30m15s500ms", "response_timeout2", "192.168.100.200/24", "chat.staging-2.eu-west-1.example.com", "https://d111111abcdef8.cloudfront.net/chat",
		"ec2-203-0-113-25.compute-1.amazonaws.com", "/run/secrets/illumichat_token", "/etc/caddy/site-2/Caddyfile", "asst_abc123def456", "asst_abc123def456ghi789jkl",
		"example.com:8443/api/v1/chat", "http.request.remote.host/24", "2026-11-30T06:27:32", "everyone-of-the-site", "a-token-in-words",
	} {
		if got := Printable(word); got != word {
			t.Errorf("%q is printed as %q", word, got)
		}
	}
}

// An error prints no secret, whatever stands around it, and the rest of the word.
func TestSecretsAreNotPrinted(t *testing.T) {
	const newer = "wsk_live_sandbox00"
	const opaque = "Zm9vYmFyYmF6cXV4Zm9vYmFy"
	for word, want := range map[string]string{
		secret:                       "…",
		"token=" + secret:            "token=…",
		"token " + secret:            "token …",
		`"` + secret + `"`:           `"…"`,
		"{" + secret + "}":           "{…}",
		"{env." + secret + "}":       "{env.…}",
		secret[:20]:                  "…",
		"x:" + secret + "," + secret: "x:…,…",
		newer:                        "…",
		"key:" + newer:               "key:…",
		"say " + newer + " now":      "say … now",
		opaque:                       "…",
		"d41d8cd98f00b204e980":       "…",
		"d41d8cd98f00b204":           "…",
		"k3J9xQ2mZ7pL4wRt":           "…",
		"aBcDeFgHiJkLmNoP":           "…",
		"0123456789abcdef":           "…",
		"a1b2-c3d4-e5f6-g7h8":        "…",
		"eyJhbGciOiJIUzI1.eyJzdWIiOiIx.c2lnbmF0dQ": "…",
		"aB3x/dE5fGh7IjK9l+":                       "…",
		"~k3J9xQ2.mZ7pL4wRt~":                      "…",
		"transport k3J9xQ2mZ7pL4wRt":               "transport …",
		"https://chat.example/k3J9xQ2mZ7pL4wRt":    "https://chat.example/…",
		secret[:15]:                                "…",
		"{env.HOST}/" + secret[:15]:                "{env.HOST}/…",
		"{env." + secret[:20] + "}":                "{env.…}",
		"{env." + newer + "}":                      "{env.…}",
		"Token: correct horse":                     "Token: …",
		"Bearer abc":                               "Bearer …",
		"password=abc":                             "password=…",
		"api_key=abc":                              "api_key=…",
		"https://user:pass@www.example.com":        "https://…@www.example.com",
		"https://user:pa/ss#@www.example.com":      "https://…@www.example.com",
		"user:pass@www.example.com":                "…@www.example.com",
		"https://www.example.com/?key=abc":         "https://www.example.com/?…",
		"https://www.example.com/#abc":             "https://www.example.com/#…",
		"{env.HOST}/" + opaque:                     "{env.HOST}/…",
		strings.Repeat("é", 51):                    strings.Repeat("é", 50) + "…",
		"\xff" + secret:                            "�…",
		"token\n" + secret[:5] + "\n" + secret[5:]: "token\n…",
	} {
		if got := Printable(word); got != want {
			t.Errorf("%q is printed as %q, want %q", word, got, want)
		}
	}
}

// No text around a token lets it through.
func FuzzPrintable(f *testing.F) {
	for _, around := range []string{"", "token=", "{", "https://a:", "\xff", "é"} {
		f.Add(around, "}")
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		if got := Printable(before + " " + secret + after); strings.Contains(got, secret) {
			t.Errorf("%q is printed", got)
		}
	})
}

func TestHoldsToken(t *testing.T) {
	for text, want := range map[string]bool{
		secret: true, "x " + secret: true, "{" + secret: true, "wsk_live_sandbox00": true,
		"": false, "asst_demo": false, "ic_chat": false, "topic_" + secret[3:]: false, "wsk_live_": false,
	} {
		if got := HoldsToken(text); got != want {
			t.Errorf("%q holds a token: %v", text, got)
		}
	}
}

// An error of other code loses its token, and nothing else.
func TestPrintableError(t *testing.T) {
	if err := PrintableError(nil); err != nil {
		t.Errorf("nil becomes %v", err)
	}
	if err := PrintableError(fs.ErrNotExist); err != fs.ErrNotExist {
		t.Errorf("an error without a token becomes %v", err)
	}
	if err := PrintableError(&fs.PathError{Op: "open", Path: "/run/secrets/ic_production", Err: fs.ErrNotExist}); !strings.Contains(err.Error(), "ic_production") {
		t.Errorf("the name of a file is hidden: %v", err)
	}
	err := PrintableError(&fs.PathError{Op: "open", Path: secret, Err: fs.ErrNotExist})
	if got, want := err.Error(), "open …: file does not exist"; got != want || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPlaceholders(t *testing.T) {
	for text, want := range map[string]string{
		"https://{env.HOST}:8443/{env.PATH}?key=1": "{env.HOST} and {env.PATH}", "{env.X}": "{env.X}", "abc": "", "{" + secret + "}": "{…}",
	} {
		if got := Placeholders(text); got != want {
			t.Errorf("%q has the placeholders %q, want %q", text, got, want)
		}
	}
}
