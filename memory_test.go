//go:build !race

package illumichat

// maxStreamMemory is how many bytes an open stream may use, beyond what net/http needs for its two connections.
const maxStreamMemory = 8 << 10
