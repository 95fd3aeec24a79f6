package limit

import (
	"strings"
	"testing"
)

func TestLongKeysAreNotKept(t *testing.T) {
	long := strings.Repeat("x", maxKeyLength)
	if got := NormalizeKey(long); got != long {
		t.Errorf("got %d bytes", len(got))
	}
	if got := NormalizeKey(long + "x"); len(got) != 32 {
		t.Errorf("got %d bytes, want a hash", len(got))
	}
}

func TestAddressesAreNormalized(t *testing.T) {
	for text, want := range map[string]string{
		"192.0.2.1": "192.0.2.1", "::ffff:192.0.2.1%eth0": "192.0.2.1", "2001:DB8::1": "2001:db8::/64", "fe80::1%eth0": "fe80::/64",
		"": "", "anna": "anna", "192.0.2.01": "192.0.2.01", "@": "@",
	} {
		if got := NormalizeAddress(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// Caddy's name for the other end of a Unix socket is no client.
func TestClientKey(t *testing.T) {
	for address, want := range map[string]string{"": "", "@": "", "192.0.2.1": "192.0.2.1", "2001:db8::1": "2001:db8::/64"} {
		if got := ClientKey(address); got != want {
			t.Errorf("%q: got %q, want %q", address, got, want)
		}
	}
}

// The default key costs no allocation beyond the client's normalized address, which is a text of its own.
func TestClientKeyAllocatesOnce(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { ClientKey("192.0.2.1") }); n > 1 {
		t.Errorf("there are %v allocations", n)
	}
}
