// Package sse finds the events of a stream as the HTML Standard defines them in § 9.2.6, "Interpreting an event stream",
// in whatever pieces the stream comes. It keeps no bytes and does not interpret an event's data: what an event means is for
// other packages.
package sse
