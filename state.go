package illumichat

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// sharedState is what all handlers of the process that ask one endpoint with one token have in common, because
// the upstream counts them as one. A reload keeps it: the new config's handlers take it over before the old
// ones let go of it.
type sharedState struct {
	endpoint string // as anybody may see it
	coolDown coolDown

	mu    sync.Mutex // guards the slots, the windows of the limits, what is live, and who uses the state
	slots slots
	live  map[string]*liveStream // those that are written here, by their ids
}

var (
	sharedStates  = caddy.NewUsagePool()
	sharedWindows = caddy.NewUsagePool()
)

// coolDowns has how long the cool-downs of all states last.
func coolDowns(yield func(endpoint string, left time.Duration) bool) {
	sharedStates.Range(func(_, value any) bool {
		state := value.(*sharedState)
		return yield(state.endpoint, state.coolDown.left())
	})
}

// stateKey tells states apart. It holds no secret.
type stateKey struct {
	endpoint string
	token    string // where it comes from: the placeholder, or the hash of what is no placeholder
}

func (k stateKey) windowKey(r rule) windowKey {
	return windowKey{state: k, length: r.window, key: r.key}
}

// scope is the key as a store knows it.
func (k stateKey) scope() string { return k.endpoint + " " + k.token }

// windowKey tells the windows of limits apart: a limit whose number changes goes on with what was counted.
type windowKey struct {
	state  stateKey
	length time.Duration
	key    string // the configured one
}

func newStateKey(endpoint, configuredToken string) stateKey {
	if values.IsPlaceholder(configuredToken) {
		return stateKey{endpoint, configuredToken}
	}
	hash := sha256.Sum256([]byte(configuredToken))
	return stateKey{endpoint, "sha256:" + hex.EncodeToString(hash[:])}
}

// retain makes one reference more, and needs the state's lock. Requests come to a handler even when its config was replaced and
// nothing was open: then there is nothing to keep.
func (l *limiter) retain() bool {
	if l.refs == 0 {
		return false
	}
	l.refs++
	return true
}

// releaseRef gives up one reference. Each open chat and each listener has one, so that a config without this handler in between
// does not forget them.
func (l *limiter) releaseRef() error {
	l.state.mu.Lock()
	l.refs--
	last := l.refs == 0
	l.state.mu.Unlock()
	if !last {
		return nil
	}
	var errs error
	for _, r := range l.rules {
		_, err := sharedWindows.Delete(l.key.windowKey(r))
		errs = errors.Join(errs, err)
	}
	if l.limiterConfig.release != nil {
		errs = errors.Join(errs, l.limiterConfig.release())
	}
	_, err := sharedStates.Delete(l.key)
	return errors.Join(errs, err)
}
