// Package sse finds the events of an event stream (HTML Standard, § 9.2.6, "Interpreting an event stream"). The stream
// may arrive in pieces of any size. The package does not store the stream and does not interpret an event's data. Other
// packages know what an event means.
package sse
