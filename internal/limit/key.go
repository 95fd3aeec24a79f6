package limit

import (
	"crypto/sha256"
	"net/netip"
)

// maxKeyLength is the length of a key in bytes; of a longer one the hash is kept.
const maxKeyLength = 256

// NormalizeKey gives the ways to write one address one key. Whoever has an IPv6 address has a whole /64.
func NormalizeKey(key string) string {
	if ip, err := netip.ParseAddr(key); err == nil {
		ip = ip.Unmap()
		if ip.Is4() {
			return ip.String()
		}
		network, _ := ip.Prefix(64) // which an IPv6 address has, and no zone
		return network.String()
	}
	if len(key) > maxKeyLength {
		hash := sha256.Sum256([]byte(key))
		return string(hash[:])
	}
	return key
}
