// Package require tells a test whether a real part that it runs with, such as a program, is there.
package require

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// Program returns the path of a program that a test runs, or of another one that does as well.
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

// That ends a test that lacks what it runs with, if err says so. The test skips, or fails if the environment's
// ILLUMICHAT_TEST_REQUIRE, names with commas between, has the name.
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
