package limit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/store"
)

const (
	// probeWait is the wait of all other requests while one request, the probe, finds out whether a cool-down is over.
	probeWait = time.Second

	// maxCoolDowns is how many assistants' cool-downs are remembered. Where any assistant is allowed, visitors choose
	// the ids.
	maxCoolDowns = 1024

	// probeWithin is how long after its end a cool-down waits for its probe. Then it is forgotten.
	probeWithin = time.Hour
)

// coolDowns are the cool-downs of a shared state, by the keys of their assistants. Each assistant has its own, because
// the upstream's quotas are per assistant. The zero value has none.
type coolDowns struct {
	mu    sync.Mutex // guards the map and each coolDown in it
	byKey map[string]*coolDown
}

// coolDown holds the requests for one assistant back after the upstream has answered 429 and said for how long. When
// that time is over, one request goes alone: the probe. The others follow once the probe has an answer. Otherwise they
// would all fail with the probe if the upstream still limits the rate.
type coolDown struct {
	all     *coolDowns
	key     string // of the assistant
	until   time.Time
	probing bool // the probe is under way and has no answer yet
}

// assistantKey returns what an assistant's cool-down is remembered by: its id, or the hash of a long one.
func assistantKey(id string) string {
	if len(id) <= maxKeyLength {
		return id
	}
	hash := sha256.Sum256([]byte(id))
	return "sha256:" + hex.EncodeToString(hash[:])
}

// start begins an assistant's cool-down of the length wait, or prolongs the current one. It never shortens one. It
// reports whether the assistant had none.
func (c *coolDowns) start(assistant string, wait time.Duration) (begun bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	until := time.Now().Add(wait)
	if current := c.get(assistant); current != nil {
		if until.After(current.until) {
			current.until = until
		}
		return false
	}
	c.makeRoom()
	if c.byKey == nil {
		c.byKey = make(map[string]*coolDown)
	}
	c.byKey[assistant] = &coolDown{all: c, key: assistant, until: until}
	return true
}

// left returns how long an assistant's cool-down still lasts; 0 if it has none or its time is over.
func (c *coolDowns) left(assistant string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	current := c.get(assistant)
	if current == nil {
		return 0
	}
	return max(time.Until(current.until), 0)
}

// lasting returns how long each cool-down still lasts, by the assistants' keys. It leaves out those whose time is over.
func (c *coolDowns) lasting() map[string]time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	lasting := make(map[string]time.Duration)
	for assistant, current := range c.byKey {
		if left := time.Until(current.until); left > 0 {
			lasting[assistant] = left
		}
	}
	return lasting
}

// turn permits a request for an assistant to ask the upstream, or returns how long it has to wait.
func (c *coolDowns) turn(assistant string) (t turn, wait time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	current := c.get(assistant)
	if current == nil {
		return turn{}, 0
	}
	if wait := time.Until(current.until); wait > 0 {
		return turn{}, wait
	}
	if current.probing {
		return turn{}, probeWait
	}
	current.probing = true
	return turn{coolDown: current}, 0
}

// turnShared returns the turn of a request that the shared counter has admitted. If the request is not the probe, its
// assistant's cool-down is over at all instances.
func (c *coolDowns) turnShared(assistant string, decision store.Decision) turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	current := c.get(assistant)
	switch {
	case !decision.Probe:
		if current != nil && !current.probing {
			current.clearIfElapsed()
		}
		return turn{}
	case current == nil: // the cool-down was another instance's
		return turn{reservation: decision.Reservation}
	}
	current.probing = true
	return turn{coolDown: current, reservation: decision.Reservation}
}

// waitShared returns how long a request that the shared counter has refused has to wait. It returns 0 if a cool-down is
// not the reason. If the shared cool-down still lasts, waitShared starts it at this instance, too. Further requests for
// the assistant then wait without asking the counter.
func (c *coolDowns) waitShared(assistant string, decision store.Decision) time.Duration {
	switch {
	case decision.CoolDown > 0:
		c.start(assistant, decision.CoolDown)
		return decision.CoolDown
	case decision.Probe: // another request
		return probeWait
	}
	return 0
}

// get returns an assistant's cool-down, or nil if it has none. The caller holds the lock.
func (c *coolDowns) get(assistant string) *coolDown {
	current := c.byKey[assistant]
	if current != nil && current.isForgotten(time.Now()) {
		delete(c.byKey, assistant)
		return nil
	}
	return current
}

// makeRoom drops the cool-downs that have waited too long for a probe. If there is still no room for one more, it also
// drops the one that ends first. It keeps those with a probe under way: there are no more of them than open chats. The
// caller holds the lock.
func (c *coolDowns) makeRoom() {
	now := time.Now()
	maps.DeleteFunc(c.byKey, func(_ string, current *coolDown) bool { return current.isForgotten(now) })
	if len(c.byKey) < maxCoolDowns {
		return
	}
	var first *coolDown
	for _, current := range c.byKey {
		if !current.probing && (first == nil || current.until.Before(first.until)) {
			first = current
		}
	}
	if first != nil {
		delete(c.byKey, first.key)
	}
}

// isForgotten reports whether the cool-down has waited too long for a probe. The caller holds the lock.
func (c *coolDown) isForgotten(now time.Time) bool {
	return !c.probing && now.Sub(c.until) > probeWithin
}

// clearIfElapsed ends the cool-down if its time is over: a probe has had its answer. The caller holds the lock.
func (c *coolDown) clearIfElapsed() {
	if time.Until(c.until) <= 0 && c.all.byKey[c.key] == c {
		delete(c.all.byKey, c.key)
	}
}

// turn is one request's permission to ask the upstream. Its holder must call answered or end.
type turn struct {
	coolDown    *coolDown         // nil unless the request is the probe
	reservation store.Reservation // nil unless it is the probe of all instances
}

// answered ends the turn of a request that has an answer. If it was the probe, the cool-down is over, unless the answer
// has prolonged it.
func (t *turn) answered() { t.over(true) }

// end ends the turn of a request without an answer. If it was the probe, the next request probes. After answered, end
// does nothing.
func (t *turn) end() { t.over(false) }

func (t *turn) over(answered bool) {
	if t.reservation != nil {
		t.reservation.EndTurn(answered)
	}
	if c := t.coolDown; c != nil {
		c.all.mu.Lock()
		defer c.all.mu.Unlock()
		c.probing = false
		if answered {
			c.clearIfElapsed()
		}
	}
	*t = turn{}
}

// CoolDownError returns the error for a request that a cool-down holds back. wait is for the Retry-After header.
func CoolDownError(wait time.Duration) *apierror.Error {
	return &apierror.Error{
		Status: http.StatusTooManyRequests, Code: apierror.CodeRateLimit,
		Text:   "the assistant gets too many requests; try again later",
		Header: apierror.RetryAfterHeader(wait),
		Cause:  errors.New("a cool-down is active"),
	}
}
