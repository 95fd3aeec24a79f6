// Package example tests what people copy: it runs the examples, and checks the documentation and the monitoring files.
package example

import (
	"testing"

	_ "github.com/illumichat/caddy-illumichat"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	_ "github.com/illumichat/caddy-illumichat/store/redisstore"
)

func TestMain(m *testing.M) { sitetest.Main(m) }
