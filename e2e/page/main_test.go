// Package page tests the browser's side: the example's page in a real browser, its client, and third-party clients.
package page

import (
	"testing"

	_ "github.com/illumichat/caddy-illumichat"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	_ "github.com/illumichat/caddy-illumichat/store/redisstore"
)

func TestMain(m *testing.M) { sitetest.Main(m, closeShared) }
