package illumichat

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// wantTold checks how many lines of a level our log has with a piece of their message, and returns them.
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

// Trouble that lasts is told once a minute, with how often it came in between.
func TestTroubles(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		troubles := troubles{logger: zap.New(core)}
		tell := func(kind string) {
			troubles.tell(zapcore.ErrorLevel, kind, "something is wrong", "mend it", zap.String("kind", kind))
		}
		check := func(want ...string) {
			t.Helper()
			var got []string
			for _, line := range logs.TakeAll() {
				fields := line.ContextMap()
				if fields["hint"] != "mend it" {
					t.Errorf("the hint is %v", fields["hint"])
				}
				repeated, ok := fields["repeated"]
				if !ok {
					repeated = int64(0)
				}
				got = append(got, fmt.Sprintf("%s %s %d", line.Level, fields["kind"], repeated))
			}
			if strings.Join(got, ", ") != strings.Join(want, ", ") {
				t.Errorf("got %q, want %q", got, want)
			}
		}
		tell("a")
		tell("b")
		tell("a")
		tell("a")
		check("error a 0", "error b 0", "debug a 0", "debug a 0")
		time.Sleep(tellAgainAfter - time.Nanosecond)
		tell("a")
		check("debug a 0")
		time.Sleep(time.Nanosecond)
		tell("a")
		tell("b")
		tell("a")
		check("error a 3", "error b 0", "debug a 0")
		time.Sleep(time.Hour)
		tell("a")
		tell("a")
		check("error a 1", "debug a 0")
	})
}

// What the operator is told of each fault: once, at its level, with what to do.
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

// A visitor who does not read is one to tell of.
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
	if line.Illumichat["cause"] != causeStalled || line.Illumichat["outcome"] != "left" {
		t.Errorf("got %s", line.raw)
	}
	for _, line := range wantTold(t, s, "warn", "a visitor did not read the answer", 1) {
		if strings.Contains(line.raw, "127.0.0.1") || !strings.Contains(line.Cause, "timeout") || !strings.Contains(line.Hint, "write_timeout") {
			t.Errorf("the line has the visitor's address, or not why, or not what to do: %s", line.raw)
		}
	}
	_, _ = io.Copy(io.Discard, conn)
}
