// Package visitor is the connection of the visitor who waits for an answer. It reads the request's body within a time.
// It writes the response headers once, the events, and comments while there are no events. It bounds the time of each
// write. It does not decide what the visitor gets.
package visitor
