package illumichat

import (
	"net/http"
	"time"
)

// output is where an exchange's answer goes: to the visitor who asked, or into the log of a stream that can be resumed. The
// relay and the watch both use it, never at once. Times count from the exchange's start.
type output interface {
	// Prepare sets the head of an accepted answer.
	Prepare(head http.Header, contentType string)

	// Commit sends the head, if it is not sent yet. It is for the watch, and does not wait for the relay.
	Commit() error

	// IsCommitted reports whether anything was sent.
	IsCommitted() bool

	// HasSent reports whether anything but the head was sent.
	HasSent() bool

	// WriteEvents sends p after the head, at once if it is to be flushed. What p ends with is the end of an event, or where whole is
	// false, a part of one.
	WriteEvents(p []byte, whole, flush bool) error

	// WriteAll sends all of an answer that is no stream.
	WriteAll(p []byte) error

	// Finish ends a stream with an event of our own, after the torn one if there is one.
	Finish(ev []byte) error

	// EndStalled ends a write of the relay's that has taken too long. It returns when it may be time to look again.
	EndStalled(now time.Duration) (next time.Duration)

	// Heartbeat sends a comment if nothing was sent for long enough. It is for the watch, and returns when the next may be due.
	Heartbeat() (next time.Duration, err error)

	// IsHeard reports whether there is a visitor, or may be one although this process exits.
	IsHeard() bool

	// Deadline is when the answer has to be over; zero: whenever that is.
	Deadline() time.Time

	// Patience is after how long the watch has to look at the output at the latest.
	Patience() time.Duration

	// Close ends the output of an answer that has ended with a finish of this reason, for this cause. It returns how many bytes
	// the visitor was sent.
	Close(reason, cause string) (bytes int64)
}
