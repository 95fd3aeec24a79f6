package telemetry

import (
	"time"

	"go.uber.org/zap"
)

// worksAgain maps a part to the line that says that it works again.
var worksAgain = map[Part]string{
	Answers: "the chat is answered again",
	Token:   "the token's file can be used again",
}

// outage is the time in which a part does not work. It begins with the first problem that is logged.
type outage struct{ begin, last time.Time }

// noteOutage notes that a part is broken. told says that the operator was told. The caller holds mu.
func (l *Log) noteOutage(s scope, now time.Time, told bool) {
	if o := l.outages[s]; o != nil {
		o.last = now
		return
	}
	if !told {
		return
	}
	if l.outages == nil {
		l.outages = make(map[scope]*outage)
	}
	l.outages[s] = &outage{begin: now, last: now}
	l.broken.Add(1)
}

// Works notes that a part worked for the chat that c records. If the part was broken, it logs once that the part works
// again. While nothing is broken, it costs one atomic load. A chat that began before the last failure proves nothing
// about answers: its connection may be older than the outage.
func (l *Log) Works(c *Record, part Part) {
	if l.broken.Load() == 0 {
		return
	}
	s := scopeOf(c, part)
	lasted, repeated, over := l.endOutage(s, c.Start)
	if !over {
		return
	}
	if line := l.logger.Check(zap.InfoLevel, worksAgain[part]); line != nil {
		line.Write(c.AssistantField(), zap.Duration("lasted", lasted), repeatedField(repeated))
	}
}

// endOutage ends the outage of a scope. start is when the chat began that proves the end. lasted is the time from the
// first failure, and repeated the number of failures that no line has counted. over is false if there is no outage, or no
// proof.
func (l *Log) endOutage(s scope, start time.Time) (lasted time.Duration, repeated int, over bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	o := l.outages[s]
	if o == nil || s.part == Answers && start.Before(o.last) {
		return 0, 0, false
	}
	delete(l.outages, s)
	l.broken.Add(-1)
	return time.Since(o.begin), l.repeats.take(s), true
}
