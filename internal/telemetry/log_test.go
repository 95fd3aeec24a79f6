package telemetry

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// A problem that lasts is logged at its level once a minute, with the number of reports in between.
func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, logs := observer.New(zapcore.DebugLevel)
		log := NewLog(zap.New(core))
		tell := func(kind string) {
			log.Report(zapcore.ErrorLevel, kind, "something is wrong", "mend it", zap.String("kind", kind))
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
		time.Sleep(repeatAfter - time.Nanosecond)
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
