package doctor

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// runCheck runs `caddy illumichat check` and returns its output and its exit status.
func runCheck(t *testing.T, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	return sitetest.Command(t, nil, append([]string{"illumichat", "check"}, args...)...)
}

// The command prints plain lines into a pipe, or JSON, and exits with 1 only if something is wrong.
func TestCommand(t *testing.T) {
	trustLocalhost(t)
	s := sitetest.Serve(t, sitetest.ChatTo(paced(t), "resume"))
	url := s.Secure + sitetest.ChatPath

	stdout, stderr, status := runCheck(t, url, "--question", "/events 30")
	if status != 0 || stderr != "" {
		t.Errorf("a healthy site: status %d: %s", status, stderr)
	}
	if strings.ContainsAny(stdout, "\r\x1b…") {
		t.Errorf("a pipe gets progress: %q", stdout)
	}
	for _, line := range []string{
		url + "\n", "  ok       handler: the chat answers over HTTP/1.1, HTTP/2, HTTP/3\n", "  ok       resume: ", "  note     limit: ", "           why: ", "\n0 wrong, 0 warnings\n",
	} {
		if !strings.Contains(stdout, line) {
			t.Errorf("there is no %q in\n%s", line, stdout)
		}
	}
	if cost, chat := strings.Index(stdout, " cost: "), strings.Index(stdout, " chat: "); cost < 0 || chat < cost {
		t.Errorf("the cost is not announced before the chat:\n%s", stdout)
	}

	stdout, stderr, status = runCheck(t, s.Secure+"/other", "--no-chat")
	if status != 1 || stderr != "" || !strings.Contains(stdout, "  wrong    handler: ") || !strings.HasSuffix(stdout, "\n1 wrong, 0 warnings\n") {
		t.Errorf("a site without a chat: status %d: %s\n%s", status, stderr, stdout)
	}

	stdout, stderr, status = runCheck(t, url, "--no-chat", "--json", "--origin", "https://other.example.com")
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
}

// A command line that cannot be used is an error, which says what to write. Nothing is checked.
func TestCommandLineThatCannotBeUsed(t *testing.T) {
	const url = "https://example.com/api/chat-proxy"
	for args, words := range map[string]string{
		"check":                            "or --config <file>",
		"check example.com":                "such as " + url,
		"check " + url + " --config x":     "either a site's URL",
		"check " + url + " --adapter yaml": "--adapter belongs to --config",
		"check --config x --admin :2019":   "--admin belongs to a site's URL",
		"check --config x --assistant a":   "--assistant belongs to a site's URL",
		"check --config x --insecure":      "--insecure belongs to a site's URL",
		"check --config x --no-chat":       "--no-chat belongs to a site's URL",
		"check --config x --origin " + url: "--origin belongs to a site's URL",
		"check --config x --question Hi":   "--question belongs to a site's URL",
		"chekc " + url:                     "caddy illumichat check " + url,
	} {
		stdout, stderr, status := sitetest.Command(t, nil, append([]string{"illumichat"}, strings.Fields(args)...)...)
		if status != 1 || stdout != "" || !strings.Contains(stderr, words) {
			t.Errorf("%s: status %d: %s\n%s", args, status, stderr, stdout)
		}
	}
	if stdout, stderr, status := sitetest.Command(t, nil, "illumichat"); status != 0 || stderr != "" || !strings.Contains(stdout, "  check ") {
		t.Errorf("no subcommand: status %d: %s\n%s", status, stderr, stdout)
	}
}

// A check that is asked to terminate stops with an error, and prints the summary of its findings so far.
func TestCommandIsTerminated(t *testing.T) {
	asked := make(chan struct{}, 1)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // only then the context ends with the connection
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer silent.Close()
	c := sitetest.StartCommand(t, nil, "illumichat", "check", silent.URL+sitetest.ChatPath, "--json")
	<-asked
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	stdout, stderr, status := c.Wait(t)
	if status != 1 || stdout != `{"wrong":0,"warnings":0}`+"\n" || !strings.Contains(stderr, "interrupted") {
		t.Errorf("status %d: %s\n%s", status, stderr, stdout)
	}
}
