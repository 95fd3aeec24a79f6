package sitetest

import (
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/require"
)

// ServeNginx runs nginx with one server of these directives until the test ends, and returns its URL. It skips the test if
// nginx is not installed. A proxy keeps Host, unless it has a proxy_set_header of its own.
func ServeNginx(tb testing.TB, directives string) string {
	tb.Helper()
	program := require.Program(tb, "nginx")
	dir := tb.TempDir()
	address := fmt.Sprintf("127.0.0.1:%d", localhost.Port(tb))
	var paths strings.Builder
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&paths, "%s_temp_path %s; ", kind, filepath.Join(dir, kind))
	}
	config := filepath.Join(dir, "nginx.conf")
	WriteFile(tb, config, fmt.Sprintf(`daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/error.log; events {}
		http { access_log off; client_max_body_size 0; proxy_http_version 1.1; proxy_set_header Host $http_host; %[2]s
		server { listen %[3]s; %[4]s } }`, dir, paths.String(), address, directives))
	runProxy(tb, address, exec.Command(program, "-p", dir, "-c", config))
	return "http://" + address
}
