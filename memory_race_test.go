//go:build race

package illumichat

// maxStreamMemory is larger with the race detector: its code needs more stack, and a stack doubles when it grows.
const maxStreamMemory = 12 << 10
