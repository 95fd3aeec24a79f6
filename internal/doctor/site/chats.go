package site

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// transcript is a whole answer.
type transcript struct {
	*stream
	events []event
	ended  time.Time
	err    error // why the stream ended; nil: as it should

	// sentFirst is how long the chat took to send its first event, as Caddy's metrics say; 0 means that this is unknown.
	sentFirst time.Duration
}

// arrivals returns when the events arrived.
func (t *transcript) arrivals() []time.Time {
	var times []time.Time
	for _, e := range t.events {
		times = append(times, e.at)
	}
	return times
}

// duration returns how long the chat took, from the request to the end of the answer.
func (t *transcript) duration() time.Duration { return t.ended.Sub(t.sent) }

// askShorter is advice for an answer that takes longer than this check waits.
const askShorter = "Ask for a shorter answer with --question. If max_duration allows no such answer, see which proxy keeps the connection open."

// checkChats sends chats, unless the operator wants none.
func (c *checker) checkChats(ctx context.Context) (goOn bool) {
	if c.options.NoChat {
		c.skip(checkChat, "no chat is sent, because of --no-chat",
			"Without --no-chat, this command also checks how answers arrive, the limit, and disconnects.")
		return true
	}
	c.announceCost()
	c.report.Progress("waiting for the answer to a chat")
	t := c.checkChat(ctx)
	if t == nil {
		return true
	}
	if len(t.events) == 0 {
		c.checkFinish(t)
		return true
	}
	c.checkEvents(t)
	c.checkDelivery(t)
	c.checkFinish(t)
	c.checkLimit(ctx, t)
	c.checkResume(ctx, t)
	c.checkDisconnect(ctx, t)
	return true
}

// announceCost says what the check costs, before it sends a chat.
func (c *checker) announceCost() {
	found := "this check sends one chat, and another one with forged addresses if the site shows a limit"
	if c.resumable || c.admin != nil {
		found += "; a further one is cut off"
	}
	c.add(doctor.Finding{
		Level: doctor.Note, Check: checkCost, Found: found,
		Why: "They cost as much as a visitor's, and count in the site's limits. --no-chat sends none.",
	})
}

// checkChat sends a chat and returns its answer. It returns nil if there is no event stream.
func (c *checker) checkChat(ctx context.Context) *transcript {
	var before firstEvents
	if c.admin != nil {
		before, _ = c.admin.firstEvents(ctx)
	}
	s, a, err := c.open(ctx, c.chat())
	switch {
	case hasGivenUp(err):
		c.skip(checkChat, "the chat has no answer yet: "+err.Error(), askShorter)
		return nil
	case err != nil:
		c.add(doctor.Finding{
			Level: doctor.Wrong, Check: checkChat, Found: "the chat gets no answer: " + err.Error(),
			Why: "The chat itself always answers within max_duration.",
			Do:  "Find out which proxy between this machine and Caddy cuts connections, and set its timeout to more than max_duration, which is two minutes by default.",
		})
		return nil
	case s == nil:
		c.reportNoStream(a)
		c.checkErrorPages(a)
		return nil
	}
	t := s.readAll()
	if c.interrupted() {
		c.stop(ctx, s)
		return nil
	}
	s.close()
	if c.admin != nil {
		t.sentFirst = c.sentFirst(ctx, before)
	}
	if len(t.events) > 0 {
		c.ok(checkChat, fmt.Sprintf("the chat is answered over %s: response headers after %s, the first event after %s, the end after %s",
			t.proto, seconds(t.started.Sub(t.sent)), seconds(t.events[0].at.Sub(t.sent)), seconds(t.duration())))
	}
	c.checkErrorPages(&answer{status: http.StatusOK})
	return t
}

// readAll reads a stream to its end.
func (s *stream) readAll() *transcript {
	t := &transcript{stream: s}
	for {
		e, err := s.next()
		if err != nil {
			t.ended = time.Now()
			if err != io.EOF {
				t.err = err
			}
			return t
		}
		t.events = append(t.events, e)
	}
}

// reportNoStream reports an answer to a chat that is no event stream.
func (c *checker) reportNoStream(a *answer) {
	f := doctor.Finding{Level: doctor.Wrong, Check: checkChat, Found: "the chat gets " + a.describe(), Why: "Visitors get no answer."}
	r, ours := a.refusal()
	after := a.retryAfter()
	switch {
	case !ours && a.status == http.StatusOK && strings.HasPrefix(a.header.Get("Content-Type"), "application/json"):
		f.Level, f.Found = doctor.Note, "the chat is answered in JSON and not by an event stream"
		f.Why, f.Do = "The upstream answers so, and the chat passes it on. How events arrive cannot be checked.", ""
	case !ours:
		f.Do = "Find out which server sends this answer, and let it pass chats to Caddy."
	case r.Code == codeBadRequest && strings.Contains(r.Error, "assistantId"):
		f.Level, f.Why = doctor.Skipped, "The site has several assistants, so a chat must name one."
		f.Do = "Write --assistant <name>."
	case r.Code == codeAssistant:
		f.Do = "Write --assistant with a name or an id that the site allows."
	case r.Code == codeNotFound, r.Code == codeNotFoundUpstream:
		f.Do = "The id in `assistants` is not in the workspace of this token: correct it in the Caddyfile. Or `endpoint` is not the API's URL."
	case r.Code == codeBadRequestUpstream, a.status == http.StatusMethodNotAllowed:
		f.Do = "Check whether `endpoint` is the API's URL. Caddy's log has a hint."
	case r.Code == codeRateLimit:
		f.Level, f.Why = doctor.Skipped, "This machine has used up its limit, or the assistant is cooling down, so no answer can be checked."
		f.Do = "Check again later" + after + "."
	case a.status == http.StatusServiceUnavailable:
		f.Do = "Check again in a moment" + after + ". If it happens often, look in Caddy's log."
	case a.status >= http.StatusInternalServerError:
		f.Do = "Look in Caddy's log: its line on the failed chat has the cause and a hint."
	default:
		f.Do = "Look in Caddy's log, and whether the site expects such a question."
	}
	c.add(f)
}

// retryAfter returns when to ask again, as the end of a sentence, or "" if the answer does not say.
func (a *answer) retryAfter() string {
	after, err := strconv.ParseUint(a.header.Get("Retry-After"), 10, 32)
	if err != nil {
		return ""
	}
	return fmt.Sprintf(", in %d seconds", after)
}

// checkErrorPages reports whether an error such as 502 and 504 arrives as the chat writes it. a is the answer to a chat.
func (c *checker) checkErrorPages(a *answer) {
	proxies := c.proxies()
	keep := settings(proxies, func(p product) string { return p.keepErrors },
		"Turn off the error pages of the proxy for the chat's path. Or let Caddy answer 503 instead, as https://github.com/illumichat/caddy-illumichat/blob/main/docs/streaming.md#cdns-and-proxies-in-front shows.")
	failed := a.status >= http.StatusInternalServerError
	_, ours := a.refusal()
	switch {
	case !failed && strings.Contains(names(proxies), "Cloudflare"):
		c.add(doctor.Finding{
			Level: doctor.Note, Check: checkErrorPages, Found: "Cloudflare is in front, which can replace errors 502 and 504 by its own pages",
			Why: "A page cannot read those, so it cannot tell its visitor what is wrong.", Do: keep,
		})
	case !failed:
		c.skip(checkErrorPages, "no chat has failed with 502 or 504, so it is unknown whether a proxy replaces these errors", "Check again while the upstream fails, or check a test site whose endpoint cannot be reached.")
	case ours:
		c.ok(checkErrorPages, fmt.Sprintf("an error %d arrives as the chat writes it", a.status))
	default:
		c.add(doctor.Finding{
			Level: doctor.Wrong, Check: checkErrorPages, Found: "an error arrives as " + a.describe() + ", and not as the chat writes it",
			Why: "The page cannot read it, so it cannot tell its visitor what is wrong, or when to try again.", Do: keep,
		})
	}
}
