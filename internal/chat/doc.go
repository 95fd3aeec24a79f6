// Package chat knows the chat API's own format. It checks a visitor's request and rewrites it, so that nothing in it
// can be read in two ways. It also tells the finish of an answer from an event that merely quotes one. It sends
// nothing, neither to the upstream nor to the visitor.
package chat
