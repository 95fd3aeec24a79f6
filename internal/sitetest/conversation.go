package sitetest

import (
	"bufio"
	"io"
	"net/http"
	"testing"
	"time"
)

// Conversation is a stream of which the test controls both ends: the visitor's and the upstream's.
type Conversation struct {
	Response *http.Response
	Visitor  *bufio.Reader // reads the body of Response
	Upstream *HandAnswer
	Events   int // how many events were sent
}

// Converse sends req over visitor and opens the stream. It returns after the visitor has received the first event.
func Converse(tb testing.TB, u *HandUpstream, visitor http.RoundTripper, req *http.Request) *Conversation {
	tb.Helper()
	answered := make(chan *http.Response, 1)
	failed := make(chan error, 1)
	go func() {
		resp, err := visitor.RoundTrip(req)
		if err != nil {
			failed <- err
			return
		}
		answered <- resp
	}()
	var c Conversation
	select {
	case c.Upstream = <-u.asked:
	case resp := <-answered:
		defer resp.Body.Close()
		tb.Fatalf("the chat did not reach the upstream: %s: %s", resp.Status, ReadAll(tb, resp))
	case err := <-failed:
		tb.Fatalf("sending the request: %v", err)
	case <-time.After(Patience):
		tb.Fatal("the upstream was not asked")
	}
	c.Events = 1
	c.Upstream.Say(tb, Numbered(1))
	select {
	case c.Response = <-answered:
	case err := <-failed:
		tb.Fatalf("waiting for the answer: %v", err)
	case <-time.After(Patience):
		tb.Fatal("the first event did not bring the head")
	}
	tb.Cleanup(func() { c.Response.Body.Close() })
	c.Visitor = bufio.NewReader(c.Response.Body)
	c.Hear(tb, Numbered(1))
	return &c
}

// Step sends one more event and checks that the visitor receives it. Nothing follows the event until then, so its arrival
// proves that nothing holds it back.
func (c *Conversation) Step(tb testing.TB) {
	tb.Helper()
	c.Events++
	c.Upstream.Say(tb, Numbered(c.Events))
	c.Hear(tb, Numbered(c.Events))
}

// Hear checks that the visitor's next event is want, apart from an id line. It waits for at most Patience.
func (c *Conversation) Hear(tb testing.TB, want string) {
	tb.Helper()
	// If something holds the event back, the read would never return.
	held := time.AfterFunc(Patience, func() { c.Response.Body.Close() })
	defer held.Stop()
	if got := AnyID.ReplaceAllString(NextEvent(tb, c.Visitor), ""); got != want {
		tb.Errorf("got the event %q, want %q", got, want)
	}
}

// Finish sends a finish, ends the answer, and checks that the visitor receives the finish and nothing else, apart from an id
// line.
func (c *Conversation) Finish(tb testing.TB) {
	tb.Helper()
	c.Upstream.Say(tb, Finish)
	c.Upstream.End()
	rest, err := io.ReadAll(c.Visitor)
	if err != nil {
		tb.Errorf("reading the end: %v", err)
	}
	if AnyID.ReplaceAllString(string(rest), "") != Finish {
		tb.Errorf("the stream ends with %q, want %q", rest, Finish)
	}
}

// ConverseOverAll opens a stream over each protocol and returns the streams by protocol.
func ConverseOverAll(tb testing.TB, s *Site, u *HandUpstream) map[string]*Conversation {
	tb.Helper()
	streams := make(map[string]*Conversation)
	for proto, visitor := range Protocols(tb) {
		streams[proto] = Converse(tb, u, visitor, ChatRequest(tb, s.Secure, Hello))
		if got := streams[proto].Response.Proto; got != proto {
			tb.Fatalf("the answer came over %s, want %s", got, proto)
		}
	}
	return streams
}

// IsShutDown checks that the stream ends with a finish that says that the proxy exits. The test's messages name proto.
func (c *Conversation) IsShutDown(tb testing.TB, proto string) {
	tb.Helper()
	rest, err := io.ReadAll(c.Visitor)
	if err != nil {
		tb.Errorf("%s: the stream ended before its end: %v", proto, err)
	}
	if finish := OnlyFinish(tb, string(rest)); finish.FinishReason != "error" || finish.Code != "shutting_down:proxy" {
		tb.Errorf("%s: got the finish %+v", proto, finish)
	}
}
