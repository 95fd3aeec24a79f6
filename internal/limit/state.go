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

// sharedState is the state of all handlers of the process for the same endpoint and token. They share it because the
// upstream counts them as one. The state survives a reload: the new config's handlers take their references before the
// old ones release theirs.
type sharedState struct {
	coolDowns coolDowns

	mu      sync.Mutex // guards the slots, the windows of the limits, the streams, and the references
	slots   slots
	streams map[string]*liveStream // those that this instance writes, by id
}

var (
	sharedStates  = caddy.NewUsagePool()
	sharedWindows = caddy.NewUsagePool()
)

// Key identifies a shared state by its endpoint and token. It does not hold the token.
type Key struct {
	endpoint string
	token    string // the placeholder as configured, or the hash of a literal token
}

func (k Key) windowKey(r Rule) windowKey {
	return windowKey{state: k, length: r.Window, key: r.Key}
}

// Scope returns the key in the form that a store takes.
func (k Key) Scope() string { return k.endpoint + " " + k.token }

// windowKey identifies the window of a limit. It does not include the number of requests, so a limit whose number
// changes keeps its counts.
type windowKey struct {
	state  Key
	length time.Duration
	key    string // the configured one
}

// NewKey returns the key for an endpoint and a token as configured. It keeps a placeholder as it is, and only the
// SHA-256 hash of a literal token.
func NewKey(endpoint, configuredToken string) Key {
	if values.IsPlaceholder(configuredToken) {
		return Key{endpoint, configuredToken}
	}
	hash := sha256.Sum256([]byte(configuredToken))
	return Key{endpoint, "sha256:" + hex.EncodeToString(hash[:])}
}

// retain takes one more reference. The caller holds the state's lock. It returns false if all references were released,
// because then there is nothing to keep. That happens if a request reaches a handler whose config was replaced and that
// had no open chat.
func (l *Limiter) retain() bool {
	if l.refs == 0 {
		return false
	}
	l.refs++
	return true
}

// releaseRef releases one reference, and the shared state with the last one. Each open chat and each listener has a
// reference. So the state still knows them after a config without this handler.
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
