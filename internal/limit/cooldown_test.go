package limit

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// testAssistant is the assistant of tests that need only one.
const testAssistant = "asst_test"

// wantTurn asks for a turn, and checks how long to wait for it.
func wantTurn(t *testing.T, c *coolDowns, want time.Duration) turn {
	t.Helper()
	return wantTurnOf(t, c, testAssistant, want)
}

func wantTurnOf(t *testing.T, c *coolDowns, assistant string, want time.Duration) turn {
	t.Helper()
	got, wait := c.turn(assistant)
	if wait != want {
		t.Errorf("%s: after %v: got a wait of %v, want %v", assistant, time.Now().Second(), wait, want)
	}
	return got
}

func wantLasting(t *testing.T, c *coolDowns, want string) {
	t.Helper()
	if got := fmt.Sprint(c.lasting()); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCoolDown(t *testing.T) {
	const second = time.Second
	synctest.Test(t, func(t *testing.T) {
		var c coolDowns
		first := wantTurn(t, &c, 0)
		wantTurn(t, &c, 0)

		if !c.start(testAssistant, 3*second) {
			t.Error("it was on")
		}
		wantTurn(t, &c, 3*second)
		time.Sleep(second)
		if c.start(testAssistant, second) {
			t.Error("it was off")
		}
		wantTurn(t, &c, 2*second) // one that would end sooner does not shorten it
		if left := c.left(testAssistant); left != 2*second {
			t.Errorf("it lasts %v", left)
		}
		first.answered() // its turn is from before the cool-down
		wantTurn(t, &c, 2*second)
		time.Sleep(2 * second)

		probe := wantTurn(t, &c, 0)
		wantTurn(t, &c, second)
		time.Sleep(50 * time.Minute)
		if left := c.left(testAssistant); left != 0 {
			t.Errorf("when it is over, it lasts %v", left)
		}
		wantTurn(t, &c, second)
		probe.end() // without an answer: the next request goes probe
		probe.end() // a second call changes nothing
		probe = wantTurn(t, &c, 0)
		wantTurn(t, &c, second)

		c.start(testAssistant, 5*second) // the answer prolongs the cool-down
		probe.answered()
		wantTurn(t, &c, 5*second)
		time.Sleep(5 * second)

		next := wantTurn(t, &c, 0)
		probe.end() // does not end the turn of the next request
		probe.answered()
		wantTurn(t, &c, second)
		next.end()
		probe = wantTurn(t, &c, 0)
		next.end()
		next.answered()
		wantTurn(t, &c, second)
		probe.answered()
		for range 3 {
			all := wantTurn(t, &c, 0)
			all.end()
		}
		if !c.start(testAssistant, second) {
			t.Error("it was still on")
		}
	})
}

// The cool-down of one assistant holds back no request for another one, nor does its probe.
func TestCoolDownOfEachAssistant(t *testing.T) {
	const second = time.Second
	synctest.Test(t, func(t *testing.T) {
		var c coolDowns
		if !c.start("a", 2*second) || !c.start("b", 5*second) {
			t.Error("one was on")
		}
		wantTurnOf(t, &c, "a", 2*second)
		wantTurnOf(t, &c, "b", 5*second)
		wantTurnOf(t, &c, "c", 0)
		wantLasting(t, &c, "map[a:2s b:5s]")
		time.Sleep(2 * second)
		wantLasting(t, &c, "map[b:3s]")
		probe := wantTurnOf(t, &c, "a", 0)
		wantTurnOf(t, &c, "a", second)
		wantTurnOf(t, &c, "b", 3*second)
		wantTurnOf(t, &c, "c", 0)
		probe.answered()
		wantTurnOf(t, &c, "a", 0)
		wantTurnOf(t, &c, "a", 0)
		wantTurnOf(t, &c, "b", 3*second)
		time.Sleep(3 * second)
		wantTurnOf(t, &c, "b", 0)
		wantTurnOf(t, &c, "b", second)
		wantLasting(t, &c, "map[]")
	})
}

// A cool-down that no request has probed is forgotten an hour after its end.
func TestCoolDownIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c coolDowns
		for _, assistant := range []string{"a", "b", "c"} {
			c.start(assistant, time.Second)
		}
		time.Sleep(time.Hour + time.Second)
		probe := wantTurnOf(t, &c, "a", 0)
		wantTurnOf(t, &c, "a", time.Second)
		time.Sleep(time.Nanosecond)
		for range 2 {
			wantTurnOf(t, &c, "b", 0)
		}
		c.start("d", time.Second)
		if len(c.byKey) != 2 { // with a, whose probe is under way
			t.Errorf("%d are remembered", len(c.byKey))
		}
		wantTurnOf(t, &c, "a", time.Second)
		probe.answered()
		if len(c.byKey) != 1 {
			t.Errorf("%d are remembered after the probe", len(c.byKey))
		}
	})
}

// However many assistants have a cool-down, the memory is bounded. Those that end first are dropped, but not if their
// probe is under way.
func TestCoolDownsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c coolDowns
		c.start("probed", time.Second)
		time.Sleep(time.Second)
		probe := wantTurnOf(t, &c, "probed", 0)
		for i := range maxCoolDowns + 99 {
			c.start(fmt.Sprint(i), time.Minute+time.Duration(i)*time.Millisecond)
		}
		if len(c.byKey) != maxCoolDowns {
			t.Errorf("%d are remembered", len(c.byKey))
		}
		wantTurnOf(t, &c, "99", 0)
		wantTurnOf(t, &c, "100", time.Minute+100*time.Millisecond)
		wantTurnOf(t, &c, "probed", time.Second)
		delete(c.byKey, "probed") // as if it had been dropped
		c.start("probed", time.Second)
		time.Sleep(time.Second)
		probe.answered() // does not end a later cool-down
		wantTurnOf(t, &c, "probed", 0)
		wantTurnOf(t, &c, "probed", time.Second)
	})
}

func TestAssistantKey(t *testing.T) {
	long := strings.Repeat("x", maxKeyLength)
	for _, id := range []string{"", "asst_demo", "::1", long} {
		if got := assistantKey(id); got != id {
			t.Errorf("%q: got %q", id, got)
		}
	}
	a, b := assistantKey(long+"a"), assistantKey(long+"b")
	if a == b || len(a) > maxKeyLength || !strings.HasPrefix(a, "sha256:") {
		t.Errorf("got %q and %q", a, b)
	}
}
