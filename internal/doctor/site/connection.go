package site

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"regexp"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// quicTimeout is how long an HTTP/3 probe may take. A firewall that drops UDP says nothing.
const quicTimeout = 4 * time.Second

// checkConnection finds out over which protocols the site can be reached. It reports its certificate, too.
func (c *checker) checkConnection(ctx context.Context) (goOn bool) {
	c.probes = make(map[protocol]*answer)
	c.report.Progress("connecting over " + http1Protocol.String())
	overHTTP1 := c.probe(ctx, http1Protocol)
	if !c.target.isSecure() {
		return c.checkReachable(overHTTP1) && c.checkUnencrypted()
	}
	c.report.Progress("connecting over " + http2Protocol.String())
	overHTTP2 := c.probe(ctx, http2Protocol)
	if c.client.trust.refuses() {
		return c.checkCertificate()
	}
	if !c.checkReachable(overHTTP1) {
		return false
	}
	c.checkCertificate()
	c.checkHTTP1()
	c.checkHTTP2(overHTTP2)
	c.checkHTTP3(ctx)
	return true
}

// probe sends an invalid chat over p and keeps the answer.
func (c *checker) probe(ctx context.Context, p protocol) error {
	a, err := c.client.ask(ctx, p, invalidChat)
	if err == nil && a.proto.is(p) {
		c.probes[p] = a
		c.protocol = p
	}
	return err
}

// checkReachable reports whether the site answers over any protocol. err is that of the first probe.
func (c *checker) checkReachable(err error) bool {
	if a := c.probes[http1Protocol]; a != nil && !c.target.isSecure() && a.wantsTLS() {
		c.add(doctor.Finding{
			Level: doctor.Wrong, Check: checkReachable, Found: "the port speaks TLS, and not plain HTTP",
			Why: "Nothing else can be checked.", Do: "Write https:// in the URL, here and in the page.",
		})
		return false
	}
	if len(c.probes) > 0 {
		c.ok(checkReachable, "the site answers at "+c.client.pin.get(c.target.url.Host))
		return true
	}
	f := doctor.Finding{
		Level: doctor.Wrong, Check: checkReachable, Found: "the site does not answer over HTTP/1.1",
		Why: "Nothing else can be checked.",
		Do:  "Check whether the host and the port are right, whether Caddy runs, and whether a firewall lets this machine in.",
	}
	if err != nil {
		f.Found = "the site cannot be reached: " + err.Error()
	}
	if lookup, ok := errors.AsType[*net.DNSError](err); ok && lookup.IsNotFound {
		f.Do = "The host's name does not resolve on this machine. Correct it, or add it to the DNS or to this machine's hosts file."
	}
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
		f.Do = "The port speaks plain HTTP: write http://, or list the site's address in the Caddyfile with https:// or without a scheme."
	}
	c.add(f)
	return false
}

// checkUnencrypted reports a site without TLS.
func (c *checker) checkUnencrypted() bool {
	f := doctor.Finding{
		Level: doctor.Warning, Check: checkCertificate, Found: "the site is plain HTTP",
		Why: "Anyone on the way can read and change what visitors and the assistant write.",
		Do:  "Give the site a public name without http://, and Caddy gets a certificate by itself. Then check the https URL.",
	}
	if c.target.isLocal() {
		f = doctor.Finding{Level: doctor.Note, Check: checkCertificate, Found: "the site is plain HTTP, on this machine alone"}
	}
	c.add(f)
	return true
}

// checkHTTP1 reports whether the site speaks HTTP/1.1.
func (c *checker) checkHTTP1() {
	if a := c.probes[http1Protocol]; a != nil {
		c.ok(checkHTTP1, "the site speaks "+a.proto.String())
		return
	}
	c.add(doctor.Finding{
		Level: doctor.Note, Check: checkHTTP1, Found: "the site does not speak HTTP/1.1",
		Why: "Browsers do not need it, but some other clients do.",
	})
}

// checkHTTP2 reports whether the site speaks HTTP/2. err is the probe's.
func (c *checker) checkHTTP2(err error) {
	if c.probes[http2Protocol] != nil {
		c.ok(checkHTTP2, "the site speaks HTTP/2")
		return
	}
	found := "the site does not speak HTTP/2"
	if err != nil {
		found += ": " + err.Error()
	}
	c.add(doctor.Finding{
		Level: doctor.Warning, Check: checkHTTP2, Found: found,
		Why: "Over HTTP/1.1 a browser opens about six connections to a site, and each open answer occupies one of them.",
		Do:  "Turn HTTP/2 on where TLS ends: it is on by default in Caddy, and `http2 on;` turns it on in nginx.",
	})
}

// checkHTTP3 reports whether the site speaks HTTP/3, if it announces it. Browsers do not try it otherwise. Later requests use
// TCP all the same, because that is how proxies pass them on.
func (c *checker) checkHTTP3(ctx context.Context) {
	if !c.announcesHTTP3() {
		c.add(doctor.Finding{Level: doctor.Note, Check: checkHTTP3, Found: "no Alt-Svc header announces HTTP/3, so browsers do not use it"})
		return
	}
	c.report.Progress("connecting over " + http3Protocol.String())
	ctx, cancel := context.WithTimeoutCause(ctx, quicTimeout, fmt.Errorf("no answer within %s", quicTimeout))
	defer cancel()
	overTCP := c.protocol
	err := c.probe(ctx, http3Protocol)
	c.protocol = overTCP
	if c.probes[http3Protocol] != nil {
		c.ok(checkHTTP3, "the site speaks HTTP/3")
		return
	}
	f := doctor.Finding{
		Level: doctor.Warning, Check: checkHTTP3, Found: "an Alt-Svc header announces HTTP/3, but the site cannot be reached over it",
		Why: "Browsers try HTTP/3 first, and lose time before they fall back to TCP.",
		Do:  "Open the port for UDP as well, in the firewall and in Docker (443:443/udp). Or turn HTTP/3 off in the global options:\nservers {\n\tprotocols h1 h2\n}",
	}
	if err != nil {
		f.Found += ": " + err.Error()
	}
	c.add(f)
}

// altSvcHTTP3 matches an HTTP/3 service on the same host (RFC 7838, § 3).
var altSvcHTTP3 = regexp.MustCompile(`(?:^|[\s,])h3="([^":]*):(\d+)"`)

// announcesHTTP3 reports whether an answer over TCP announces HTTP/3 at the host and port that were probed.
func (c *checker) announcesHTTP3() bool {
	port := c.target.url.Port()
	if port == "" {
		port = "443"
	}
	for _, p := range []protocol{http1Protocol, http2Protocol} {
		if c.probes[p] == nil {
			continue
		}
		for _, field := range c.probes[p].header.Values("Alt-Svc") {
			for _, service := range altSvcHTTP3.FindAllStringSubmatch(field, -1) {
				if service[1] == "" && service[2] == port {
					return true
				}
			}
		}
	}
	return false
}
