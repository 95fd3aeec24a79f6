package illumichat

import (
	"net/http"
	"time"
)

// output is where an exchange's answer goes: to the visitor who asked, or into the log of a stream that can be resumed. The
// relay and the watch both use it, never at once. Times count from the exchange's start.
type output interface {
	// prepare sets the head of an accepted answer.
	prepare(head http.Header, contentType string)

	// commit sends the head, if it is not sent yet. It is for the watch, and does not wait for the relay.
	commit() error

	// isCommitted reports whether anything was sent.
	isCommitted() bool

	// hasSent reports whether anything but the head was sent.
	hasSent() bool

	// relay sends p after the head, at once if it is to be flushed. What p ends with is the end of an event, or where whole is
	// false, a part of one.
	relay(p []byte, whole, flush bool) error

	// whole sends all of an answer that is no stream.
	whole(p []byte) error

	// finish ends a stream with an event of our own, after the torn one if there is one.
	finish(ev []byte) error

	// endStalled ends a write of the relay's that has taken too long. It returns when it may be time to look again.
	endStalled(now time.Duration) (next time.Duration)

	// heartbeat sends a comment if nothing was sent for long enough. It is for the watch, and returns when the next may be due.
	heartbeat() (next time.Duration, err error)

	// isHeard reports whether there is a visitor, or may be one although this process exits.
	isHeard() bool

	// deadline is when the answer has to be over; zero: whenever that is.
	deadline() time.Time

	// patience is after how long the watch has to look at the output at the latest.
	patience() time.Duration

	// close tells what was sent, and has nothing sent any more.
	close(*record)
}
