package limit

import (
	"crypto/sha256"
	"net/netip"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// maxKeyLength is the longest key that is kept as it is, in bytes. Longer ones are hashed.
const maxKeyLength = 256

// NormalizeKey returns the key to count under: an address as NormalizeAddress returns it, and any other key as
// ShortenKey does.
func NormalizeKey(key string) string { return ShortenKey(NormalizeAddress(key)) }

// ShortenKey returns the SHA-256 hash of a key of more than 256 bytes, and any other key as it is.
func ShortenKey(key string) string {
	if len(key) <= maxKeyLength {
		return key
	}
	hash := sha256.Sum256([]byte(key))
	return string(hash[:])
}

// NormalizeAddress maps all spellings of an IP address to one. An IPv6 address becomes its /64 network, because a
// client with one IPv6 address has the whole network. Any other text is returned as it is.
func NormalizeAddress(text string) string {
	ip, err := netip.ParseAddr(text)
	if err != nil {
		return text
	}
	if ip = ip.Unmap(); ip.Is4() {
		return ip.String()
	}
	network, _ := ip.Prefix(64) // cannot fail for an IPv6 address, and drops the zone
	return network.String()
}

// ClientKey returns the key of a client by the address that Caddy has determined. It returns "" if Caddy knows no
// address.
func ClientKey(address string) string { return NormalizeKey(values.KnownVisitor(address)) }
