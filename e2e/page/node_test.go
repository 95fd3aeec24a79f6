package page

import (
	"encoding/json"
	"os/exec"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// nodeScript is a script that runs in Node. It reads requests and prints a view for each, as lines of JSON.
type nodeScript struct {
	requests *json.Encoder
	views    *json.Decoder
	kill     func()
}

// startScript runs the file in Node until the test ends.
func startScript(tb testing.TB, file string, args ...string) *nodeScript {
	tb.Helper()
	node := exec.CommandContext(tb.Context(), require.Program(tb, "node"), append([]string{file}, args...)...)
	node.Stderr = tb.Output()
	stdin, err := node.StdinPipe()
	if err != nil {
		tb.Fatal(err)
	}
	stdout, err := node.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	if err := node.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = node.Wait() }) // the test's context has ended before, which kills it
	return &nodeScript{
		requests: json.NewEncoder(stdin),
		views:    json.NewDecoder(stdout),
		kill:     func() { _ = node.Process.Kill() },
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
