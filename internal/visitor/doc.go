// Package visitor writes an answer to the visitor who waits for it: one head, whole events, comments while nothing comes, each
// write bounded in time. It does not decide what the visitor gets.
package visitor
