package limit

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/store"
)

// probeWait is how long the others are told to wait while one request tries out whether a cool-down is
// over.
const probeWait = time.Second

// coolDown keeps requests from an upstream that has answered 429 and said for how long. When that time is
// over one request goes alone, and the others follow once it has an answer: they would all fail with it if
// the upstream had meant it longer. The zero value is off.
type coolDown struct {
	mu      sync.Mutex
	until   time.Time // zero: off
	probing bool      // one request has gone and has no answer yet
}

// start has nobody ask before wait is over. It reports whether the cool-down was off.
func (c *coolDown) start(wait time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	wasOff := c.until.IsZero()
	if until := time.Now().Add(wait); until.After(c.until) {
		c.until = until
	}
	return wasOff
}

// left returns how long it lasts.
func (c *coolDown) left() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until.IsZero() {
		return 0
	}
	return max(time.Until(c.until), 0)
}

// turn gives leave to ask, or tells how long to wait.
func (c *coolDown) turn() (t turn, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until.IsZero() {
		return turn{}, 0
	}
	if wait := time.Until(c.until); wait > 0 {
		return turn{}, wait
	}
	if c.probing {
		return turn{}, probeWait
	}
	c.probing = true
	return turn{coolDown: c}, 0
}

// turnShared is that of a request which may ask, as all instances have it. If it does not go alone there is no cool-down any
// more.
func (c *coolDown) turnShared(decision store.Decision) turn {
	if !decision.Probe {
		c.clearIfElapsed()
		return turn{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until.IsZero() { // it was another instance's
		return turn{reservation: decision.Reservation}
	}
	c.probing = true
	return turn{coolDown: c, reservation: decision.Reservation}
}

// waitShared returns how long a request has to wait which may not ask, as all instances have it; 0 if no cool-down is the
// reason. Other requests of this instance have to wait, too.
func (c *coolDown) waitShared(decision store.Decision) time.Duration {
	switch {
	case decision.CoolDown > 0:
		c.start(decision.CoolDown)
		return decision.CoolDown
	case decision.Probe: // another
		return probeWait
	}
	return 0
}

// clearIfElapsed ends a cool-down whose time has passed: at another instance a request has had its answer.
func (c *coolDown) clearIfElapsed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.probing && time.Until(c.until) <= 0 {
		c.until = time.Time{}
	}
}

// turn is one request's leave to ask. It has to be ended.
type turn struct {
	coolDown    *coolDown         // nil unless the request goes alone
	reservation store.Reservation // nil unless it does so among those of all instances
}

// answered ends the cool-down, unless the answer has prolonged it.
func (t *turn) answered() {
	t.endShared(true)
	if t.coolDown == nil {
		return
	}
	t.coolDown.mu.Lock()
	defer t.coolDown.mu.Unlock()
	if time.Until(t.coolDown.until) <= 0 {
		t.coolDown.until = time.Time{}
	}
	t.coolDown.probing = false
	t.coolDown = nil
}

// end gives the turn to the next one, where there was no answer.
func (t *turn) end() {
	t.endShared(false)
	if t.coolDown == nil {
		return
	}
	t.coolDown.mu.Lock()
	defer t.coolDown.mu.Unlock()
	t.coolDown.probing = false
	t.coolDown = nil
}

func (t *turn) endShared(answered bool) {
	if t.reservation == nil {
		return
	}
	t.reservation.EndTurn(answered)
	t.reservation = nil
}

// ErrCoolDown is what a request gets that is not sent.
func ErrCoolDown(wait time.Duration) *apierror.Error {
	return &apierror.Error{
		Status: http.StatusTooManyRequests, Code: apierror.CodeRateLimit,
		Text:   "the assistant is asked too often; try again later",
		Header: apierror.RetryAfterHeader(wait),
		Cause:  errors.New("a cool-down is on"),
	}
}
