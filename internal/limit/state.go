package limit

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

	mu      sync.Mutex // guards the slots, the windows of the limits, what is live, and who uses the state
	slots   slots
	streams map[string]*liveStream // those that are written here, by their ids
}

var (
	sharedStates  = caddy.NewUsagePool()
	sharedWindows = caddy.NewUsagePool()
)

// CoolDowns has how long the cool-downs of all states last.
func CoolDowns(yield func(endpoint string, left time.Duration) bool) {
	sharedStates.Range(func(_, value any) bool {
		state := value.(*sharedState)
		return yield(state.endpoint, state.coolDown.left())
	})
}

// Key tells states apart. It holds no secret.
type Key struct {
	endpoint string
	token    string // where it comes from: the placeholder, or the hash of what is no placeholder
}

func (k Key) windowKey(r Rule) windowKey {
	return windowKey{state: k, length: r.Window, key: r.Key}
}

// Scope is the key as a store knows it.
func (k Key) Scope() string { return k.endpoint + " " + k.token }

// windowKey tells the windows of limits apart: a limit whose number changes goes on with what was counted.
type windowKey struct {
	state  Key
	length time.Duration
	key    string // the configured one
}

func NewKey(endpoint, configuredToken string) Key {
	if values.IsPlaceholder(configuredToken) {
		return Key{endpoint, configuredToken}
	}
	hash := sha256.Sum256([]byte(configuredToken))
	return Key{endpoint, "sha256:" + hex.EncodeToString(hash[:])}
}

// retain makes one reference more, and needs the state's lock. Requests come to a handler even when its config was replaced and
// nothing was open: then there is nothing to keep.
func (l *Limiter) retain() bool {
	if l.refs == 0 {
		return false
	}
	l.refs++
	return true
}

// releaseRef gives up one reference. Each open chat and each listener has one, so that a config without this handler in between
// does not forget them.
func (l *Limiter) releaseRef() error {
	l.state.mu.Lock()
	l.refs--
	last := l.refs == 0
	l.state.mu.Unlock()
	if !last {
		return nil
	}
	var errs error
	for _, r := range l.config.Rules {
		_, err := sharedWindows.Delete(l.config.Key.windowKey(r))
		errs = errors.Join(errs, err)
	}
	if l.config.Release != nil {
		errs = errors.Join(errs, l.config.Release())
	}
	_, err := sharedStates.Delete(l.config.Key)
	return errors.Join(errs, err)
}
