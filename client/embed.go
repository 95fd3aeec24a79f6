// Package client embeds the modules of the npm package caddy-illumichat, so that Caddy can serve them from its binary.
package client

import "embed"

// Modules holds the package's JavaScript, by the same paths as in the package. It holds no tests.
//
//go:embed *.js lib ai-sdk markdown element
var Modules embed.FS
