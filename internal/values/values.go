// Package values reads and checks values of a config: placeholders, secrets, ports and the words of a Caddyfile. No error of
// it prints a secret. It does not know which options there are.
package values

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// only matches a value that is one placeholder and nothing else.
var only = regexp.MustCompile(`^\{[^{}]+\}$`)

// placeholder matches a placeholder.
var placeholder = regexp.MustCompile(`\{[^{}]+\}`)

// onlyFile matches a value that is one {file.PATH} and nothing else.
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

// Placeholders returns the placeholders of s, as an error may print them. An error that is about the value of s names them
// instead, because the value may be a secret.
func Placeholders(s string) string {
	found := placeholder.FindAllString(s, -1)
	for i := range found {
		found[i] = Printable(found[i])
	}
	return strings.Join(found, " and ")
}

// Expand replaces the {env.*} and {file.*} placeholders of s. It returns an error if one of them is empty or cannot be
// read. It also returns an error if s has a placeholder of another kind.
func Expand(s string) (string, error) {
	return Replace(s, func(name, value string) error {
		if value == "" {
			return fmt.Errorf("%s is empty or cannot be read", Printable("{"+name+"}"))
		}
		return nil
	})
}

// Replace replaces {env.*} and {file.*} in s. It returns an error if check returns one, or if s has any other
// placeholder. Caddy's replacer knows others while a config loads, such as the time, but they do not belong in a
// config.
func Replace(s string, check func(name, value string) error) (string, error) {
	return caddy.NewReplacer().ReplaceFunc(s, func(name string, value any) (any, error) {
		if file, ok := strings.CutPrefix(name, shorthandOfFile); ok {
			return nil, fmt.Errorf("%s needs an absolute path, such as {file./etc/caddy/%s}, because Caddy reads it as a part of the request's path",
				Printable("{file."+file+"}"), Printable(file))
		}
		if !isSource(name) {
			return nil, unsupported(name)
		}
		return value, check(name, caddy.ToString(value))
	})
}

// CheckSources returns an error if s has a placeholder other than {env.*} and {file.*}. It does not replace them.
func CheckSources(s string) error {
	for _, found := range placeholder.FindAllString(s, -1) {
		name := found[1 : len(found)-1]
		if !isSource(name) && !strings.HasPrefix(name, shorthandOfFile) {
			return unsupported(name)
		}
	}
	return nil
}

// isSource reports whether a placeholder has a value that is known while a config loads, and that belongs in one.
func isSource(name string) bool {
	return strings.HasPrefix(name, "env.") || strings.HasPrefix(name, "file.")
}

// variable matches the name of an environment variable.
var variable = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

// unsupported returns the error for a placeholder of another kind. It shows the one that may be meant.
func unsupported(name string) error {
	meant := ""
	if source, rest, ok := strings.Cut(name, ":"); ok && (source == "env" || source == "file") {
		meant = source + "." + rest
	} else if variable.MatchString(name) {
		meant = "env." + name
	}
	shown := Printable("{" + name + "}")
	if suggestion := "{" + meant + "}"; meant != "" && Printable(suggestion) == suggestion {
		return fmt.Errorf("%s is not supported here; did you mean %s?", shown, suggestion)
	}
	return fmt.Errorf("%s is not supported here, only {env.*} and {file.*} are", shown)
}

// shorthandOfFile is what Caddy makes of "file." in a placeholder of a Caddyfile, unless a path with a slash follows.
const shorthandOfFile = "http.request.uri.path.file."

// ReadSecret returns the content of a regular file, without the line end that editors append. If the secret is longer
// than most bytes, the result is too, so that the caller can refuse it.
func ReadSecret(path string, most int) ([]byte, error) {
	// Reading a pipe could block a request without bound.
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	// A valid secret and its line end have no more than most+2 bytes. One more byte shows that a secret is too long.
	value, err := io.ReadAll(io.LimitReader(f, int64(most)+3))
	value = bytes.TrimSuffix(value, []byte("\n"))
	return bytes.TrimSuffix(value, []byte("\r")), err
}

// IsLoopback reports whether a host is a name or an address of this machine. Browsers take localhost, and the names below it,
// for this machine without DNS (RFC 6761, § 6.3).
func IsLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || ip != nil && ip.IsLoopback()
}

// ValidPort reports whether the port of u is from 1 to 65535, or missing, which means the scheme's default.
func ValidPort(u *url.URL) bool {
	if u.Port() == "" {
		return true
	}
	port, err := strconv.ParseUint(u.Port(), 10, 16)
	return err == nil && port > 0
}
