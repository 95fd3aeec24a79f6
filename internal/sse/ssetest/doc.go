// Package ssetest reads event streams for tests in the plainest way there is, to compare others with it. It is not for
// streams that are still open: it takes a whole one.
package ssetest
