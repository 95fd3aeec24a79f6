package cause

import (
	"net/netip"
	"regexp"
	"strings"
	"syscall"
)

// dialEnds maps how the text of a failed dial ends to its kind.
var dialEnds = []struct{ end, kind string }{
	{"no such host", "no such host"},
	{"server misbehaving", "the DNS lookup failed"},
	{"i/o timeout", "i/o timeout"},
	{"operation was canceled", "context canceled"},
	{"context canceled", "context canceled"},
	{"context deadline exceeded", "context deadline exceeded"},
}

// dialErrnos are the errors with which the operating system refuses to connect.
var dialErrnos = []syscall.Errno{
	syscall.ECONNREFUSED, syscall.ECONNRESET, syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.ETIMEDOUT, syscall.EADDRNOTAVAIL,
	syscall.EMFILE, syscall.ENFILE, syscall.EACCES, syscall.EPERM, syscall.ENOENT,
}

// dialForm matches the beginning of the text of a failed dial. The only group is the address.
var dialForm = regexp.MustCompile(`^dial [a-z0-9]+(?: (.*?))?: `)

// ofDial returns the kind of a failed dial, with the address, from its text. Caddy's transport hides the error's type.
func ofDial(err error) string {
	text := err.Error()
	match := dialForm.FindStringSubmatch(text)
	if match == nil {
		return ""
	}
	begin := "dial: "
	if address, err := netip.ParseAddrPort(match[1]); err == nil {
		begin = "dial tcp " + address.String() + ": "
	}
	for _, errno := range dialErrnos {
		if strings.HasSuffix(text, ": "+errno.Error()) {
			return begin + errno.Error()
		}
	}
	for _, known := range dialEnds {
		if strings.HasSuffix(text, ": "+known.end) {
			return begin + known.kind
		}
	}
	return begin + "an error of an unknown kind"
}

// Kind returns the text of err, an error of Of, without the address that was dialed. The log counts failures by it, and
// an upstream may have many addresses. Kind returns "" for nil.
func Kind(err error) string {
	if err == nil {
		return ""
	}
	return dialForm.ReplaceAllLiteralString(err.Error(), "dial: ")
}
