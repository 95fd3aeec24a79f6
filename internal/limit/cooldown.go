package limit

import (
	"errors"
	"net/http"
	"sync"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/store"
)

// probeWait is the wait of all other requests while one request, the probe, finds out whether a cool-down is over.
const probeWait = time.Second

// coolDown holds requests back after the upstream has answered 429 and said for how long. When that time is over, one
// request goes alone: the probe. The others follow once the probe has an answer. Otherwise they would all fail with the
// probe if the upstream still limits the rate. The zero value is off.
type coolDown struct {
	mu      sync.Mutex
	until   time.Time // zero: off
	probing bool      // the probe is under way and has no answer yet
}

// start begins a cool-down of the length wait, or prolongs the current one. It never shortens one. It reports whether
// the cool-down was off.
func (c *coolDown) start(wait time.Duration) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	wasOff := c.until.IsZero()
	if until := time.Now().Add(wait); until.After(c.until) {
		c.until = until
	}
	return wasOff
}

// left returns how long the cool-down still lasts; 0 if it is off or its time is over.
func (c *coolDown) left() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until.IsZero() {
		return 0
	}
	return max(time.Until(c.until), 0)
}

// turn permits a request to ask the upstream, or returns how long it has to wait.
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

// turnShared returns the turn of a request that the shared counter has admitted. If the request is not the probe, the
// cool-down is over at all instances.
func (c *coolDown) turnShared(decision store.Decision) turn {
	if !decision.Probe {
		c.clearIfElapsed()
		return turn{}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until.IsZero() { // the cool-down was another instance's
		return turn{reservation: decision.Reservation}
	}
	c.probing = true
	return turn{coolDown: c, reservation: decision.Reservation}
}

// waitShared returns how long a request that the shared counter has refused has to wait. It returns 0 if a cool-down is
// not the reason. If the shared cool-down still lasts, waitShared starts it at this instance, too. Further requests
// then wait without asking the counter.
func (c *coolDown) waitShared(decision store.Decision) time.Duration {
	switch {
	case decision.CoolDown > 0:
		c.start(decision.CoolDown)
		return decision.CoolDown
	case decision.Probe: // another request
		return probeWait
	}
	return 0
}

// clearIfElapsed ends a cool-down whose time is over: another instance's probe has had its answer.
func (c *coolDown) clearIfElapsed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.probing && time.Until(c.until) <= 0 {
		c.until = time.Time{}
	}
}

// turn is one request's permission to ask the upstream. Its holder must call answered or end.
type turn struct {
	coolDown    *coolDown         // nil unless the request is the probe
	reservation store.Reservation // nil unless it is the probe of all instances
}

// answered ends the turn of a request that has an answer. If it was the probe, the cool-down is over, unless the answer
// has prolonged it.
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

// end ends the turn of a request without an answer. If it was the probe, the next request probes. After answered, end
// does nothing.
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

// CoolDownError returns the error for a request that a cool-down holds back. wait is for the Retry-After header.
func CoolDownError(wait time.Duration) *apierror.Error {
	return &apierror.Error{
		Status: http.StatusTooManyRequests, Code: apierror.CodeRateLimit,
		Text:   "the assistant is asked too often; try again later",
		Header: apierror.RetryAfterHeader(wait),
		Cause:  errors.New("a cool-down is on"),
	}
}
