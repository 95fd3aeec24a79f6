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

// outageTest is a log whose lines a test checks.
type outageTest struct {
	t    *testing.T
	log  *Log
	logs *observer.ObservedLogs
}

func newOutageTest(t *testing.T) *outageTest {
	core, logs := observer.New(zapcore.InfoLevel)
	return &outageTest{t, NewLog(zap.New(core)), logs}
}

// chat returns the record of a chat that begins now.
func (o *outageTest) chat(assistant string) *Record {
	return &Record{Start: time.Now(), Assistant: assistant, Label: assistant}
}

func (o *outageTest) fail(c *Record, part Part, kind string) {
	o.log.ReportChat(c, Problem{Level: zapcore.ErrorLevel, Kind: kind, Message: "it failed", Breaks: part})
}

// check checks the lines since the last call.
func (o *outageTest) check(want ...string) {
	o.t.Helper()
	var got []string
	for _, line := range o.logs.TakeAll() {
		text := line.Message
		for _, name := range []string{"assistant", "lasted", "repeated"} {
			if value, ok := line.ContextMap()[name]; ok {
				text += fmt.Sprint(" ", value)
			}
		}
		got = append(got, text)
	}
	if strings.Join(got, ", ") != strings.Join(want, ", ") {
		o.t.Errorf("got %q, want %q", got, want)
	}
}

// The first chat that is answered after a failure ends the outage of its assistant, and says how long it lasted and how
// many failures have no line. The line of the next failure does not count those again.
func TestAnswersAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutageTest(t)
		o.log.Works(o.chat("a"), Answers)
		o.fail(o.chat("a"), Answers, "refused")
		for range 3 {
			time.Sleep(time.Second)
			o.fail(o.chat("a"), Answers, "refused")
		}
		o.fail(o.chat("b"), Answers, "refused")
		o.check("it failed a", "it failed b")
		time.Sleep(2 * time.Second)
		o.log.Works(o.chat("c"), Answers)
		o.log.Works(o.chat("a"), Token)
		o.check()
		o.log.Works(o.chat("a"), Answers)
		o.log.Works(o.chat("a"), Answers)
		o.check("the chat is answered again a 5s 3")
		o.log.Works(o.chat("b"), Answers)
		o.check("the chat is answered again b 2s")
		time.Sleep(repeatAfter)
		o.fail(o.chat("a"), Answers, "refused")
		o.check("it failed a")
		if o.log.Works(o.chat("a"), Answers); o.log.broken.Load() != 0 {
			t.Errorf("%d parts are broken", o.log.broken.Load())
		}
	})
}

// A chat that began before the last failure does not end an outage: its connection may be older.
func TestOlderChatsProveNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutageTest(t)
		before := o.chat("a")
		time.Sleep(time.Second)
		o.fail(o.chat("a"), Answers, "refused")
		between := o.chat("a")
		time.Sleep(time.Second)
		o.fail(o.chat("a"), Answers, "refused")
		o.check("it failed a")
		o.log.Works(before, Answers)
		o.log.Works(between, Answers)
		o.check()
		o.log.Works(o.chat("a"), Answers)
		o.check("the chat is answered again a 1s 1")
	})
}

// The token belongs to the handler. Its failures count for all assistants together, and any chat that can use it ends
// the outage.
func TestTokenAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutageTest(t)
		o.fail(o.chat("a"), Token, "missing")
		o.fail(o.chat("b"), Token, "missing")
		o.fail(o.chat("b"), Token, "empty")
		o.check("it failed a", "it failed b")
		time.Sleep(time.Second)
		o.log.Works(o.chat("c"), Token)
		o.log.Works(o.chat("c"), Answers)
		o.check("the token's file can be used again c 1s 1")
	})
}

// If the operator was not told of a failure, the log does not say that it is over.
func TestUntoldFailuresHaveNoEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOutageTest(t)
		for range 2 {
			o.fail(o.chat("a"), Answers, "refused")
			o.log.Works(o.chat("a"), Answers)
		}
		o.check("it failed a", "the chat is answered again a 0s")
		// A visitor's own problem neither begins an outage nor counts as one.
		o.log.ReportChat(o.chat("d"), Problem{Level: zapcore.DebugLevel, Kind: "refused", Message: "it failed", Breaks: Answers})
		o.log.Works(o.chat("d"), Answers)
		o.check()
		o.fail(o.chat("d"), Answers, "refused")
		o.check("it failed d")
	})
}

// A chat that is answered costs no allocation, whether or not another assistant is broken.
func TestWorksDoesNotAllocate(t *testing.T) {
	o := newOutageTest(t)
	c := o.chat("a")
	measure := func() {
		t.Helper()
		if got := testing.AllocsPerRun(100, func() { o.log.Works(c, Answers) }); got != 0 {
			t.Errorf("got %v allocations", got)
		}
	}
	measure()
	o.fail(o.chat("b"), Answers, "refused")
	measure()
}
