package sitetest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/require"
)

// ServeHAProxy runs HAProxy with a config until the test ends, and returns its URL. config returns the config for the address
// that HAProxy must listen on. The test is skipped if HAProxy is not installed.
func ServeHAProxy(tb testing.TB, config func(address string) string) string {
	tb.Helper()
	program := require.Program(tb, "haproxy")
	address := fmt.Sprintf("127.0.0.1:%d", localhost.Port(tb))
	file := filepath.Join(tb.TempDir(), "haproxy.cfg")
	WriteFile(tb, file, config(address))
	runProxy(tb, address, exec.Command(program, "-db", "-q", "-f", file))
	return "http://" + address
}
