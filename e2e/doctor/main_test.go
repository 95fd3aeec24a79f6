// Package doctor tests `caddy illumichat check` with sites that a real Caddy serves, each with one fault.
package doctor

import (
	"os"
	"path/filepath"
	"testing"

	_ "github.com/illumichat/caddy-illumichat"
	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

func TestMain(m *testing.M) {
	trustLocalhost()
	sitetest.Main(m)
}

// trustLocalhost makes crypto/x509 trust the certificate of the tests' sites, as a visitor's browser trusts a public one.
func trustLocalhost() {
	dir, err := os.MkdirTemp("", "trust")
	if err != nil {
		panic(err)
	}
	certificate, _ := localhost.PEM()
	file := filepath.Join(dir, "roots.pem")
	if err := os.WriteFile(file, certificate, 0o600); err != nil {
		panic(err)
	}
	os.Setenv("SSL_CERT_FILE", file)
}
