package e2e

import (
	"os"
	"runtime"
	"syscall"
	"testing"
)

// nobody is a user who owns no file of the tests.
const nobody = 65534

// unprivileged calls f without root's permission to read any file. f reads its files in this goroutine.
func unprivileged(t *testing.T, f func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		f()
		return
	}
	// The user of file accesses is the thread's own (setfsuid(2)).
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := syscall.Setfsuid(nobody); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := syscall.Setfsuid(0); err != nil {
			t.Fatal(err)
		}
	}()
	f()
}
