// Package buffer lends the memory that streams read into, and bounds how much of it they take. It does not interpret
// the bytes.
package buffer
