package sitetest

import (
	"os"
	"strings"
	"testing"
)

// WriteFile writes content to a file that only its owner can access.
func WriteFile(tb testing.TB, path, content string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// FakeToken returns a token of the documented form that repeats the character c. It is visibly not a real token. It is not the
// sandbox's token either, unless c is "0".
func FakeToken(c string) string { return "ic_sandbox" + strings.Repeat(c, 33) }
