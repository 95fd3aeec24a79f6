package doctor

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// command is the built command.
type command string

// buildCommand builds cmd/caddy.
func buildCommand(t *testing.T) command {
	t.Helper()
	file := filepath.Join(t.TempDir(), "caddy")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", file, "./cmd/caddy").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	return command(file)
}

// check runs `caddy illumichat check` and returns what it prints and its exit status.
func (c command) check(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	var out, problems bytes.Buffer
	run := exec.CommandContext(t.Context(), string(c), append([]string{"illumichat", "check"}, args...)...)
	run.Stdout, run.Stderr = &out, &problems
	err := run.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		status = exit.ExitCode()
	} else if err != nil {
		t.Fatal(err)
	}
	return out.String(), problems.String(), status
}

// The command prints plain lines into a pipe, or JSON, and exits with 1 only if something is wrong.
func TestCommand(t *testing.T) {
	trustLocalhost(t)
	caddy := buildCommand(t)
	s := sitetest.Serve(t, sitetest.ChatTo(paced(t), "resume"))
	url := s.Secure + sitetest.ChatPath

	stdout, stderr, status := caddy.check(t, url, "--question", "/events 30")
	if status != 0 || stderr != "" {
		t.Errorf("a healthy site: status %d: %s", status, stderr)
	}
	if strings.ContainsAny(stdout, "\r\x1b…") {
		t.Errorf("a pipe gets progress: %q", stdout)
	}
	for _, line := range []string{
		url + "\n", "  ok       handler: the chat answers over HTTP/1.1, HTTP/2, HTTP/3\n", "  ok       resume: ", "  warning  limit: ", "           why: ", "\n0 wrong, 1 warning\n",
	} {
		if !strings.Contains(stdout, line) {
			t.Errorf("there is no %q in\n%s", line, stdout)
		}
	}
	if cost, chat := strings.Index(stdout, " cost: "), strings.Index(stdout, " chat: "); cost < 0 || chat < cost {
		t.Errorf("the cost is not announced before the chat:\n%s", stdout)
	}

	stdout, stderr, status = caddy.check(t, s.Secure+"/other", "--no-chat")
	if status != 1 || stderr != "" || !strings.Contains(stdout, "  wrong    handler: ") || !strings.HasSuffix(stdout, "\n1 wrong, 0 warnings\n") {
		t.Errorf("a site without a chat: status %d: %s\n%s", status, stderr, stdout)
	}

	stdout, stderr, status = caddy.check(t, url, "--no-chat", "--json", "--origin", "https://other.example.com")
	if status != 1 || stderr != "" {
		t.Errorf("JSON: status %d: %s", status, stderr)
	}
	lines := strings.Split(strings.TrimSpace(stdout), "\n")
	var found findings
	for _, line := range lines[:len(lines)-1] {
		var f doctor.Finding
		if err := json.Unmarshal([]byte(line), &f); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		found.Add(f)
	}
	found.want(t, "allowed_page", doctor.Wrong, "allow_origins https://other.example.com")
	if got := lines[len(lines)-1]; got != `{"wrong":1,"warnings":0}` {
		t.Errorf("the summary is %s", got)
	}

	stdout, stderr, status = caddy.check(t, "example.com")
	if status != 1 || stdout != "" || !strings.Contains(stderr, "such as https://example.com/api/chat-proxy") {
		t.Errorf("a bad URL: status %d: %s\n%s", status, stderr, stdout)
	}
}
