package sitetest

import (
	"crypto/tls"
	"encoding/json"
	"slices"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func init() { caddy.RegisterModule(loaded{}) }

// loaded is a TLS handshake matcher that makes every handshake wait until the config is loaded. It is for the race detector:
// Caddy may start its HTTP app before its TLS app. Handshakes then read the TLS app's fields without a lock (as of v2.11.9).
type loaded struct{}

// loading is locked for writing while a config loads.
var loading sync.RWMutex

// CaddyModule returns the module's information.
func (loaded) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "tls.handshake_match.loaded", New: func() caddy.Module { return new(loaded) }}
}

// Match blocks a handshake while a config loads. Over QUIC it rejects the handshake instead, because the loading would wait
// for the handshake.
func (loaded) Match(hello *tls.ClientHelloInfo) bool {
	if slices.Contains(hello.SupportedProtos, "h3") {
		if !loading.TryRLock() {
			return false
		}
	} else {
		loading.RLock()
	}
	defer loading.RUnlock()
	return true
}

// Load loads a config into the Caddy of this process.
func Load(tb testing.TB, config []byte) {
	tb.Helper()
	loading.Lock()
	defer loading.Unlock()
	if err := caddy.Load(config, true); err != nil {
		tb.Fatalf("loading the config: %v", err)
	}
}

// matchLoaded adds the matcher loaded to the TLS connection policies of a config.
func matchLoaded(tb testing.TB, config []byte) []byte {
	tb.Helper()
	var decoded map[string]any
	if err := json.Unmarshal(config, &decoded); err != nil {
		tb.Fatal(err)
	}
	apps := decoded["apps"].(map[string]any)
	for _, server := range apps["http"].(map[string]any)["servers"].(map[string]any) {
		policies, _ := server.(map[string]any)["tls_connection_policies"].([]any)
		for _, policy := range policies {
			match, _ := policy.(map[string]any)["match"].(map[string]any)
			if match == nil {
				match = make(map[string]any)
			}
			match["loaded"] = struct{}{}
			policy.(map[string]any)["match"] = match
		}
	}
	config, err := json.Marshal(decoded)
	if err != nil {
		tb.Fatal(err)
	}
	return config
}
