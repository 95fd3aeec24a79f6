// Package localhost has what tests need to serve on this machine.
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
	"testing"
	"time"
)

// Port returns a port that is free.
func Port(tb testing.TB) int {
	tb.Helper()
	return Ports(tb, 1)[0]
}

// Ports returns ports that differ, out of a range that systems give to nobody by themselves: until the port is
// listened at, any connection could else take it.
func Ports(tb testing.TB, n int) (ports []int) {
	tb.Helper()
	for tries := 0; len(ports) < n; tries++ {
		port := 20_000 + mathrand.IntN(10_000)
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

// PEM makes a certificate of localhost for tests, and its key: one that Caddy made would come in the
// background, at any time until the site is stopped.
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

// Certificate writes a certificate of localhost and its key to files, and returns their names.
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
