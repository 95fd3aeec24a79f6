package site

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"mime"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/illumichat/caddy-illumichat/internal/sse"
)

// stream is an answer whose events are read one after the other, on a connection of its own.
type stream struct {
	header  http.Header
	proto   protocol
	sent    time.Time // when the request was sent
	started time.Time // when the response headers arrived

	response   *http.Response
	connection *connection
	cancel     func()            // ends the request
	reason     func(error) error // returns why the request has failed
	most       int               // bytes that are read
	watch      *tokenWatch

	scanner sse.Scanner
	buffer  []byte
	unread  []byte // received, but not yet scanned; part of buffer
	block   []byte // the beginning of the current event
	at      time.Time
	seen    int // how many events there have been
	size    int
}

// event is an event as it arrived.
type event struct {
	raw  []byte
	data []byte
	at   time.Time // when its last byte was read

	// The fields of its JSON; empty if the data is something else.
	Type         string `json:"type"`
	FinishReason string `json:"finishReason"`
	Code         string `json:"code"`
}

// isFinish reports whether the event is a finish.
func (e *event) isFinish() bool { return e.Type == "finish" }

// endsStep reports whether a finish ends only a step of the answer, unless nothing follows it.
func (e *event) endsStep() bool {
	return e.FinishReason == "tool-calls" || e.FinishReason == "tool_calls"
}

// id returns the value of the event's last id line, or "" if there is none.
func (e *event) id() string {
	id := ""
	for line := range strings.FieldsFuncSeq(string(e.raw), func(r rune) bool { return r == '\n' || r == '\r' }) {
		if value, ok := strings.CutPrefix(line, "id:"); ok {
			id = strings.TrimPrefix(value, " ")
		}
	}
	return id
}

// chat returns the operator's question as a request, with further headers.
func (c *checker) chat(header ...string) request {
	type message struct {
		Role    string `json:"role"`
		Content string `json:"content"`
	}
	body, err := json.Marshal(struct {
		Assistant string    `json:"assistantId,omitempty"`
		Messages  []message `json:"messages"`
	}{c.options.Assistant, []message{{"user", c.options.Question}}})
	if err != nil { // it has strings only
		panic(err)
	}
	return request{method: http.MethodPost, header: map[string]string{"Content-Type": "application/json"}, body: string(body)}.with(header...)
}

// open sends a request on a connection of its own. It returns a stream if the response is an event stream, and otherwise
// the whole answer. The caller closes the stream.
func (c *checker) open(ctx context.Context, r request) (*stream, *answer, error) {
	bounds := c.client.bounds
	ctx, cancel := context.WithTimeoutCause(ctx, bounds.chat, &gaveUp{fmt.Sprintf("this check stops reading after %s", bounds.chat)})
	s := &stream{
		sent: time.Now(), connection: c.client.connect(c.protocol), cancel: cancel, watch: &c.client.watch, most: bounds.stream,
		reason: func(err error) error { return reason(ctx, err) },
	}
	resp, err := c.client.send(ctx, s.connection, r)
	if err != nil {
		s.close()
		return nil, nil, err
	}
	s.response, s.header, s.proto, s.started = resp, resp.Header, protocol(resp.Proto), time.Now()
	if media, _, _ := mime.ParseMediaType(resp.Header.Get("Content-Type")); resp.StatusCode != http.StatusOK || media != sse.MediaType {
		defer s.close()
		a, err := c.client.read(ctx, resp)
		return nil, a, err
	}
	s.buffer = make([]byte, 64<<10)
	return s, nil, nil
}

// close cuts the connection, as a visitor who disconnects does.
func (s *stream) close() {
	s.cancel()
	if s.response != nil {
		s.response.Body.Close()
	}
	s.connection.close()
}

// next returns the next event. At the end of the stream it returns io.EOF. Comments are skipped.
func (s *stream) next() (event, error) {
	for {
		for len(s.unread) > 0 {
			n, kind := s.scanner.Next(s.unread, sse.HasCR(s.unread))
			s.block = append(s.block, s.unread[:n]...)
			s.unread = s.unread[n:]
			if kind == sse.Torn {
				break
			}
			block := slices.Clone(s.block)
			s.block = s.block[:0]
			if kind == sse.Event {
				return s.event(block), nil
			}
		}
		n, err := s.response.Body.Read(s.buffer)
		s.at = time.Now()
		s.unread = s.buffer[:n]
		if s.size += n; s.size > s.most {
			return event{}, &gaveUp{"this check stops reading after " + humanize.IBytes(uint64(s.most))}
		}
		switch {
		case n > 0: // an error comes again
		case err == io.EOF:
			return event{}, io.EOF
		case err != nil:
			return event{}, s.reason(err)
		}
	}
}

// event returns a block as an event.
func (s *stream) event(block []byte) event {
	s.watch.see("an event of the answer", block)
	e := event{raw: block, data: sse.AppendData(nil, block, s.seen == 0), at: s.at}
	s.seen++
	_ = json.Unmarshal(e.data, &e) // data that is no JSON is an event as well
	return e
}

// torn reports whether the stream has ended within an event.
func (s *stream) torn() bool { return len(s.block) > 0 }
