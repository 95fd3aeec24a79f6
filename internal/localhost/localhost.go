// Package localhost provides free ports and a certificate for tests that serve on this machine.
package localhost

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	mathrand "math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// nextPort is the number of the port that Ports tries next, modulo 10,000.
var nextPort atomic.Uint32

func init() { nextPort.Store(mathrand.Uint32N(10_000)) }

// Port returns a port that is free.
func Port(tb testing.TB) int {
	tb.Helper()
	return Ports(tb, 1)[0]
}

// Ports returns n different free ports of 127.0.0.1, from 20000 to 29999. Operating systems do not assign ports of that range
// by themselves. Otherwise any outgoing connection could take a port before the test listens on it. For the same reason, tests
// that run at once get different ports: they are counted up, from a random one on.
func Ports(tb testing.TB, n int) (ports []int) {
	tb.Helper()
	for tries := 0; len(ports) < n; tries++ {
		port := 20_000 + int(nextPort.Add(1)%10_000)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			if tries == 1000 {
				tb.Fatal(err)
			}
			continue
		}
		defer l.Close()
		ports = append(ports, port)
	}
	return ports
}

// PEM returns a certificate for localhost and its key, which it makes once per process. Tests do not use a certificate
// of Caddy's own, because Caddy makes that in the background. Caddy may do so at any time until the site is stopped.
var PEM = sync.OnceValues(func() (cert, key []byte) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "localhost"}, // curl refuses an issuer without a name
		DNSNames:     []string{"localhost"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		panic(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
})

// Certificate writes the certificate and the key of PEM to files and returns the paths.
func Certificate(tb testing.TB) (certFile, keyFile string) {
	tb.Helper()
	cert, key := PEM()
	dir := tb.TempDir()
	certFile, keyFile = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, content := range map[string][]byte{certFile: cert, keyFile: key} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
	return certFile, keyFile
}
