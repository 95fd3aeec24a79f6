// Package ssetest parses event streams for tests in the plainest way, as a reference for other parsers. It needs the
// whole stream, so it cannot parse one that is still open.
package ssetest
