package upstream

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/illumichat/caddy-illumichat/internal/values"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// writeFile gives a file a content.
func writeFile(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestTokenIsChecked(t *testing.T) {
	longest := strings.Repeat("x", maxTokenLength)
	tests := []struct {
		what, value string
		refused     string // part of the error; "" if the value is a token
		lineEnd     bool   // ends with a line end, which is allowed in a file only
	}{
		{what: "documented", value: sandbox.Token},
		{what: "shortest", value: strings.Repeat("x", values.MinTokenLength)},
		{what: "longest", value: longest},
		{what: "all of printable ASCII", value: "!\"#$%&'()*+,-./0123456789:;<=>?@[]^_`|~"},

		{what: "ending with LF", value: sandbox.Token + "\n", lineEnd: true},
		{what: "ending with CR LF", value: sandbox.Token + "\r\n", lineEnd: true},
		{what: "longest with CR LF", value: longest + "\r\n", lineEnd: true},
		{what: "ending with two LF", value: sandbox.Token + "\n\n", refused: "ends with a line end"},
		{what: "ending with two CR LF", value: sandbox.Token + "\r\n\r\n", refused: "ends with a line end"},
		{what: "ending with a space", value: sandbox.Token + " ", refused: "ends with white space"},

		{what: "beginning with a space", value: " " + sandbox.Token, refused: "begins with white space"},
		{what: "with the word Bearer", value: "Bearer " + sandbox.Token, refused: "Bearer"},

		{what: "empty", value: "", refused: "empty"},
		{what: "too short", value: strings.Repeat("x", values.MinTokenLength-1), refused: "shorter than 16 bytes"},
		{what: "too long", value: longest + "x", refused: "longer than 2048 bytes"},
		{what: "much too long", value: longest + longest, refused: "longer than 2048 bytes"},
		{what: "too long with CR LF", value: longest + "x\r\n", refused: "longer than 2048 bytes"},
		{what: "two words", value: "ic_sandbox0000000000 00000000000000000000000", refused: "a space after 20 characters"},
		{what: "a tab", value: "ic_sandbox0000000000\t00000000000000000000000", refused: "control character"},
		{what: "a line end within", value: "ic_sandbox0000000000\n00000000000000000000000", refused: "line end in it"},
		{what: "DEL", value: sandbox.Token + "\x7f", refused: "control character"},
		{what: "not ASCII", value: sandbox.Token + "é", refused: "not ASCII"},
		{what: "in quotation marks", value: `"` + sandbox.Token + `"`, refused: "quotation marks"},
		{what: "in single quotation marks", value: "'" + sandbox.Token + "'", refused: "quotation marks"},
		{what: "a path", value: "/run/secrets/illumichat_token", refused: "{file.PATH}"},
		{what: "a relative path", value: "./secrets/illumichat_token", refused: "{file.PATH}"},
		{what: "a path of Windows", value: `C:\secrets\illumichat_token`, refused: "{file.PATH}"},
		{what: "with a slash within", value: "0123456789/0123456789"},
		{what: "byte order mark", value: "\ufeff" + sandbox.Token, refused: "byte order mark"},
		{what: "a short path", value: "/etc/token", refused: "{file.PATH}"},
		{what: "the name of a file", value: "illumichat_token.txt", refused: "{file.PATH}"},
		{what: "a line of an env file", value: "ILLUMICHAT_API_TOKEN=" + sandbox.Token, refused: "follows the equals sign"},
	}
	file := filepath.Join(t.TempDir(), "token")
	for _, test := range tests {
		t.Run(test.what, func(t *testing.T) {
			t.Setenv("TEST_TOKEN", test.value)
			writeFile(t, file, test.value)
			for _, configured := range []string{"{env.TEST_TOKEN}", "{file." + file + "}", test.value} {
				fromFile, literal := strings.HasPrefix(configured, "{file."), configured == test.value
				refused := test.refused
				if test.lineEnd && !fromFile {
					refused = "the token" // refused for the line end, or for the length including it
				}
				source, err := NewTokenSource(configured)
				if refused == "" {
					if err != nil {
						t.Errorf("%.30q: %v", configured, err)
						continue
					}
					token, err := source.Get()
					if want := strings.TrimRight(test.value, "\r\n"); err != nil || string(token.value) != want {
						t.Errorf("%.30q: got %q, %v", configured, token.value, err)
					}
					continue
				}
				if err == nil {
					t.Errorf("%.30q is accepted", configured)
					continue
				}
				if !strings.Contains(err.Error(), refused) {
					t.Errorf("%.30q: got %q, want %q in it", configured, err, refused)
				}
				if !literal && !strings.Contains(err.Error(), configured) && test.value != "" {
					t.Errorf("%.30q: got %q, want the placeholder in it", configured, err)
				}
				if strings.Contains(err.Error(), "ic_sandbox") || strings.Contains(err.Error(), "xxxx") {
					t.Errorf("%.30q: the error prints the token: %v", configured, err)
				}
			}
		})
	}
}

// A token has one source: one that is put together would be a literal in part, and would not be read for each request.
func TestTokenOfSeveralPlaceholders(t *testing.T) {
	t.Setenv("TEST_PREFIX", "ic_")
	for _, configured := range []string{
		"{env.TEST_PREFIX}{env.TEST_PREFIX}", "ic_sandbox{env.TEST_PREFIX}", "{env.TEST_PREFIX}sandbox{file./nowhere}", "Bearer {env.TEST_PREFIX}",
	} {
		if _, err := NewTokenSource(configured); err == nil || !strings.Contains(err.Error(), "{env.TEST_PREFIX}") ||
			!strings.Contains(err.Error(), "alone") || strings.Contains(err.Error(), "sandbox") {
			t.Errorf("%s: got %v", configured, err)
		}
	}
}

// A text that should lead to the token is not the token.
func TestReferencesAreNoTokens(t *testing.T) {
	for text, instead := range map[string]string{
		"env.ILLUMICHAT_API_TOKEN": "{env.NAME}", "ENV.ILLUMICHAT_API_TOKEN": "{env.NAME}", "env:ILLUMICHAT_API_TOKEN": "{env.NAME}",
		"{env.ILLUMICHAT_API_TOKEN": "{env.NAME}", "env.ILLUMICHAT_API_TOKEN}": "{env.NAME}", "$ILLUMICHAT_API_TOKEN": "{env.NAME}",
		"%ILLUMICHAT_API_TOKEN%": "{env.NAME}", "file./run/secrets/illumichat_token": "{file.PATH}", "file:///run/secrets/illumichat_token": "{file.PATH}",
		"run/secrets/illumichat_token": "{file.PATH}", "~/secrets/illumichat_token": "{file.PATH}", `secrets\illumichat_token`: "{file.PATH}",
		"C:/secrets/illumichat_token": "{file.PATH}", "op://vault/illumichat/token": "{file.PATH}", "secrets/token-2.txt/current": "{file.PATH}",
	} {
		if err := CheckTokenOption(text); err == nil || !strings.Contains(err.Error(), instead) {
			t.Errorf("%s: got %v", text, err)
		}
	}
	for _, token := range []string{
		"sandbox0/1234567890+/=", "0123456789/0123456789", "sandbox.environment.file", "aB3dE5fGh7IjK9l/mNo", "sandbox-env.x-file:y",
	} {
		if err := CheckTokenOption(token); err != nil {
			t.Errorf("%s: %v", token, err)
		}
	}
}

func TestTokenDoesNotShow(t *testing.T) {
	const value = sandbox.Token
	s := newToken([]byte(value))
	shown := map[string]string{}
	for _, verb := range []string{"%v", "%s", "%q", "%#v", "%+v", "%x", "%X"} {
		shown[verb] = fmt.Sprintf(verb, s)
		shown[verb+" of a pointer"] = fmt.Sprintf(verb, &s)
		shown[verb+" in a slice"] = fmt.Sprintf(verb, []Token{s})
	}
	for what, v := range map[string]any{"value": s, "pointer": &s, "slice": []Token{s}} {
		encoded, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		shown["JSON of a "+what] = string(encoded)
		entry, err := zapcore.NewJSONEncoder(zapcore.EncoderConfig{}).EncodeEntry(zapcore.Entry{}, []zap.Field{zap.Any("any", v), zap.Reflect("reflect", v)})
		if err != nil {
			t.Fatal(err)
		}
		shown["log field of a "+what] = entry.String()
	}
	b := []byte(value)[:8]
	for _, form := range []string{
		value, fmt.Sprintf("%x", b), fmt.Sprintf("%X", b), base64.StdEncoding.EncodeToString(b[:6]),
		strings.Trim(fmt.Sprint(b), "[]"), strings.TrimSuffix(fmt.Sprintf("%#v", b), "}")[len("[]byte{"):],
	} {
		for how, got := range shown {
			if strings.Contains(got, form) {
				t.Errorf("%s shows it: %s", how, got)
			}
		}
	}
}

// In finds the token wherever it is, and whichever of its bytes is the rarest.
func FuzzTokenIn(f *testing.F) {
	for _, token := range []string{sandbox.Token, "aaaaaaaaaaaaaaaa", "Q" + strings.Repeat("a", 20), strings.Repeat("a", 20) + "Q", "================"} {
		for _, text := range []string{
			"", token, token[1:], token[:len(token)-1], "x" + token, token + "x", token[:10] + token, strings.Repeat(token[:1], 100),
			strings.Repeat("Q", 20) + token, strings.Repeat(token[:len(token)-1]+"-", 20), strings.Repeat(token[:len(token)-1]+"-", 20) + token,
		} {
			f.Add(token, text)
		}
	}
	f.Fuzz(func(t *testing.T, token, text string) {
		if token == "" {
			return
		}
		s := newToken([]byte(token))
		if got, want := s.In([]byte(text)), strings.Contains(text, token); got != want {
			t.Errorf("%q in %q: got %t", token, text, got)
		}
	})
}

// The token is found in a text, and nothing else is.
func TestTokenOccursIn(t *testing.T) {
	t.Setenv("TEST_TOKEN", "a-token-of-another-form")
	source, err := NewTokenSource("{env.TEST_TOKEN}")
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]bool{"a-token-of-another-form": true, "x a-token-of-another-form": true, "a-token-of-another": false, "": false} {
		if got := source.OccursIn(text); got != want {
			t.Errorf("it occurs in %q: %v", text, got)
		}
	}
}

// The error for a placeholder that is the token itself, in place of a name, does not show it.
func TestTokenInPlaceOfAName(t *testing.T) {
	for _, configured := range []string{"{" + sandbox.Token + "}", "{env." + sandbox.Token + "}", "{file." + sandbox.Token + "}", "{env.HOME}" + sandbox.Token + " "} {
		if _, err := NewTokenSource(configured); err == nil || strings.Contains(err.Error(), sandbox.Token) {
			t.Errorf("got %v", err)
		}
	}
}
