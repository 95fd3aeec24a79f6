package illumichat

import (
	"bytes"
	"context"
	"errors"
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

// output is where an exchange's answer goes: the visitor who asked, or the log of a resumable stream. The relay and the
// watchdog use it from two goroutines. An implementation must not let both write at the same time. The watchdog's calls
// must not wait for a write of the relay. Times count from the exchange's start.
type output interface {
	// Prepare sets the response headers of an accepted answer.
	Prepare(head http.Header, contentType string)

	// Commit sends the response headers, if they are not sent yet. It is for the watchdog.
	Commit() error

	// IsCommitted reports whether anything was sent.
	IsCommitted() bool

	// HasSent reports whether anything but the response headers was sent.
	HasSent() bool

	// WriteEvents sends p, after the response headers if they are not sent yet, and flushes it if flush is true. If whole
	// is false, p ends within an event.
	WriteEvents(p []byte, whole, flush bool) error

	// WriteAll sends a complete answer that is not a stream.
	WriteAll(p []byte) error

	// Finish ends a stream with an event of our own. If the last event was sent only in part, Finish first closes that one.
	Finish(ev []byte) error

	// EndStalled makes the relay's write fail if it has blocked for too long. It is for the watchdog, and returns when to
	// call it again.
	EndStalled(now time.Duration) (next time.Duration)

	// Heartbeat sends a comment if nothing was sent for long enough. It is for the watchdog, and returns when the next
	// comment may be due.
	Heartbeat() (next time.Duration, err error)

	// IsHeard reports whether a visitor waits for the answer, or can still come back for it after this process exits.
	IsHeard() bool

	// Deadline returns when the answer has to be over. The zero time means no deadline.
	Deadline() time.Time

	// Patience returns the longest time that may pass before the watchdog first calls EndStalled and Heartbeat.
	Patience() time.Duration

	// Close ends the output. reason is the finishReason of the answer's finish. cause says why that finish is not the
	// upstream's; "" means that it is. Close returns how many bytes of the body the visitor was sent.
	Close(reason, cause string) (bytes int64)
}

// relay passes one upstream event stream on to one output, in one goroutine. It scans the bytes of each read once, and
// writes and flushes the blocks that they complete at once. Only an incomplete block stays in the buffer.
//
// These invariants hold:
//   - The relay sends nothing before the first event has come. Until then, a failure can be retried, or sent as an HTTP
//     error. The relay waits no longer once the largest buffer is full. The watchdog may send the response headers
//     earlier.
//   - The relay searches a whole block for the token before it sends the block. An event that is too large for that
//     goes in parts. The relay then always holds enough bytes back to find a token that spans two parts.
//   - The relay passes on the first finish and drops further ones. A finish that ends a step is none until the stream ends.
//   - After each read, the scanner has seen all bytes in the buffer. The buffer then has room for at least one more
//     byte.
type relay struct {
	token  upstream.Token
	output output
	watch  *watchdog.Watchdog

	scanner  sse.Scanner
	finishes *chat.FinishReader // nil until the first event that may be a finish
	buffer   buffer.Buffer
	whole    int // how many bytes at the beginning of the buffer are whole blocks

	anySent    bool // bytes of the stream have left the buffer: they were sent or left out
	firstSeen  bool // the first event has come, or is too large to wait for its end
	eof        bool // the upstream's stream was read to EOF
	finished   bool // the finish has come
	finishSent bool // the finish was sent
	stepEnded  bool // the last event is a finish that ends only a step; it is the finish if nothing follows

	finishReason string
	dropped      int64        // events that were not sent, because they follow the finish
	failure      chat.Failure // what the last event says, if it is an error event
	stated       []byte       // the JSON of the first event, if it is an error that comes too late for a status

	last int // where in the buffer the last whole event begins; negative: it holds none

	pendingEvents int64         // events that have come and are not sent yet
	events        int64         // events that were sent
	firstEvent    time.Duration // when the first event came
	gaps          telemetry.Gaps

	ended bool
	err   error // what copy returns, once ended is true

	// An event that is too large for the largest buffer goes in parts.
	partSent bool // the event's first part was sent, or dropped
	dropPart bool // the event may be a second finish, and all its parts are dropped
}

// errorEvent is the error of a stream whose first event is an error in the API's format. A stream can also be nothing
// but such an error. Nothing of it was sent.
type errorEvent struct {
	data []byte // the error's JSON
}

func (*errorEvent) Error() string { return "the first event is an error" }

func newRelay(token upstream.Token, out output, watch *watchdog.Watchdog) *relay {
	return &relay{token: token, output: out, watch: watch, buffer: buffer.New(), last: -1}
}

// note records how much of the stream the visitor was sent.
func (r *relay) note(c *telemetry.Record) {
	if !r.output.HasSent() {
		return
	}
	c.Events, c.FirstEvent = r.events, r.firstEvent
	r.gaps.Note(r.watch.Now(), r.events)
	c.MergeGaps(&r.gaps)
	c.Dropped = r.dropped
	if r.finishSent {
		c.FinishReason = r.finishReason
	}
}

// release returns the relay's memory to the pools. Nothing may still read the buffer.
func (r *relay) release() {
	r.buffer.Release()
	if r.finishes != nil {
		r.finishes.Release()
		r.finishes = nil
	}
}

// finisher returns the stream's FinishReader. Most events need none, so the first call takes it from the pool.
func (r *relay) finisher() *chat.FinishReader {
	if r.finishes == nil {
		r.finishes = chat.NewFinishReader()
	}
	return r.finishes
}

// start relays body up to its first event. It returns an error if there is none. It also returns an error of the same
// read if nothing was sent, because an HTTP error is still possible. It leaves any later error to copy.
func (r *relay) start(body io.Reader) error {
	for !r.firstSeen && !r.ended {
		r.step(body)
	}
	if r.firstSeen && (!r.ended || r.output.IsCommitted()) {
		return nil
	}
	return r.err
}

// copy relays body to its end. It returns nil if the stream ended after its finish, otherwise why the relay ended.
func (r *relay) copy(body io.Reader) error {
	for !r.ended {
		r.step(body)
	}
	return r.err
}

// step relays the bytes of one read. It sets ended if they are the last.
func (r *relay) step(body io.Reader) {
	r.gaps.Note(r.watch.BeginRead(), r.events)
	room := r.buffer.Free()
	n, err := body.Read(room)
	r.watch.EndRead()
	r.eof = err == io.EOF
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

// forward appends the n bytes just read to the held ones, scans them, and sends the blocks that they complete.
func (r *relay) forward(n int) error {
	at := r.buffer.Len()
	r.buffer.Add(n)
	cr := sse.HasCR(r.buffer.Held()[at:])
	if r.partSent { // the new bytes continue an event that goes in parts
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
	whole, events, last := r.scanner.Blocks(r.buffer.Held()[at:], cr)
	r.pendingEvents += int64(events)
	if events > 0 {
		if r.last = r.whole; last >= 0 { // else the event began in an earlier read
			r.last = at + last
		}
	}
	if whole > 0 {
		r.whole = at + whole
	}
	if !r.firstSeen {
		if err := r.awaitFirst(); err != nil {
			return err
		}
	}
	// Comments before the first event wait for it: until then, nothing is sent.
	if r.firstSeen && r.whole > 0 {
		if err := r.sendWhole(); err != nil {
			return err
		}
	}
	return r.makeRoom()
}

// enough is how many bytes show whether they are an event stream.
const enough = 1 << 10

// awaitFirst notes whether the first event has come. It returns an error if the event is one, or if the bytes so far are
// no event stream.
func (r *relay) awaitFirst() error {
	held := r.buffer.Held()
	switch {
	case r.pendingEvents > 0:
		if stated := firstError(held[:r.whole]); stated != nil {
			if !r.output.IsCommitted() {
				return &errorEvent{stated}
			}
			r.stated = stated
		}
		r.firstEventSeen()
	case len(held) >= enough && !sse.IsStream(held[:enough]):
		return upstream.ErrNoStream
	}
	return nil
}

// firstError returns the JSON of the first event in blocks if that event is an error in the API's format. Otherwise it
// returns nil. blocks begin the stream.
func firstError(blocks []byte) []byte {
	var split sse.Scanner
	cr := sse.HasCR(blocks)
	for at := 0; at < len(blocks); {
		n, kind := split.Next(blocks[at:], cr)
		if block := blocks[at : at+n]; kind == sse.Event {
			if chat.IsOther(block) || !chat.MayState(block) {
				return nil
			}
			data := sse.AppendData(nil, block, at == 0)
			if apierror.FromAnswer(data) == nil {
				return nil
			}
			return data
		}
		at += n
	}
	return nil
}

// firstEventSeen marks the first event. From then on, idle_timeout bounds the upstream's silences.
func (r *relay) firstEventSeen() {
	r.firstSeen = true
	r.firstEvent = r.watch.Now()
	r.watch.Begin()
}

// sendWhole sends the whole blocks in the buffer.
func (r *relay) sendWhole() error {
	blocks := r.buffer.Held()[:r.whole]
	if !r.anySent && r.output.HasSent() {
		// After a heartbeat, a byte order mark is no longer at the beginning of the visitor's stream. It would become part of
		// the first field's name.
		blocks = bytes.TrimPrefix(blocks, sse.ByteOrderMark)
	}
	r.noteFailure()
	// Most blocks hold no token and cannot be a finish. They are written together, without a look at each.
	var err error
	if leaks := r.token.In(blocks); leaks || r.finished || r.stepEnded || chat.MayFinish(blocks) {
		err = r.inspect(blocks, leaks)
	} else {
		err = r.write(blocks)
	}
	if err != nil {
		return err
	}
	r.drop(r.whole)
	r.whole, r.last = 0, -1
	r.sent()
	return nil
}

// noteFailure notes what the last whole event says if it is an error event. The stream may end after it.
func (r *relay) noteFailure() {
	if r.last < 0 { // comments alone, which an error event may precede
		return
	}
	blocks := r.buffer.Held()[:r.whole]
	if chat.IsOther(blocks[r.last:]) {
		r.failure = chat.Failure{}
		return
	}
	event, first := blocks[r.last:], !r.anySent && r.last == 0 // comments may follow the event
	if chat.IsDone(event) {
		before := blocks[:r.last]
		last := lastEvent(before)
		if last < 0 {
			return // the last event of an earlier read counts
		}
		event, first = before[last:], false
	}
	r.failure = chat.Failure{}
	if chat.MayFail(event) {
		r.failure, _ = chat.ReadFailure(event, first)
	}
}

// lastEvent returns where the last event in blocks begins. It is negative if there is none.
func lastEvent(blocks []byte) int {
	split, last := sse.NewScanner(true), -1
	cr := sse.HasCR(blocks)
	for at := 0; at < len(blocks); {
		n, kind := split.Next(blocks[at:], cr)
		if kind == sse.Event {
			last = at
		}
		at += n
	}
	return last
}

// sent counts the pending events as sent, and the finish if it has come.
func (r *relay) sent() {
	r.events += r.pendingEvents
	r.pendingEvents = 0
	r.finishSent = r.finished
}

func (r *relay) write(blocks []byte) error {
	if len(blocks) == 0 {
		return nil
	}
	// The stream's last write needs no flush, because net/http flushes when the handler returns. That saves a short chat a
	// write.
	last := r.finished && r.eof
	return r.output.WriteEvents(blocks, true, !last)
}

// inspect sends blocks after a look at each. It notes the finish and leaves out further ones. If leaks is true, it
// sends only the blocks before the one that holds the token, and returns apierror.Leak. That one block holds all of the
// token, because a token has no line end.
func (r *relay) inspect(blocks []byte, leaks bool) error {
	split := sse.NewScanner(r.anySent)
	// blocks[from:at] is yet to be sent. unseen counts the events from at on.
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
			// Not a finish: it is sent together with its neighbors.
			r.stepEnded = r.stepEnded && (kind != sse.Event || chat.IsDone(block))
		case r.finished:
			if err := r.write(blocks[from:at]); err != nil {
				return err
			}
			from = at + n
			r.pendingEvents--
			r.dropped++
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

// finish notes a finish, which the reader has just read. A finish that ends only a step of the answer counts only if
// nothing follows it. The relay passes on what follows any other finish until the upstream ends the stream. The
// watchdog ends it a moment later.
func (r *relay) finish() {
	r.finishReason = ""
	if reason := r.finishes.Reason(); !r.token.In(reason) { // decoded, it may hold the token although the raw bytes do not
		r.finishReason = string(reason)
	}
	if r.finishes.EndsStep() {
		r.stepEnded = true
		return
	}
	r.finished = true
	r.watch.Finish()
}

// makeRoom makes sure that the next read has room. It grows the buffer for a large event. If even the largest buffer is
// too small, it sends a part of the event.
func (r *relay) makeRoom() error {
	switch {
	case !r.buffer.Full():
		return nil
	case !r.partSent && !r.buffer.Largest():
		r.buffer.Grow()
		return nil
	case r.whole > 0: // a full buffer of comments before the first event, which is too much to hold back
		return r.sendWhole()
	}
	return r.sendPart()
}

// sendPart sends the held part of an event that is too large for the buffer. It keeps back the last bytes, one fewer
// than the token has, because the token may begin in them. The next part is searched together with them.
func (r *relay) sendPart() error {
	if !r.firstSeen {
		r.firstEventSeen()
	}
	held := r.buffer.Held()
	if r.token.In(held) {
		return apierror.Leak
	}
	part := held[:len(held)-r.token.Len()+1]
	if !r.partSent {
		r.finisher().Begin(!r.anySent)
	}
	r.finishes.Read(part)
	if !r.partSent {
		// The type may come in a later part. Once the finish has come, an event that may be one is dropped.
		r.partSent, r.stepEnded = true, false
		r.dropPart = r.finished && r.finishes.MayBeFinish()
	}
	if err := r.writePart(part, false); err != nil {
		return err
	}
	r.drop(len(part))
	return nil
}

// sendRest sends the last n bytes of an event that goes in parts. They are at the beginning of the buffer.
func (r *relay) sendRest(n int) error {
	rest := r.buffer.Held()[:n]
	if r.token.In(rest) {
		return apierror.Leak
	}
	r.finishes.Read(rest)
	if err := r.writePart(rest, true); err != nil {
		return err
	}
	r.drop(n)
	r.partSent, r.failure = false, chat.Failure{}
	if !r.finished && r.finishes.ReadFinish() {
		r.finish()
	}
	r.sent()
	return nil
}

// writePart sends a part of an event, or drops it if the event may be a second finish. whole is true for the last part.
func (r *relay) writePart(p []byte, whole bool) error {
	if r.dropPart {
		if whole {
			r.pendingEvents--
			r.dropped++
		}
		return nil
	}
	return r.output.WriteEvents(p, whole, true)
}

// drop removes the first n bytes from the buffer, which were sent or left out.
func (r *relay) drop(n int) {
	r.buffer.Drop(n)
	r.anySent = true
}

// end deals with the bytes that are left when the upstream's stream has ended. err is io.EOF or another error. An event
// that lacks only its blank line gets one; an incomplete event is dropped. end returns nil if there was a finish.
func (r *relay) end(err error) error {
	if c := r.scanner.MissingEnd(); c != 0 && !r.finished {
		r.buffer.Free()[0] = c // as if it had been read
		if err := r.forward(1); err != nil {
			return err
		}
	}
	if err == io.EOF && r.stepEnded && !r.scanner.InEvent() {
		r.finished, r.finishSent = true, true
	}
	switch {
	case r.finished:
		if r.scanner.InEvent() {
			r.dropped++
		}
		return nil
	case !r.firstSeen && r.isOtherProtocol(err):
		if held := r.buffer.Held(); !r.output.IsCommitted() && apierror.FromAnswer(held) != nil {
			return &errorEvent{bytes.Clone(held)} // the error's JSON, with the type of a stream
		}
		return upstream.ErrNoStream
	case r.whole > 0 && r.output.IsCommitted(): // comments that were held back for a first event
		if err := r.sendWhole(); err != nil {
			return err
		}
	}
	return err
}

// isOtherProtocol reports whether what has come is no event stream. err says why nothing more comes. If the upstream
// broke off within the first line, that line could have become a field.
func (r *relay) isOtherProtocol(err error) bool {
	held := r.buffer.Held()
	switch {
	case len(held) == 0, sse.IsStream(held):
		return false
	case err == io.EOF:
		return true
	}
	ours := errors.Is(err, context.Canceled) || interruptionOf(err) != nil
	return !ours && bytes.ContainsAny(held, "\r\n")
}
