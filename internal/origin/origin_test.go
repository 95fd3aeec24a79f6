package origin

import "testing"

func TestParseOrigin(t *testing.T) {
	for configured, want := range map[string]string{
		"https://www.example.com":         "https://www.example.com",
		"HTTPS://WWW.Example.COM":         "https://www.example.com",
		"https://www.example.com:443":     "https://www.example.com",
		"http://www.example.com:80":       "http://www.example.com",
		"http://www.example.com:443":      "http://www.example.com:443",
		"https://www.example.com:8443":    "https://www.example.com:8443",
		"http://localhost:3000":           "http://localhost:3000",
		"http://my_host.internal":         "http://my_host.internal",
		"http://192.0.2.1:8080":           "http://192.0.2.1:8080",
		"http://[2001:DB8::1]:8080":       "http://[2001:db8::1]:8080",
		"https://[::1]:443":               "https://[::1]",
		"https://[2001:0db8:0:0::1]:0443": "https://[2001:db8::1]",
		"https://Bücher.example":          "https://xn--bcher-kva.example",
		"capacitor://localhost":           "capacitor://localhost",
		"chrome-extension://abcdefghijkl": "chrome-extension://abcdefghijkl",
	} {
		if got, err := Parse(configured); err != nil || got != want {
			t.Errorf("%s: got %q and %v, want %q", configured, got, err, want)
		}
	}
}
