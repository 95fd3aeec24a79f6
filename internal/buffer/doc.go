// Package buffer lends the memory that streams read into, and bounds how much of it there is. It does not know what the
// bytes are.
package buffer
