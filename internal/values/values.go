// Package values reads values of a config, which may be placeholders or secrets.
package values

import (
	"bytes"
	"fmt"
	"io"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// only is a value that is one placeholder and nothing else.
var only = regexp.MustCompile(`^\{[^{}]+\}$`)

// onlyFile is one that is a {file.PATH}.
var onlyFile = regexp.MustCompile(`^\{file\.([^{}]+)\}$`)

// IsPlaceholder reports whether s is one placeholder and nothing else.
func IsPlaceholder(s string) bool { return only.MatchString(s) }

// HasPlaceholder reports whether s has to be expanded before it can be checked.
func HasPlaceholder(s string) bool { return strings.ContainsRune(s, '{') }

// File returns the path of a value that is one {file.PATH} and nothing else.
func File(s string) (path string, ok bool) {
	match := onlyFile.FindStringSubmatch(s)
	if match == nil {
		return "", false
	}
	return match[1], true
}

// Expand replaces the placeholders of a value, none of which may be empty.
func Expand(s string) (string, error) {
	return Replace(s, func(name, value string) error {
		if value == "" {
			return fmt.Errorf("{%s} is empty or cannot be read", name)
		}
		return nil
	})
}

// Replace replaces {env.*} and {file.*}, if check agrees, and refuses others: what else Caddy's replacer
// knows while a config loads, such as the time, is no part of one.
func Replace(s string, check func(name, value string) error) (string, error) {
	return caddy.NewReplacer().ReplaceFunc(s, func(name string, value any) (any, error) {
		if !strings.HasPrefix(name, "env.") && !strings.HasPrefix(name, "file.") {
			return nil, fmt.Errorf("{%s} is not supported here, only {env.*} and {file.*} are", Printable(name))
		}
		return value, check(name, caddy.ToString(value))
	})
}

// ReadSecret returns what a file holds, without the line end that editors leave. Of one that is longer than most bytes it returns more than that.
func ReadSecret(path string, most int) ([]byte, error) {
	// A pipe could keep a request waiting without bound.
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// One byte more than a secret and its line end can have, so that a longer one is refused.
	value, err := io.ReadAll(io.LimitReader(f, int64(most)+3))
	value = bytes.TrimSuffix(value, []byte("\n"))
	return bytes.TrimSuffix(value, []byte("\r")), err
}

// APIToken is the form of a token that the vendor documents.
var APIToken = regexp.MustCompile(`^ic_[0-9A-Za-z]{40}$`)

// Printable is a word as errors may print it: not a token that stands where it should not.
func Printable(word string) string {
	if APIToken.MatchString(word) {
		return "…"
	}
	return word
}

// ValidPort reports whether u has a usable port, or leaves it to its scheme.
func ValidPort(u *url.URL) bool {
	if u.Port() == "" {
		return true
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port > 0
}

// NoArgs refuses a further argument on the line of a Caddyfile.
func NoArgs(d *caddyfile.Dispenser) error {
	if d.NextArg() {
		return d.Errf("unexpected argument '%s'", Printable(d.Val()))
	}
	return nil
}
