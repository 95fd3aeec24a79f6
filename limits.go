package illumichat

import (
	"crypto/sha256"
	"encoding/hex"

	"github.com/caddyserver/caddy/v2"
)

// sharedState is what all handlers of the process that ask one endpoint with one token have in common, because
// the upstream counts them as one. A reload keeps it: the new config's handlers take it over before the old
// ones let go of it.
type sharedState struct {
	coolDown coolDown
}

var sharedStates = caddy.NewUsagePool()

// stateKey tells states apart. It holds no secret.
type stateKey struct {
	endpoint string
	token    string // where it comes from: the placeholder, or the hash of what is no placeholder
}

func newStateKey(endpoint, configuredToken string) stateKey {
	if isPlaceholder(configuredToken) {
		return stateKey{endpoint, configuredToken}
	}
	hash := sha256.Sum256([]byte(configuredToken))
	return stateKey{endpoint, "sha256:" + hex.EncodeToString(hash[:])}
}

// shareState takes part in the state. Cleanup gives that up.
func (h *Handler) shareState() {
	state, _ := sharedStates.LoadOrStore(newStateKey(h.endpoint.String(), h.Token), new(sharedState))
	h.state = state.(*sharedState)
}

// Cleanup lets go of what the handler shares. Streams that are open may still use it.
func (h *Handler) Cleanup() error {
	if h.state == nil { // provisioning failed before
		return nil
	}
	_, err := sharedStates.Delete(newStateKey(h.endpoint.String(), h.Token))
	return err
}
