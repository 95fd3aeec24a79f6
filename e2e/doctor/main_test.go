// Package doctor tests `caddy illumichat check` with sites that a real Caddy serves, each with one fault.
package doctor

import (
	"testing"

	_ "github.com/illumichat/caddy-illumichat"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }
