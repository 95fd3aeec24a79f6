package sitetest

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// Scrape returns our metrics by name and labels, without our prefix.
func Scrape(t *testing.T, s *Site) map[string]float64 {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Plain+"/metrics", nil)
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]float64)
	for line := range strings.Lines(ReadAll(t, s.Send(OneShot, req))) {
		metric, ok := strings.CutPrefix(line, "caddy_illumichat_")
		if !ok {
			continue
		}
		name, number, _ := strings.Cut(strings.TrimSpace(metric), "} ")
		if name == strings.TrimSpace(metric) {
			name, number, _ = strings.Cut(name, " ")
		} else {
			name += "}"
		}
		if values[name], err = strconv.ParseFloat(number, 64); err != nil {
			t.Fatalf("%s: %v", line, err)
		}
	}
	return values
}

// BehindProxy has the sites of a test believe the test when it says which client it is.
const BehindProxy = "grace_period 1ms\nservers {\ntrusted_proxies static 127.0.0.1/32\ntrusted_proxies_strict\n}"

// Validate provisions and validates a config, as `caddy validate` does, and cleans it up.
func Validate(t *testing.T, config []byte) error {
	t.Helper()
	var cfg caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &cfg); err != nil {
		t.Fatal(err)
	}
	return caddy.Validate(&cfg)
}
