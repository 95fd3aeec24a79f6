package site

import (
	"fmt"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// checkEvents reports whether the events of an answer arrive one by one.
func (c *checker) checkEvents(t *transcript) {
	p := paceOf(t.sent, t.arrivals())
	r := p.rhythm()
	f := doctor.Finding{Check: checkEvents, Why: "Visitors wait for a long time and then see a lot of text at once, instead of reading it as it is written."}
	switch r {
	case oneByOne:
		c.ok(checkEvents, fmt.Sprintf("%d events arrive one by one, over %s", p.events, seconds(p.span)))
		return
	case unclear:
		c.skip(checkEvents, fmt.Sprintf("the answer is too short to tell: %d events within %s, after %s", p.events, seconds(p.span), seconds(p.wait)),
			"Ask for a longer answer with --question.")
		return
	case allAtOnce:
		f.Found = fmt.Sprintf("all %d events arrive at once, after %s", p.events, seconds(p.wait))
	case inBatches:
		f.Found = fmt.Sprintf("%d events arrive in %d batches, over %s", p.events, p.batches, seconds(p.span))
	}
	c.blame(&f, t, r)
	c.add(f)
}

// blame completes a finding about events that are held back. Either the chat's own metrics prove it, or a proxy is on the way
// that may do so. Otherwise the finding is a warning, because the upstream may write so.
func (c *checker) blame(f *doctor.Finding, t *transcript, r rhythm) {
	proxies := c.proxies()
	f.Level = doctor.Wrong
	f.Do = settings(proxies, func(p product) string { return p.unbuffer },
		"Find what holds events back: check the chat at Caddy itself, and then through each proxy. In nginx it is `proxy_buffering off;`, in Apache `flushpackets=on`.")
	if r == allAtOnce && t.sentFirst > 0 {
		c.compareWithMetrics(f, t)
		return
	}
	switch {
	case len(proxies) > 0:
		f.Found += ", through " + names(proxies)
	case t.header.Get("X-Accel-Buffering") == "":
		f.Found += ", and something on the way removes X-Accel-Buffering, as nginx does"
	default:
		f.Level = doctor.Warning
	}
	f.Do += "\nIf the assistant itself writes its answers like this, nothing is wrong."
	if c.admin == nil {
		f.Do += " With --admin, this command can tell."
	}
}

// compareWithMetrics completes a finding about an answer that arrived at once, by when the chat sent its first event.
func (c *checker) compareWithMetrics(f *doctor.Finding, t *transcript) {
	first := t.events[0].at.Sub(t.sent)
	if held := first - t.sentFirst; held >= max(longPause, first/5) {
		f.Found += fmt.Sprintf(", although the chat sent the first one after %s", seconds(t.sentFirst))
		return
	}
	f.Level, f.Do = doctor.Note, ""
	f.Why = "The metrics of Caddy say that the chat sent the first event at that time. So the upstream writes its answer in one piece, and nothing holds it back."
}

// seconds returns a duration as people read it.
func seconds(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < time.Minute:
		return fmt.Sprintf("%.1fs", d.Seconds())
	}
	return d.Round(time.Second).String()
}
