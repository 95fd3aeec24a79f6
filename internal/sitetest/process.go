package sitetest

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// caddyConfig is the environment variable that makes Main run Caddy. Its value is the path of the config file.
const caddyConfig = "ILLUMICHAT_TEST_CADDY_CONFIG"

// Main is the TestMain of a package. In a process that Run or Start has started, it runs Caddy, and in one of Command, that
// command. Otherwise it changes to the module's top directory, runs the tests there, and then the cleanups.
func Main(m *testing.M, cleanups ...func()) {
	if args := os.Getenv(caddyArgs); args != "" {
		runCommand(args, caddycmd.Main)
		return
	}
	if config := os.Getenv(caddyConfig); config != "" {
		os.Args = []string{"caddy", "run", "--config", config}
		caddycmd.Main()
		return
	}
	if err := changeToTop(); err != nil {
		panic(err)
	}
	code := m.Run()
	for _, cleanup := range cleanups {
		cleanup()
	}
	os.Exit(code)
}

// changeToTop changes to the directory of the module's go.mod.
func changeToTop() error {
	dir, err := os.Getwd()
	if err != nil {
		return err
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return os.Chdir(dir)
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return err
		}
		dir = parent
	}
}

// Process is a Caddy in a process of its own. It can exit, which a Caddy in the test's own process cannot.
type Process struct {
	admin     string // the path of the admin API's socket
	OSProcess *os.Process
	output    output
	exited    chan error
}

// output is what a process has written so far.
type output struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write adds p to the output.
func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

// String returns the output so far.
func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Output returns what the process has written to its standard output and its standard error so far.
func (p *Process) Output() string { return p.output.String() }

// Admin returns the address of the process's admin API.
func (p *Process) Admin() string { return "unix/" + p.admin }

// Run serves the site with the given directives in a process of its own, and waits until it accepts connections. The process
// ends with the test.
func Run(tb testing.TB, s *Site, directives string) *Process {
	tb.Helper()
	return start(tb, s.Adapt(directives), func() bool {
		secure, err := tls.Dial("tcp", strings.TrimPrefix(s.Secure, "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return false
		}
		secure.Close()
		plain, err := net.Dial("tcp", strings.TrimPrefix(s.Plain, "http://"))
		if err != nil {
			return false
		}
		plain.Close()
		return true
	})
}

// start runs a config in a process of its own, and waits until ready returns true. The process ends with the test.
func start(tb testing.TB, config []byte, ready func() bool) *Process {
	tb.Helper()
	// The path of a Unix socket has to be short, and that of tb.TempDir may not be.
	dir, err := os.MkdirTemp("", "caddy")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	p := &Process{admin: filepath.Join(dir, "admin"), exited: make(chan error, 1)}
	file := filepath.Join(dir, "caddy.json")
	WriteFile(tb, file, string(p.withAdmin(tb, config)))

	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	command := exec.CommandContext(tb.Context(), self)
	// The first handshake may arrive while the process is still starting (see loaded), so a race there must not be a failure.
	command.Env = append(os.Environ(), caddyConfig+"="+file, "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, "GORACE=exitcode=0 atexit_sleep_ms=0")
	command.Stdout, command.Stderr = &p.output, &p.output
	if err := command.Start(); err != nil {
		tb.Fatal(err)
	}
	p.OSProcess = command.Process
	go func() {
		p.exited <- command.Wait()
		close(p.exited)
	}()
	tb.Cleanup(func() { <-p.exited })
	Eventually(tb, "the process serves its sites", ready)
	return p
}

// withAdmin returns a config with an admin API that listens at p.admin.
func (p *Process) withAdmin(tb testing.TB, config []byte) []byte {
	tb.Helper()
	var fields map[string]any
	if err := json.Unmarshal(config, &fields); err != nil {
		tb.Fatal(err)
	}
	fields["admin"] = map[string]any{"listen": "unix/" + p.admin, "config": map[string]any{"persist": false}}
	config, err := json.Marshal(fields)
	if err != nil {
		tb.Fatal(err)
	}
	return config
}

// Reload replaces the config of the process.
func (p *Process) Reload(tb testing.TB, config []byte) {
	tb.Helper()
	status, body, _ := p.Ask(tb, http.MethodPost, "/load", p.withAdmin(tb, config))
	if status != http.StatusOK {
		tb.Fatalf("the config was not loaded: %d: %s", status, body)
	}
}

// Ask sends a request to the process's admin API and returns the answer.
func (p *Process) Ask(tb testing.TB, method, path string, body []byte) (status int, answer string, header http.Header) {
	tb.Helper()
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", p.admin)
		},
	}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(tb.Context(), method, "http://caddy"+path, bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, ReadAll(tb, resp), resp.Header
}

// Exit sends SIGTERM to the process, as a service manager does. It does not wait for the process to end.
func (p *Process) Exit(tb testing.TB) {
	tb.Helper()
	if err := p.OSProcess.Signal(syscall.SIGTERM); err != nil {
		tb.Fatal(err)
	}
}

// Wait waits until the process ends, for at most Patience, and checks that it exits without an error.
func (p *Process) Wait(tb testing.TB) {
	tb.Helper()
	select {
	case err := <-p.exited:
		if err != nil {
			tb.Errorf("Caddy exited with %v:\n%s", err, p.output.String())
		}
	case <-time.After(Patience):
		tb.Error("Caddy did not exit")
	}
}
