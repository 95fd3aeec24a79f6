package limit

import (
	"testing"
	"testing/synctest"
	"time"
)

// wantTurn asks for a turn, and checks how long to wait for it.
func wantTurn(t *testing.T, c *coolDown, want time.Duration) turn {
	t.Helper()
	got, wait := c.turn()
	if wait != want {
		t.Errorf("after %v: got a wait of %v, want %v", time.Now().Second(), wait, want)
	}
	return got
}

func TestCoolDown(t *testing.T) {
	const second = time.Second
	synctest.Test(t, func(t *testing.T) {
		var c coolDown
		first := wantTurn(t, &c, 0)
		wantTurn(t, &c, 0)

		if !c.start(3 * second) {
			t.Error("it was on")
		}
		wantTurn(t, &c, 3*second)
		time.Sleep(second)
		if c.start(second) {
			t.Error("it was off")
		}
		wantTurn(t, &c, 2*second) // one that would end sooner does not shorten it
		if left := c.left(); left != 2*second {
			t.Errorf("it lasts %v", left)
		}
		first.answered() // its turn is from before the cool-down
		wantTurn(t, &c, 2*second)
		time.Sleep(2 * second)

		probe := wantTurn(t, &c, 0)
		wantTurn(t, &c, second)
		time.Sleep(time.Hour)
		if left := c.left(); left != 0 {
			t.Errorf("when it is over, it lasts %v", left)
		}
		wantTurn(t, &c, second)
		probe.end() // without an answer: the next request goes probe
		probe.end() // a second call changes nothing
		probe = wantTurn(t, &c, 0)
		wantTurn(t, &c, second)

		c.start(5 * second) // the answer prolongs the cool-down
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
		if !c.start(second) {
			t.Error("it was still on")
		}
	})
}
