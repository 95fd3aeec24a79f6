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

// shareState takes part in the state.
func (h *Handler) shareState() {
	key := newStateKey(h.endpoint.String(), h.Token)
	state, _ := sharedStates.LoadOrStore(key, &sharedState{endpoint: h.publicEndpoint()})
	h.state = state.(*sharedState)
	for _, l := range h.Limits {
		shared, _ := sharedWindows.LoadOrStore(l.windowKey(key), newWindow(time.Duration(l.Window)))
		h.limits = append(h.limits, &limit{Limit: l, window: shared.(*window)})
	}
	h.users = 1
	loadedHandlers.add(h)
}

// use keeps what the handler shares until what it returns is called.
func (h *Handler) use() (letGo func() error) {
	h.state.mu.Lock()
	defer h.state.mu.Unlock()
	if !h.join() {
		return func() error { return nil }
	}
	return h.letGo
}

// join makes one user more, who has to let go, and needs the state's lock. Requests come to a handler even when its config was
// replaced and nothing was open: then there is nothing to keep.
func (h *Handler) join() bool {
	if h.users == 0 {
		return false
	}
	h.users++
	return true
}

// Cleanup lets go of what the handler shares, once its open chats have ended.
func (h *Handler) Cleanup() error {
	if h.state == nil { // provisioning failed before
		return nil
	}
	loadedHandlers.remove(h)
	return h.letGo()
}

// letGo gives up the state for one of the handler's users. Each open chat and each listener is one, so that a config without
// this handler in between does not forget them.
func (h *Handler) letGo() error {
	h.state.mu.Lock()
	h.users--
	last := h.users == 0
	h.state.mu.Unlock()
	if !last {
		return nil
	}
	key := newStateKey(h.endpoint.String(), h.Token)
	var errs error
	for _, l := range h.Limits {
		_, err := sharedWindows.Delete(l.windowKey(key))
		errs = errors.Join(errs, err)
	}
	if h.store != nil {
		errs = errors.Join(errs, h.store.Close())
	}
	_, err := sharedStates.Delete(key)
	return errors.Join(errs, err)
}
