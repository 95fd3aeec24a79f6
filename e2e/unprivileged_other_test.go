//go:build !linux

package e2e

import (
	"os"
	"testing"
)

// unprivileged calls f, unless the tests run as root, who may read any file.
func unprivileged(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() == 0 {
		t.Skip("root reads any file")
	}
	f()
}
