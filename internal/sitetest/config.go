package sitetest

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// Validate provisions and validates a JSON config, as `caddy validate` does, and cleans it up. It returns an error if the
// config is not valid.
func Validate(t *testing.T, config []byte) error {
	t.Helper()
	var cfg caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &cfg); err != nil {
		t.Fatal(err)
	}
	return caddy.Validate(&cfg)
}

// Adapt adapts a Caddyfile to JSON and ignores the adapter's warnings.
func Adapt(tb testing.TB, caddyfile string) []byte {
	tb.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		tb.Fatalf("adapting the Caddyfile: %v", err)
	}
	return config
}

// AdaptSilently is like Adapt, but fails the test if there are warnings.
func AdaptSilently(tb testing.TB, caddyfile string) []byte {
	tb.Helper()
	config, warnings, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		tb.Fatalf("adapting the Caddyfile: %v", err)
	}
	for _, w := range warnings {
		tb.Errorf("adapting the Caddyfile: %s", w)
	}
	return config
}
