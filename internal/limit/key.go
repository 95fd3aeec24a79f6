package limit

import (
	"crypto/sha256"
	"net/netip"
)

// maxKeyLength is the longest key that is kept as it is, in bytes. Longer ones are hashed.
const maxKeyLength = 256

// NormalizeKey returns the key to count under. It maps all spellings of an IP address to one key. An IPv6 address
// becomes its /64 network, because a client with one IPv6 address has the whole network. A key of more than 256 bytes
// becomes its SHA-256 hash.
func NormalizeKey(key string) string {
	if ip, err := netip.ParseAddr(key); err == nil {
		ip = ip.Unmap()
		if ip.Is4() {
			return ip.String()
		}
		network, _ := ip.Prefix(64) // cannot fail for an IPv6 address, and drops the zone
		return network.String()
	}
	if len(key) > maxKeyLength {
		hash := sha256.Sum256([]byte(key))
		return string(hash[:])
	}
	return key
}
