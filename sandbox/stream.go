package sandbox

import (
	"compress/gzip"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"
)

// A stream brings an answer to the client: events become lines, lines bytes,
// and bytes writes, in the way that the commands of the request ask for. Once
// the client is gone all of it does nothing, so no step has to be checked; only
// what repeats itself without end looks at gone.
type stream struct {
	w       http.ResponseWriter
	r       *http.Request
	pace    time.Duration
	onEvent func(*http.Request, int)

	// What the shaping commands set.
	headDelay  time.Duration // before the head
	firstDelay time.Duration // between the head and the first event
	mediaType  string        // of the head; empty for none
	lineEnd    string
	comments   int           // comments between two events
	burst      int           // events in each write
	chunk      int           // bytes in each write, whatever the events; 0: no matter
	chunkPause time.Duration // after each chunk
	gzip       bool

	body    io.Writer
	encoder *gzip.Writer // nil until the head is sent, and unless gzip is on
	headed  bool
	sent    int    // events
	pending []byte // written, but not sent
	failed  bool   // writing to the client did not work
}

func newStream(w http.ResponseWriter, r *http.Request, options *Options) stream {
	return stream{
		w:         w,
		r:         r,
		pace:      options.Pace,
		onEvent:   options.OnEvent,
		mediaType: "text/event-stream",
		lineEnd:   "\n",
		burst:     1,
		body:      w,
	}
}

// gone reports whether the client has left.
func (s *stream) gone() bool {
	return s.failed || s.r.Context().Err() != nil
}

// pause waits, but not for a client that leaves.
func (s *stream) pause(d time.Duration) {
	if d <= 0 || s.gone() {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.r.Context().Done():
	}
}

// stall sends what is pending, and then nothing until the client leaves.
func (s *stream) stall() {
	s.sendPending()
	if !s.failed {
		<-s.r.Context().Done()
	}
}

// head sends the head of an event stream. It is sent once.
func (s *stream) head() {
	if s.headed {
		return
	}
	s.headed = true
	s.pause(s.headDelay)
	if s.gone() {
		return
	}
	header := s.w.Header()
	header.Set("Cache-Control", "no-cache")
	header.Set("Content-Type", s.mediaType)
	if s.mediaType == "" {
		header["Content-Type"] = nil // keeps net/http from guessing one
	}
	if s.gzip {
		header.Set("Content-Encoding", "gzip")
		s.encoder = gzip.NewWriter(s.w)
		s.body = s.encoder
	}
	s.w.WriteHeader(http.StatusOK)
	s.flush()
	s.pause(s.firstDelay)
}

// respond sends a whole answer that is no event stream.
func (s *stream) respond(status int, mediaType string, body []byte) {
	s.headed = true
	s.pause(s.headDelay)
	if s.gone() {
		return
	}
	if body == nil {
		s.w.WriteHeader(status)
		return
	}
	s.w.Header().Set("Content-Type", mediaType)
	s.w.WriteHeader(status)
	_, err := s.w.Write(body)
	s.failed = err != nil
}

// send sends events, at the pace of the sandbox.
func (s *stream) send(events ...event) {
	for _, e := range events {
		if e.Type == "tool-result" {
			s.pause(9 * s.pace) // tools take their time
		}
		s.sendLines(e.line())
	}
}

// sendLines sends one event given as its lines.
func (s *stream) sendLines(lines string) {
	s.begin()
	if s.gone() {
		return
	}
	s.onEvent(s.r, s.sent)
	s.sent++
	s.write(lines + "\n\n")
}

// sendPart sends a piece of text that is not, or not yet, an event.
func (s *stream) sendPart(part string) {
	s.begin()
	s.write(part)
}

// begin does what comes before an event: the head, the pause and the comments.
func (s *stream) begin() {
	s.head()
	if s.sent%s.burst == 0 {
		s.pause(s.pace)
	}
	if s.sent > 0 {
		s.write(strings.Repeat(": keep-alive\n\n", s.comments))
	}
}

// write sends the text as soon as the shape of the stream allows it. Its lines
// end in \n.
func (s *stream) write(text string) {
	s.pending = append(s.pending, strings.ReplaceAll(text, "\n", s.lineEnd)...)
	if s.chunk == 0 {
		if s.sent%s.burst == 0 {
			s.sendPending()
		}
		return
	}
	for len(s.pending) >= s.chunk && !s.gone() {
		s.emit(s.pending[:s.chunk])
		s.pending = s.pending[s.chunk:]
		s.pause(s.chunkPause)
	}
}

// sendPending sends what waits for its chunk or its burst to fill up.
func (s *stream) sendPending() {
	if len(s.pending) > 0 {
		s.emit(s.pending)
		s.pending = s.pending[:0]
	}
}

// emit writes the bytes and flushes them.
func (s *stream) emit(b []byte) {
	if s.gone() {
		return
	}
	if _, err := s.body.Write(b); err != nil {
		s.failed = true
		return
	}
	s.flush()
}

func (s *stream) flush() {
	if s.encoder != nil {
		_ = s.encoder.Flush() // fails where the flush below fails
	}
	err := http.NewResponseController(s.w).Flush()
	s.failed = err != nil && !errors.Is(err, http.ErrNotSupported)
}

// end completes what has been sent so far.
func (s *stream) end() {
	s.sendPending()
	if s.encoder != nil && !s.gone() {
		_ = s.encoder.Close() // nothing comes after it that could be spared
	}
}
