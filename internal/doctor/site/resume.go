package site

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// streamHeader is the header with the id of an answer that can be resumed.
const streamHeader = "Illumichat-Stream"

const (
	stopPatience = 10 * time.Second // how long an answer may take to end after it was stopped
	lastPatience = 5 * time.Second  // how long a request may take that only saves cost
)

// newStreamID returns an id as a page chooses it: 128 random bits.
func newStreamID() string {
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	return base64.RawURLEncoding.EncodeToString(id[:])
}

// stopRequest returns the request that stops an answer.
func stopRequest(id string) request {
	return request{method: http.MethodDelete, header: map[string]string{streamHeader: id}}
}

// stop ends a chat whose rest is of no interest, so that it costs as little as possible. It does so after an interruption as
// well: with resume, the answer would go on for a while.
func (c *checker) stop(ctx context.Context, s *stream) {
	defer s.close()
	if id := s.header.Get(streamHeader); id != "" {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastPatience)
		defer cancel()
		_, _ = c.client.ask(ctx, c.protocol, stopRequest(id))
	}
}

// checkResume reports whether an answer continues over another connection without a gap or a repeat, and stops when asked
// to. t is an answer, which shows whether the chat has resume.
func (c *checker) checkResume(ctx context.Context, t *transcript) {
	shown := t.header.Get(streamHeader) != ""
	switch {
	case !shown && !c.resumable:
		c.add(doctor.Finding{Level: doctor.Note, Check: checkResume, Found: "the chat has no resume, so an answer is lost with its connection"})
		return
	case !shown:
		c.add(doctor.Finding{
			Level: doctor.Warning, Check: checkResume, Found: "the chat has resume, but its answer has no " + streamHeader + " header",
			Why: "A page that loses its connection cannot continue the answer.",
			Do:  "If resume has an owner, this is expected for visitors who are not logged in. Otherwise, let proxies pass " + streamHeader + ".",
		})
		return
	case !c.resumable:
		c.add(doctor.Finding{
			Level: doctor.Wrong, Check: checkResume, Found: "the chat has resume, but a GET does not reach the chat",
			Why: "A page that loses its connection cannot continue the answer.",
			Do:  "Match the chat by its path alone and not by a method, and let proxies pass GET and DELETE.",
		})
		return
	}
	c.report.Progress("cutting an answer and continuing it")
	f := c.cutAndContinue(ctx)
	f.Check = checkResume
	c.add(f)
}

// wrongResume returns a finding about something that resume should do.
func wrongResume(found, do string) doctor.Finding {
	return doctor.Finding{
		Level: doctor.Wrong, Found: found, Do: do,
		Why: "A visitor who loses the connection loses the answer, and asking again costs you a second chat.",
	}
}

// brokenResume is like wrongResume, for something that has failed with err. If this check has stopped it, nothing is known.
func brokenResume(found string, err error, do string) doctor.Finding {
	if hasGivenUp(err) {
		return doctor.Finding{Level: doctor.Skipped, Found: found + ": " + err.Error(), Do: askShorter}
	}
	return wrongResume(found+": "+err.Error(), do)
}

// tooShort is the finding for an answer that ends before it can be cut and stopped.
var tooShort = doctor.Finding{Level: doctor.Skipped, Found: "the answer is too short to be cut and continued", Do: "Ask for a longer answer with --question."}

// cutAndContinue cuts an answer after its first event, continues it over another connection and stops it.
func (c *checker) cutAndContinue(ctx context.Context) (f doctor.Finding) {
	chosen := newStreamID()
	s, a, err := c.open(ctx, c.chat(streamHeader, chosen))
	switch {
	case err != nil:
		return brokenResume("the chat gets no answer", err, "Check again.")
	case s == nil:
		return doctor.Finding{Level: doctor.Skipped, Found: "the chat gets " + a.describe(), Do: "Check again later."}
	}
	defer func() {
		if f.Level != doctor.OK {
			c.stop(ctx, s)
		}
	}()
	id := s.header.Get(streamHeader)
	first, err := s.next()
	s.close()
	if id != chosen {
		return wrongResume("the answer does not have the id that the page chose",
			"Let proxies pass the request header "+streamHeader+" unchanged. A page needs it to send a lost question again.")
	}
	switch {
	case err != nil:
		return brokenResume("the answer broke before its first event", err, "Look in Caddy's log.")
	case first.id() != id+":1":
		return wrongResume("the first event has no line with its id and number", "Find out which proxy changes events.")
	case first.isFinish():
		return tooShort
	}
	return c.continueAndStop(ctx, id)
}

// continueAndStop continues an answer of which one event has arrived.
func (c *checker) continueAndStop(ctx context.Context, id string) doctor.Finding {
	s, a, err := c.open(ctx, request{method: http.MethodGet, header: map[string]string{"Last-Event-ID": id + ":1", "Accept": "text/event-stream"}})
	switch {
	case err != nil:
		return brokenResume("the request that continues the answer gets no answer", err, "Find out which proxy cuts the connection.")
	case s == nil && a.isRefusal(codeUnknownStream):
		return wrongResume("an answer that was cut cannot be found again",
			"If several instances of Caddy serve the site, let them share a `store redis`, or send each visitor to the same instance. "+
				"If resume has an owner, it must have the same value for each request of a visitor.")
	case s == nil:
		return wrongResume("the request that continues the answer gets "+a.describe(), "Let proxies pass GET requests with Last-Event-ID to the chat.")
	}
	defer s.close()
	second, err := s.next()
	switch {
	case err != nil:
		return brokenResume("the continued answer has no further event", err, "Check whether a proxy holds the response to a GET back.")
	case second.id() != id+":2":
		return wrongResume("the continued answer does not begin with the event that follows", "Check whether a cache answers GET requests on the chat's path.")
	case second.isFinish():
		return tooShort
	}
	return c.stopWhileListening(ctx, id, s)
}

// stopWhileListening stops an answer, and checks that the listener gets each further event once, and then its finish.
func (c *checker) stopWhileListening(ctx context.Context, id string, s *stream) doctor.Finding {
	timer := time.AfterFunc(stopPatience, s.close)
	defer timer.Stop()
	stopped, err := c.client.ask(ctx, c.protocol, stopRequest(id))
	switch {
	case err != nil:
		return wrongResume("the DELETE that stops the answer gets no answer: "+err.Error(), "Find out which proxy cuts the connection.")
	case stopped.status != http.StatusNoContent:
		return wrongResume("the DELETE that stops the answer gets "+stopped.describe(), "Let proxies pass DELETE requests with "+streamHeader+" to the chat.")
	}
	finish := event{}
	for n := 3; ; n++ {
		e, err := s.next()
		if err == io.EOF {
			break
		}
		switch {
		case err != nil:
			return wrongResume("the answer was stopped, but does not end: "+err.Error(), "Look in Caddy's log.")
		case e.id() != fmt.Sprintf("%s:%d", id, n):
			return wrongResume(fmt.Sprintf("the answer has a gap or a repeat at event %d", n), "Check whether a cache answers GET requests on the chat's path.")
		}
		if finish = e; e.isFinish() && !e.endsStep() {
			break
		}
	}
	switch {
	case !finish.isFinish():
		return wrongResume("the answer was stopped, and ends without a finish", "Look in Caddy's log.")
	case finish.Code != codeStopped:
		return doctor.Finding{
			Level: doctor.OK, Found: "an answer that is cut continues over another connection without a gap; it ended before it could be stopped",
		}
	}
	return doctor.Finding{Level: doctor.OK, Found: "an answer that is cut continues over another connection without a gap, and stops when asked to"}
}
