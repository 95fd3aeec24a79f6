package site

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"sync"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// trust decides which certificates are accepted, and remembers what is wrong with the site's.
type trust struct {
	host     string
	insecure bool

	mu      sync.Mutex
	leaf    *x509.Certificate
	chain   int   // how many certificates the site sent
	problem error // nil: the certificate is valid
}

// config returns a TLS config that verifies certificates by t.
func (t *trust) config() *tls.Config {
	return &tls.Config{
		InsecureSkipVerify: true, // verify does it, so that an invalid certificate can be reported and then accepted
		VerifyConnection:   t.verify,
	}
}

// verify verifies a certificate as crypto/tls does by default.
func (t *trust) verify(state tls.ConnectionState) error {
	options := x509.VerifyOptions{DNSName: t.host, Intermediates: x509.NewCertPool()}
	for _, c := range state.PeerCertificates[1:] {
		options.Intermediates.AddCert(c)
	}
	leaf := state.PeerCertificates[0]
	_, err := leaf.Verify(options)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.leaf, t.chain, t.problem = leaf, len(state.PeerCertificates), err
	if t.insecure {
		return nil
	}
	return err
}

// refuses reports whether a certificate was invalid and therefore not accepted.
func (t *trust) refuses() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.problem != nil && !t.insecure
}

// checkCertificate reports whether browsers accept the certificate of the last connection. Without one, as after a refused
// connection, it reports nothing. It returns false if the check ends here.
func (c *checker) checkCertificate() (goOn bool) {
	t := &c.client.trust
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.leaf == nil:
		return true
	case t.problem == nil:
		c.ok(checkCertificate, "the certificate is valid until "+t.leaf.NotAfter.UTC().Format(time.DateOnly))
		return true
	}
	f := doctor.Finding{Check: checkCertificate, Why: "Browsers refuse to open such a site, so its pages cannot chat."}
	f.Found, f.Do = t.describe()
	if t.insecure {
		f.Level, f.Why = doctor.Note, "--insecure accepts it here. Browsers do not."
	} else {
		f.Level = doctor.Wrong
		f.Do += "\nTo check the rest with this certificate, write --insecure."
	}
	c.add(f)
	return t.insecure
}

// describe returns what is wrong with the certificate and what to do.
func (t *trust) describe() (found, do string) {
	var (
		invalid   x509.CertificateInvalidError
		otherName x509.HostnameError
		unknown   x509.UnknownAuthorityError
	)
	switch {
	case errors.As(t.problem, &invalid) && invalid.Reason == x509.Expired && time.Now().Before(t.leaf.NotBefore):
		return "the certificate is not valid before " + t.leaf.NotBefore.UTC().Format(time.DateTime) + " UTC",
			"Correct the clock of this machine, or of the one that made the certificate."
	case errors.As(t.problem, &invalid) && invalid.Reason == x509.Expired:
		return "the certificate expired at " + t.leaf.NotAfter.UTC().Format(time.DateTime) + " UTC",
			"See in Caddy's log why it was not renewed. If a certificate is loaded from files, renew these."
	case errors.As(t.problem, &otherName):
		return "the certificate is for another name than " + t.host,
			"Open the site by the name in its certificate, or list this name as an address of the site."
	case errors.As(t.problem, &unknown) && string(t.leaf.RawIssuer) == string(t.leaf.RawSubject):
		return "the certificate is self-signed",
			"Give the site a public name, for which Caddy gets a certificate by itself."
	case errors.As(t.problem, &unknown) && t.chain == 1:
		return "the certificate is signed by an authority that this machine does not know, and no intermediate certificate came with it",
			"Load the certificate together with its intermediates. If it is of Caddy's own authority, run `caddy trust` on each machine that should accept it."
	case errors.As(t.problem, &unknown):
		return "the certificate is signed by an authority that this machine does not know",
			"Give the site a public name, for which Caddy gets a certificate by itself. If this is Caddy's own authority, run `caddy trust` on each machine that should accept it."
	}
	return "the certificate cannot be verified", "Look at it with a browser, which says more."
}
