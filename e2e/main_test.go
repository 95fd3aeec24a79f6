// Package e2e tests the module's promises through its front door: a real Caddy with a Caddyfile, real visitors, and
// upstreams that answer or fail as a test tells them to. Each file is named for a promise.
package e2e

import (
	"testing"

	_ "github.com/illumichat/caddy-illumichat"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	_ "github.com/illumichat/caddy-illumichat/store/redisstore"
)

func TestMain(m *testing.M) { sitetest.Main(m) }
