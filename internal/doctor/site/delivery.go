package site

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// checkDelivery reports what the way to this machine has changed of an answer.
func (c *checker) checkDelivery(t *transcript) {
	c.checkCompression(t)
	c.checkHeaders(t)
	c.checkBytes(t)
}

func (c *checker) checkCompression(t *transcript) {
	switch encoding := t.header.Get("Content-Encoding"); strings.ToLower(encoding) {
	case "", "identity":
		c.ok(checkCompression, "the answer is not compressed")
	case "gzip":
		c.add(doctor.Finding{
			Level: doctor.Warning, Check: checkCompression, Found: "something on the way compresses the answer with gzip",
			Why: "A compressor holds events back until a block is full, unless it flushes after each one.",
			Do:  "Do not compress text/event-stream, or let the proxy honour the no-transform of Cache-Control.",
		})
	default:
		c.add(doctor.Finding{
			Level: doctor.Wrong, Check: checkCompression, Found: "the answer has a Content-Encoding that was not asked for",
			Why: "A browser may not be able to read it.", Do: "Find out which proxy encodes responses, and keep it from the chat's path.",
		})
	}
}

func (c *checker) checkHeaders(t *transcript) {
	if hasDirective(t.header, "no-cache") && hasDirective(t.header, "no-transform") {
		c.ok(checkHeaders, "the answer has the headers that the chat sets")
		return
	}
	c.add(doctor.Finding{
		Level: doctor.Warning, Check: checkHeaders, Found: "Cache-Control does not say no-cache and no-transform, as the chat's does",
		Why: "A proxy on the way may keep the answer for others, or compress it.",
		Do:  "Let proxies, CDN rules and `header` directives leave Cache-Control alone on the chat's path.",
	})
}

// checkBytes reports whether the answer consists of whole events. The chat sends no others.
func (c *checker) checkBytes(t *transcript) {
	f := doctor.Finding{
		Level: doctor.Wrong, Check: checkBytes,
		Why: "The chat sends whole events only, so something on the way changes or cuts the answer.",
		Do:  "Check the chat at Caddy itself, and then through each proxy, to see which one it is.",
	}
	for i, e := range t.events {
		if !utf8.Valid(e.raw) {
			f.Level, f.Why = doctor.Warning, "The upstream may send such bytes. If it does not, something on the way changes them."
			f.Found = fmt.Sprintf("event %d is not UTF-8", i+1)
			break
		}
	}
	if t.err == nil && t.torn() {
		f.Found = "the answer ends within an event"
	}
	if f.Found == "" {
		c.ok(checkBytes, fmt.Sprintf("all %d events are whole", len(t.events)))
		return
	}
	c.add(f)
}

// checkFinish reports whether the answer has exactly one finish.
func (c *checker) checkFinish(t *transcript) {
	finishes := 0
	var last *event
	for i := range t.events {
		e := &t.events[i]
		if e.isFinish() && (!e.endsStep() || i == len(t.events)-1) {
			finishes++
			last = e
		}
	}
	f := doctor.Finding{Level: doctor.Wrong, Check: checkFinish, Why: "The chat sends exactly one finish, and a page takes an answer without one for incomplete."}
	switch {
	case finishes <= 1 && hasGivenUp(t.err):
		c.skip(checkFinish, "the answer has not ended yet: "+t.err.Error(), askShorter)
		return
	case finishes == 0:
		f.Found = fmt.Sprintf("the answer has no finish, and ends after %s", seconds(t.duration()))
		if t.err != nil {
			f.Found += ": " + t.err.Error()
		}
		f.Do = "Find out which proxy cuts it off. It must allow answers of two minutes, or as long as max_duration, and silences of 15 seconds, or of the heartbeat."
	case finishes > 1:
		f.Found = fmt.Sprintf("the answer has %d finishes", finishes)
		f.Do = "Find out which proxy repeats a part of the answer: check the chat at Caddy itself, and then through each proxy."
	case t.err != nil:
		f.Level = doctor.Warning
		f.Found = "the answer has a finish, but the connection breaks after it: " + t.err.Error()
		f.Do = "Find out which proxy closes the connection early."
	case last.FinishReason == "error":
		f.Found, f.Why = "the answer ends with an error", "Visitors do not get a complete answer."
		if codeForm.MatchString(last.Code) {
			f.Found += ": " + last.Code
		}
		f.Do = "Look in Caddy's log: its line on the broken answer has the cause."
	default:
		c.ok(checkFinish, "the answer has exactly one finish")
		return
	}
	c.add(f)
}
