// Package require ends tests that need something real, such as a program, that this machine does not have.
package require

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Program returns the path of the program name. If that is not installed, it returns the path of the first of others
// that is. If none is, it ends the test as That does.
func Program(tb testing.TB, name string, others ...string) string {
	tb.Helper()
	path, err := exec.LookPath(name)
	for _, other := range others {
		if err != nil {
			path, err = exec.LookPath(other)
		}
	}
	That(tb, name, name, err)
	return path
}

// That ends the test if err is not nil, because something that the test needs is missing. The test fails if the environment
// variable ILLUMICHAT_TEST_REQUIRE, a comma-separated list, contains name. Otherwise the test is skipped. The message says what
// is missing.
func That(tb testing.TB, name, what string, err error) {
	tb.Helper()
	switch {
	case err == nil:
	case slices.Contains(strings.Split(os.Getenv("ILLUMICHAT_TEST_REQUIRE"), ","), name):
		tb.Fatalf("this test is required to run, with %s: %v", what, err)
	default:
		tb.Skipf("this test runs only with %s", what)
	}
}
