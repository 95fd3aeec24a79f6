package illumichat

import (
	"bytes"
	"io"
	"net/http"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/buffer"
	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/sse"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
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

// relay passes one upstream event stream on to one visitor, in one goroutine: what a read brings is
// scanned, and the blocks that it completes are written and flushed at once. Only what is torn waits in the
// buffer for its rest.
type relay struct {
	token  upstream.Token
	output output
	watch  *watchdog.Watchdog

	scanner  sse.Scanner
	finishes *chat.FinishReader // nil before it is needed
	buffer   buffer.Buffer
	whole    int // bytes at the beginning of the buffer that are whole blocks

	anySent    bool // something of the stream has left the buffer
	firstSeen  bool // the first event has come, or is too large to be waited for
	read       bool // all of the stream has been read
	finished   bool // the finish has come
	finishSent bool // and was sent

	finishReason string

	pendingEvents int64         // events that are to be sent
	events        int64         // and that were sent
	firstEvent    time.Duration // when it came
	gaps          telemetry.Gaps

	ended bool
	err   error // why there is no finish, if it has ended without

	// An event that is too large to be held goes in parts.
	partSent     bool // a part of it is sent, or was dropped
	partIsFinish bool // it is a finish
	dropPart     bool // it is one finish too many
}

func newRelay(token upstream.Token, output output, watch *watchdog.Watchdog) *relay {
	return &relay{token: token, output: output, watch: watch, buffer: buffer.New()}
}

// note tells how far the stream went, for the visitor.
func (r *relay) note(c *telemetry.Record) {
	if !r.output.HasSent() {
		return
	}
	c.Events, c.FirstEvent = r.events, r.firstEvent
	r.gaps.Note(r.watch.Now(), r.events)
	c.MergeGaps(&r.gaps)
	if r.finishSent {
		c.FinishReason = r.finishReason
	}
}

// release gives the memory back that others can use.
func (r *relay) release() {
	r.buffer.Release()
	if r.finishes != nil {
		r.finishes.Release()
		r.finishes = nil
	}
}

// finisher returns what knows a finish from other events.
func (r *relay) finisher() *chat.FinishReader {
	if r.finishes == nil {
		r.finishes = chat.NewFinishReader()
	}
	return r.finishes
}

// start relays body up to its first event, and returns why there is none. What goes wrong after that, copy
// returns.
func (r *relay) start(body io.Reader) error {
	for !r.firstSeen && !r.ended {
		r.step(body)
	}
	if r.firstSeen && (!r.ended || r.output.IsCommitted()) {
		return nil
	}
	return r.err
}

// copy relays body to its end. It returns nil if there was a finish, and otherwise why there will be none.
func (r *relay) copy(body io.Reader) error {
	for !r.ended {
		r.step(body)
	}
	return r.err
}

// step relays what one read brings.
func (r *relay) step(body io.Reader) {
	r.gaps.Note(r.watch.BeginRead(), r.events)
	room := r.buffer.Free()
	n, err := body.Read(room)
	r.watch.EndRead()
	r.read = err == io.EOF
	if n > 0 {
		if failed := r.forward(n); failed != nil {
			r.ended, r.err = true, failed
			return
		}
		r.buffer.Adapt(n, n == len(room))
	}
	if err != nil {
		r.ended, r.err = true, r.end(err)
	}
}

// forward takes n bytes that were read to the end of the buffer, and sends what they complete.
func (r *relay) forward(n int) error {
	at := r.buffer.Len()
	r.buffer.Add(n)
	cr := sse.HasCR(r.buffer.Held()[at:])
	if r.partSent {
		n, ended := r.scanner.Next(r.buffer.Held()[at:], cr)
		if ended == sse.Event {
			r.pendingEvents++
		}
		if at += n; ended != sse.Torn {
			if err := r.sendRest(at); err != nil {
				return err
			}
			at = 0
		}
	}
	whole, events := r.scanner.Blocks(r.buffer.Held()[at:], cr)
	r.pendingEvents += int64(events)
	if whole > 0 {
		r.whole = at + whole
	}
	if events > 0 && !r.firstSeen {
		r.firstEventSeen()
	}
	// Comments before the first event wait for it: until then, nothing is sent.
	if r.firstSeen && r.whole > 0 {
		if err := r.sendWhole(); err != nil {
			return err
		}
	}
	return r.makeRoom()
}

// firstEventSeen marks the first event, after which the upstream's silences count.
func (r *relay) firstEventSeen() {
	r.firstSeen = true
	r.firstEvent = r.watch.Now()
	r.watch.Begin()
}

// sendWhole sends the whole blocks in the buffer.
func (r *relay) sendWhole() error {
	blocks := r.buffer.Held()[:r.whole]
	if !r.anySent && r.output.HasSent() {
		// After a heartbeat, a byte order mark would be no longer the stream's first bytes, and make the
		// first line another field.
		blocks = bytes.TrimPrefix(blocks, sse.ByteOrderMark)
	}
	var err error
	if leaks := r.token.In(blocks); leaks || r.finished || chat.MayFinish(blocks) {
		err = r.inspect(blocks, leaks)
	} else {
		err = r.write(blocks)
	}
	if err != nil {
		return err
	}
	r.drop(r.whole)
	r.whole = 0
	r.sent()
	return nil
}

// sent notes that what was waiting is with the visitor.
func (r *relay) sent() {
	r.events += r.pendingEvents
	r.pendingEvents = 0
	r.finishSent = r.finished
}

func (r *relay) write(blocks []byte) error {
	if len(blocks) == 0 {
		return nil
	}
	// What net/http flushes when the handler returns need not be flushed just before: it saves a short chat a write.
	last := r.finished && r.read
	return r.output.WriteEvents(blocks, true, !last)
}

// inspect sends blocks after a look at each: the first finish is noted, further ones are left out, and
// one that holds the token, where one leaks, ends the stream before it.
func (r *relay) inspect(blocks []byte, leaks bool) error {
	split := sse.NewScanner(r.anySent)
	from, at, unseen := 0, 0, r.pendingEvents
	cr := sse.HasCR(blocks)
	for at < len(blocks) {
		n, kind := split.Next(blocks[at:], cr)
		block := blocks[at : at+n]
		switch {
		case leaks && r.token.In(block):
			if err := r.write(blocks[from:at]); err != nil {
				return err
			}
			r.pendingEvents -= unseen
			r.sent()
			return apierror.Leak
		case !chat.MayFinish(block) || !r.finisher().IsFinish(block, !r.anySent && at == 0):
			// Sent with its neighbours.
		case r.finished:
			if err := r.write(blocks[from:at]); err != nil {
				return err
			}
			from = at + n
			r.pendingEvents--
		default:
			r.finish()
		}
		at += n
		if kind == sse.Event {
			unseen--
		}
	}
	return r.write(blocks[from:])
}

// finish notes the finish. What follows it is passed on for a while.
func (r *relay) finish() {
	r.finished = true
	if reason := r.finishes.Reason(); !r.token.In(reason) { // it could have been written another way
		r.finishReason = string(reason)
	}
	r.watch.Finish()
}

// makeRoom sees to it that the next read has room: by growing the buffer for a large event, or by sending
// a part of one that is too large for any.
func (r *relay) makeRoom() error {
	switch {
	case !r.buffer.Full():
		return nil
	case !r.partSent && !r.buffer.Largest():
		r.buffer.Grow()
		return nil
	case r.whole > 0: // all comments: as many as this are waited with no longer
		return r.sendWhole()
	}
	return r.sendPart()
}

// sendPart sends the part of an event that is held, but for what may be the beginning of the token.
func (r *relay) sendPart() error {
	if !r.firstSeen {
		r.firstEventSeen()
	}
	held := r.buffer.Held()
	if r.token.In(held) {
		return apierror.Leak
	}
	if !r.partSent {
		r.partSent = true
		r.partIsFinish = r.finisher().BeginsFinish(held, !r.anySent)
		r.dropPart = r.partIsFinish && r.finished
	}
	part := held[:len(held)-r.token.Len()+1]
	if err := r.writePart(part, false); err != nil {
		return err
	}
	r.drop(len(part))
	return nil
}

// sendRest sends the rest of an event of which parts are sent, n bytes.
func (r *relay) sendRest(n int) error {
	rest := r.buffer.Held()[:n]
	if r.token.In(rest) {
		return apierror.Leak
	}
	if err := r.writePart(rest, true); err != nil {
		return err
	}
	r.drop(n)
	r.partSent = false
	if r.partIsFinish && !r.finished {
		r.finish()
	}
	r.sent()
	return nil
}

func (r *relay) writePart(p []byte, whole bool) error {
	if r.dropPart {
		if whole {
			r.pendingEvents--
		}
		return nil
	}
	return r.output.WriteEvents(p, whole, true)
}

// drop removes n bytes that are dealt with.
func (r *relay) drop(n int) {
	r.buffer.Drop(n)
	r.anySent = true
}

// end deals with what is left when the upstream has ended, by EOF or another error. An event that lacks but
// its blank line gets it; a torn one is dropped.
func (r *relay) end(err error) error {
	if c := r.scanner.MissingEnd(); c != 0 && !r.finished {
		r.buffer.Free()[0] = c // as if it had been read
		if err := r.forward(1); err != nil {
			return err
		}
	}
	if r.finished {
		return nil
	}
	if r.whole > 0 && r.output.IsCommitted() { // comments that waited for a first event
		if err := r.sendWhole(); err != nil {
			return err
		}
	}
	return err
}
