package e2e

import (
	"cmp"
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// When a config loads, a setting that works but needs attention is logged once, and nothing else is.
func TestWarnings(t *testing.T) {
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	const oddToken = "odd-but-long-enough-to-be-one"
	t.Setenv("TEST_ODD_TOKEN", oddToken)
	const token, assistants = "token {env.ILLUMICHAT_API_TOKEN}", "assistants asst_demo\nlimit 20 1h"
	tests := map[string]struct {
		lines string
		want  string // a piece of the one warning; "" for none
		level string // "" for warn
	}{
		"a clean config":              {token + "\n" + assistants, "", ""},
		"a token in a file":           {"token {file.testdata/token}\n" + assistants, "", ""},
		"a literal token":             {"token " + sandbox.Token + "\n" + assistants, "the token is part of the config", ""},
		"a token of another form":     {"token {env.TEST_ODD_TOKEN}\n" + assistants, "documented form", ""},
		"no limit":                    {token + "\nassistants asst_demo\nmax_streams 10", "no limit is set", "info"},
		"any assistant":               {token + "\nassistants *\nlimit 20 1h", "every assistant", ""},
		"an endpoint in the clear":    {token + "\n" + assistants + "\nendpoint http://chat.example.com/api/chat", "not encrypted", ""},
		"an endpoint on 127.0.0.1":    {token + "\n" + assistants + "\nendpoint http://127.0.0.1:8081/api/chat", "", ""},
		"an endpoint on 127.9.9.9":    {token + "\n" + assistants + "\nendpoint http://127.9.9.9/api/chat", "", ""},
		"an endpoint on ::1":          {token + "\n" + assistants + "\nendpoint http://[::1]:8081/api/chat", "", ""},
		"an endpoint on localhost":    {token + "\n" + assistants + "\nendpoint http://localhost:8081/api/chat", "", ""},
		"an endpoint in the network":  {token + "\n" + assistants + "\nendpoint http://10.0.0.1/api/chat", "not encrypted", ""},
		"an endpoint named localhost": {token + "\n" + assistants + "\nendpoint http://localhost.example.com/api/chat", "not encrypted", ""},
	}
	s := sitetest.Serve(t, "respond 404")
	for what, test := range tests {
		t.Run(what, func(t *testing.T) {
			before := len(s.Log())
			s.Reload("illumichat {\n" + test.lines + "\n}")
			var got []string
			for _, line := range logLines(t, s.Log()[before:]) {
				if line.Logger != "http.handlers.illumichat" {
					continue
				}
				got = append(got, line.Level+": "+line.Msg)
				if strings.Contains(line.raw, sandbox.Token) || strings.Contains(line.raw, oddToken) {
					t.Errorf("the log holds the token: %s", line.raw)
				}
			}
			got = slices.Compact(got) // the site has two servers
			switch {
			case test.want == "" && len(got) != 0:
				t.Errorf("got %q, want nothing", got)
			case test.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0], cmp.Or(test.level, "warn")+": ") || !strings.Contains(got[0], test.want)):
				t.Errorf("got %q, want one warning with %q in it", got, test.want)
			}
		})
	}
}

// logLine is a line of Caddy's log.
type logLine struct {
	Level, Logger, Msg, Code, Hint, Cause string

	raw string
}

func logLines(t *testing.T, log string) []logLine {
	t.Helper()
	var lines []logLine
	for line := range strings.Lines(log) {
		l := logLine{raw: line}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Fatalf("reading the log: %v: %s", err, line)
		}
		lines = append(lines, l)
	}
	return lines
}

// wantTold checks how many lines of the module's log have the level and a message with piece in it. It returns those
// lines.
func wantTold(t *testing.T, s *sitetest.Site, level, piece string, want int) []logLine {
	t.Helper()
	told := slices.DeleteFunc(logLines(t, s.Log()), func(line logLine) bool {
		return line.Logger != "http.handlers.illumichat" || line.Level != level || !strings.Contains(line.Msg, piece)
	})
	if len(told) != want {
		t.Errorf("the log has %d lines of %s with %q, want %d: %+v", len(told), level, piece, want, told)
	}
	return told
}

// Each fault is logged once, at its level, with a hint at what to do. Bad requests are not logged above the debug
// level.
func TestTroublesOfChats(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	for _, row := range []struct {
		name, command string
		level         string
		hint          string
	}{
		{"a token that is refused", "/status 401", "error", "token"},
		{"an upstream's fault", "/status 500", "error", "upstream"},
		{"an upstream that is busy", "/status 503", "error", "upstream"},
		{"no chat API", "/html", "error", "endpoint"},
		{"a redirect", "/redirect", "error", "endpoint"},
		{"a leak in a header", "/echo-token-header", "error", "revoke"},
		{"no event", "/hang", "error", "response_timeout"},
		{"no answer", "/reset 0", "error", "reach"},
		{"a cut", "/cut 2", "warn", "closes connections"},
		{"a stall", "/stall", "warn", "idle_timeout"},
		{"a leak", "/echo-token", "error", "revoke"},
		{"a limit of the upstream", "/status 429 1", "warn", "limit"},
		{"a bad request", "/status 400", "", ""},
		{"an unknown chat", "/status 404", "", ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := sitetest.Serve(t, "log\n"+sitetest.ChatTo(server, "heartbeat off\nidle_timeout 100ms\nresponse_timeout 100ms\n"+sitetest.Once))
			for range 3 {
				sitetest.ReadAll(t, s.AskAs("", sitetest.Saying(row.command)))
			}
			var told []logLine
			for _, line := range logLines(t, s.Log()) {
				if line.Logger != "http.handlers.illumichat" || line.Level == "debug" || strings.Contains(line.Msg, "the token is part of") || line.Level == "info" {
					continue
				}
				told = append(told, line)
				if strings.Contains(line.raw, sandbox.Token) {
					t.Errorf("the log holds the token: %s", line.raw)
				}
			}
			switch {
			case row.level == "":
				if len(told) != 0 {
					t.Errorf("the operator is told %+v", told)
				}
			case len(told) != 1:
				t.Errorf("the operator is told %d times: %+v", len(told), told)
			case told[0].Level != row.level || !strings.Contains(told[0].Hint, row.hint):
				t.Errorf("got %s, want a %s with %q in its hint", told[0].raw, row.level, row.hint)
			}
		})
	}
}

// A visitor who does not read for write_timeout is logged as a warning, without their address.
func TestStalledVisitorsAreTold(t *testing.T) {
	upstream := sitetest.NewHandUpstream(t)
	s := sitetest.Serve(t, "log\n"+sitetest.ChatToURL(upstream.URL, "write_timeout 50ms\nheartbeat off"))
	conn := sitetest.SendRaw(t, s, sitetest.RawChat(sitetest.Hello))
	answer := upstream.Next(t)
	event := "data: " + strings.Repeat("x", 30_000) + "\n\n"
	go func() {
		for {
			select {
			case answer.Parts <- event:
			case <-answer.Over:
				return
			}
		}
	}()
	<-answer.Over
	line := nextRecord(t, s, 1)
	if line.Illumichat["cause"] != "stalled:visitor" || line.Illumichat["outcome"] != "left" {
		t.Errorf("got %s", line.raw)
	}
	for _, line := range wantTold(t, s, "warn", "a visitor did not read the answer", 1) {
		if strings.Contains(line.raw, "127.0.0.1") || !strings.Contains(line.Cause, "timeout") || !strings.Contains(line.Hint, "write_timeout") {
			t.Errorf("the line has the visitor's address, or not why, or not what to do: %s", line.raw)
		}
	}
	_, _ = io.Copy(io.Discard, conn)
}
