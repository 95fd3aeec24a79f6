package values

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// secret has the documented form of a token, and its text shows that it is not a real one.
const secret = "ic_sandbox000000000000000000000000000000000"

// No error prints a secret, wherever the operator puts one by mistake.
func TestErrorsPrintNoSecret(t *testing.T) {
	t.Setenv("SECRET", secret)
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, fail := range map[string]func() error{
		"a placeholder that is not supported": func() error { _, err := Expand("{" + secret + "}"); return err },
		"a value that is refused": func() error {
			_, err := Expand("{env.SECRET}{env.NOPE}")
			return err
		},
		"a file beside one that is missing": func() error {
			_, err := Expand("{file." + file + "}{file." + file + ".missing}")
			return err
		},
		"a surplus word": func() error {
			d := caddyfile.NewTestDispenser("directive " + secret)
			d.Next()
			return NoArgs(d, "leave it out")
		},
	} {
		if err := fail(); err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%s: got the error %v", name, err)
		}
	}
	if got := Printable("a word"); got != "a word" {
		t.Errorf("a word is printed as %q", got)
	}
}

func TestReadSecret(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "secret")
	for content, want := range map[string]string{
		"abc": "abc", "abc\n": "abc", "abc\r\n": "abc", "abc\n\n": "abc\n", "": "", "\n": "",
		"exactly10b\r\n": "exactly10b", strings.Repeat("x", 100): strings.Repeat("x", 13),
	} {
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := ReadSecret(file, 10); string(got) != want || err != nil {
			t.Errorf("%q: got %q, %v; want %q", content, got, err, want)
		}
	}
	for _, path := range []string{dir, filepath.Join(dir, "missing")} {
		if got, err := ReadSecret(path, 10); err == nil {
			t.Errorf("%s: got %q", path, got)
		}
	}
}

func TestValidPort(t *testing.T) {
	for text, want := range map[string]bool{
		"http://a": true, "http://a:1": true, "http://a:65535": true, "http://a:0": false, "http://a:65536": false, "http://[::1]:80": true,
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := ValidPort(u); got != want {
			t.Errorf("%s: the port is valid: %v", text, got)
		}
	}
}
