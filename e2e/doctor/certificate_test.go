package doctor

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/doctor/site"
	"github.com/illumichat/caddy-illumichat/internal/localhost"
)

// The finding names the fault of a certificate. --insecure accepts the certificate.
func TestCertificate(t *testing.T) {
	valid := x509.Certificate{Subject: pkix.Name{CommonName: "made for a test"}, DNSNames: []string{"localhost", "xn--bcher-kva.localhost"}, NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour)}
	expired, early := valid, valid
	expired.NotAfter = time.Now().Add(-time.Hour)
	early.NotBefore = time.Now().Add(30 * time.Minute)
	trusted, err := tls.X509KeyPair(localhost.PEM())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		certificate tls.Certificate
		host        string
		words       string
	}{
		"self-signed":   {sign(t, valid), "localhost", "self-signed"},
		"a name in IDN": {sign(t, valid), "bücher.localhost", "self-signed"},
		"expired":       {sign(t, expired), "localhost", "expired at"},
		"not yet valid": {sign(t, early), "localhost", "not valid before"},
		"another name":  {trusted, "127.0.0.1", "another name than 127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			url := serveTLS(t, tc.certificate, tc.host)
			found := check(t, url, site.Options{})
			found.want(t, "certificate", doctor.Wrong, tc.words, "--insecure")
			found.wantNothingElse(t, "certificate")
			found = check(t, url, site.Options{Insecure: true})
			found.want(t, "certificate", doctor.Note, tc.words)
			found.want(t, "handler", doctor.Wrong, "404") // so the check went on
		})
	}
}

// sign returns a certificate with these values that is signed by itself.
func sign(t *testing.T, values x509.Certificate) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	values.SerialNumber = big.NewInt(1)
	der, err := x509.CreateCertificate(rand.Reader, &values, &values, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// serveTLS runs a server without a chat until the test ends, and returns its URL.
func serveTLS(t *testing.T, certificate tls.Certificate, host string) string {
	t.Helper()
	server := httptest.NewUnstartedServer(http.NotFoundHandler())
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.EnableHTTP2 = true
	server.StartTLS()
	t.Cleanup(server.Close)
	_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
	return "https://" + host + ":" + port + "/chat"
}
