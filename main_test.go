package illumichat

import (
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

func TestMain(m *testing.M) { sitetest.Main(m) }
