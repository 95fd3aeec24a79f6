package redistest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/require"
)

// Clock is the clock of a server, which a test can change.
type Clock struct {
	tb   testing.TB
	file string
}

// StartWithClock is like Start, but the test can change the server's clock. It needs libfaketime.
func StartWithClock(tb testing.TB, options ...string) (*Server, *Clock) {
	tb.Helper()
	program := require.Program(tb, "redis-server")
	libraries, _ := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	var err error
	if len(libraries) == 0 {
		err = os.ErrNotExist
		libraries = []string{""}
	}
	require.That(tb, "faketime", "libfaketime", err)
	c := &Clock{tb: tb, file: filepath.Join(tb.TempDir(), "clock")}
	c.Shift(0)
	s := newServer(tb, program, options)
	s.env = []string{
		// Redis's own allocator asks for the time before libfaketime is ready, so Redis gets that of the C library.
		"LD_PRELOAD=" + libraries[0] + " libc.so.6", "FAKETIME_TIMESTAMP_FILE=" + c.file, "FAKETIME_NO_CACHE=1", "FAKETIME_DONT_FAKE_MONOTONIC=1",
	}
	s.start()
	return s, c
}

// Shift sets the server's clock to the real time plus d.
func (c *Clock) Shift(d time.Duration) {
	c.tb.Helper()
	next := c.file + ".next"
	if err := os.WriteFile(next, fmt.Appendf(nil, "%+.3fs", d.Seconds()), 0o600); err != nil {
		c.tb.Fatal(err)
	}
	if err := os.Rename(next, c.file); err != nil {
		c.tb.Fatal(err)
	}
}
