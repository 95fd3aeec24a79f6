package illumichat

import (
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

// A token's origin is shown as a placeholder only if that is the whole configured value. Anything else may contain the token.
func TestTokenOriginIsNoToken(t *testing.T) {
	for configured, want := range map[string]tokenOrigin{
		"{env.TOKEN}":               "{env.TOKEN}",
		"{file./run/secrets/token}": "{file./run/secrets/token}",
		sandbox.Token:               "literal",
	} {
		if got := newTokenOrigin(configured); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
