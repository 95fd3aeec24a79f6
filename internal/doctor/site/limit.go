package site

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// checkLimit reports whether the site limits how often a client may ask, and whether a forged address bypasses the limit. t
// is an answer.
func (c *checker) checkLimit(ctx context.Context, t *transcript) {
	first, ok := allowanceOf(t.header)
	if !ok {
		f := doctor.Finding{
			Level: doctor.Warning, Check: checkLimit, Found: "no limit per client is visible: the answer has no RateLimit header from the chat",
			Why: "Strangers can spend your quota. A limit that all visitors share is not visible here, and one visitor can use it up for all.",
			Do:  "Write in the block of illumichat, for example:\nlimit 20 1h\nlimit 2000 24h everyone\nIf there is such a limit, see which proxy removes RateLimit.",
		}
		if c.target.isLocal() { // a demo
			f.Level = doctor.Note
		}
		c.add(f)
		c.skip(checkForgedAddress, "no limit is visible, so none can be bypassed", "")
		return
	}
	c.reportLimit(first)
	c.report.Progress("sending a chat with forged addresses")
	c.checkForgedAddress(ctx, t.started, first)
}

// reportLimit reports the limit of a client. Behind a proxy, the client may be the proxy itself.
func (c *checker) reportLimit(limit allowance) {
	found := fmt.Sprintf("a client may send %d chats in %s", limit.quota, limit.window)
	proxies := c.proxies()
	if len(proxies) == 0 {
		c.ok(checkLimit, found)
		return
	}
	c.add(doctor.Finding{
		Level: doctor.Note, Check: checkLimit, Found: found + ", with " + names(proxies) + " in front",
		Why: fmt.Sprintf("Unless trusted_proxies has the address of the proxy, Caddy takes all visitors for one client, so they share these %d chats.", limit.quota),
		Do:  "Check whether the global options list the addresses of the proxy, such as:\nservers {\n\ttrusted_proxies static 192.0.2.1/32\n\ttrusted_proxies_strict\n}",
	})
}

// forgeries are the headers in which proxies say who the client is. Some CDNs refuse a request with their own header, so it
// is then sent without these.
var forgeries = [][]string{
	{"X-Forwarded-For", "Forwarded", "Cf-Connecting-Ip", "True-Client-Ip"},
	{"X-Forwarded-For", "Forwarded"},
}

// forge returns headers that name an address. It is one that nobody has (RFC 2544), and differs from run to run, so
// that no earlier run has used its limit.
func forge(names []string) []string {
	address := fmt.Sprintf("198.%d.%d.%d", 18+rand.IntN(2), rand.IntN(256), 1+rand.IntN(254))
	var header []string
	for _, name := range names {
		value := address
		if name == "Forwarded" {
			value = "for=" + address
		}
		header = append(header, name, value)
	}
	return header
}

// checkForgedAddress reports whether a chat with forged addresses counts as another client's. It reads no more than the
// response headers.
func (c *checker) checkForgedAddress(ctx context.Context, asked time.Time, first allowance) {
	for _, names := range forgeries {
		s, a, err := c.open(ctx, c.chat(forge(names)...))
		if err != nil {
			c.skip(checkForgedAddress, "the chat with forged addresses gets no answer: "+err.Error(), "Check again.")
			return
		}
		if s != nil {
			c.stop(ctx, s)
			c.reportForgery(first, s.header, s.started.Sub(asked))
			return
		}
		if _, ours := a.refusal(); !ours && a.status >= http.StatusBadRequest && a.status < http.StatusInternalServerError {
			continue
		}
		if a.isRefusal(codeRateLimit) && first.left == 0 {
			c.ok(checkForgedAddress, "a chat with forged addresses is refused as well, because this machine has used up its limit")
			return
		}
		c.skip(checkForgedAddress, "the chat with forged addresses gets "+a.describe(), "Check again later.")
		return
	}
	c.ok(checkForgedAddress, "something in front of the chat refuses requests with forged addresses")
}

// reportForgery reports whether a chat with forged addresses was counted as this machine's. header is that of its answer.
func (c *checker) reportForgery(first allowance, header http.Header, elapsed time.Duration) {
	second, ok := allowanceOf(header)
	if !ok {
		c.skip(checkForgedAddress, "the answer to the chat with forged addresses shows no limit", "Find out which proxy removes RateLimit.")
		return
	}
	switch compare(first, second, elapsed) {
	case countedTogether:
		c.ok(checkForgedAddress, "X-Forwarded-For, Forwarded, CF-Connecting-IP and True-Client-IP of a stranger do not bypass the limit")
	case cannotTell:
		c.skip(checkForgedAddress, "the count of the limit changes too fast to tell whether a forged address bypasses it", "Check again later, when this machine has not chatted for a while.")
	case countedApart:
		f := doctor.Finding{
			Level: doctor.Wrong, Check: checkForgedAddress,
			Found: "a stranger bypasses the limit with a forged X-Forwarded-For, Forwarded, CF-Connecting-IP or True-Client-IP",
			Why:   "Each forged address has a quota of its own, so the limit does not keep anyone from spending yours.",
			Do: "List in trusted_proxies only the addresses of your CDN or proxy, and add trusted_proxies_strict. With no proxy, remove trusted_proxies.\n" +
				"Let a firewall accept connections from the CDN alone; otherwise clients can forge their address.",
		}
		if isPrivate(c.client.pin.get("")) {
			f.Level = doctor.Warning
			f.Found = "this machine bypasses the limit with a forged X-Forwarded-For, Forwarded, CF-Connecting-IP or True-Client-IP"
			f.Why = "If trusted_proxies lists this machine's own address, such as the server's or one of private_ranges, that is expected. If not, any stranger can do so."
			f.Do = "Check again from a machine outside of your network. If the limit is bypassed there:\n" + f.Do
		}
		c.add(f)
	}
}

// isPrivate reports whether an address with a port is in a network of its own, so that the site sees this machine's address in
// it. A site may trust such addresses.
func isPrivate(address string) bool {
	remote, err := netip.ParseAddrPort(address)
	return err == nil && (remote.Addr().Unmap().IsLoopback() || remote.Addr().Unmap().IsPrivate() || remote.Addr().IsLinkLocalUnicast())
}
