package sitetest

import (
	"os"
	"strings"
	"testing"
)

func WriteFile(tb testing.TB, path, content string) {
	tb.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		tb.Fatal(err)
	}
}

// FakeToken is a token of the documented form that is visibly none, and not that of the sandbox.
func FakeToken(c string) string { return "ic_sandbox" + strings.Repeat(c, 33) }
