package site

import "testing"

// A host is written as certificates and servers name it.
func TestTarget(t *testing.T) {
	for url, want := range map[string]string{
		"https://Bücher.example/Chat?q#f":   "https://xn--bcher-kva.example/Chat",
		"HTTPS://Example.com:443":           "https://example.com/",
		"http://EXAMPLE.com:8080/a%20b/":    "http://example.com:8080/a%20b/",
		"https://[2001:DB8:0::1]:8443/chat": "https://[2001:db8::1]:8443/chat",
	} {
		if got := mustParse(t, url).String(); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
	c := newClient(mustParse(t, "https://bücher.example/chat"), false)
	if c.trust.host != "xn--bcher-kva.example" {
		t.Errorf("the certificate should be for %s", c.trust.host)
	}
}

func TestIsLocal(t *testing.T) {
	for host, want := range map[string]bool{
		"localhost": true, "shop.localhost": true, "Shop.LOCALHOST:8080": true, "127.0.0.1": true, "127.9.9.9": true, "[::1]:443": true,
		"example.com": false, "notlocalhost": false, "localhost.example.com": false, "192.168.1.1": false,
	} {
		if got := mustParse(t, "http://"+host+"/chat").isLocal(); got != want {
			t.Errorf("%s: got %t", host, got)
		}
	}
}
