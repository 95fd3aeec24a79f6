package sitetest

import (
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
)

// Validate provisions and validates a config, as `caddy validate` does, and cleans it up.
func Validate(t *testing.T, config []byte) error {
	t.Helper()
	var cfg caddy.Config
	if err := caddy.StrictUnmarshalJSON(config, &cfg); err != nil {
		t.Fatal(err)
	}
	return caddy.Validate(&cfg)
}

// Adapt turns a Caddyfile into JSON.
func Adapt(tb testing.TB, caddyfile string) []byte {
	tb.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		tb.Fatalf("adapting the Caddyfile: %v", err)
	}
	return config
}

// AdaptSilently adapts a Caddyfile that must not give rise to a warning.
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
