// Package visitor writes an answer to the visitor who waits for it. It writes the response headers once, the events,
// and comments while there are no events. It bounds the time of each write. It does not decide what the visitor gets.
package visitor
