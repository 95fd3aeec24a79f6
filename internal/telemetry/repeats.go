package telemetry

import (
	"maps"
	"time"
)

const (
	// repeatAfter is how long further reports of the same kind are logged at debug level only.
	repeatAfter = time.Minute

	// maxKinds is how many kinds of problems a Log remembers. Texts that name an address could make more.
	maxKinds = 128
)

// kind identifies the problems that count as one.
type kind struct {
	scope
	what string
}

// manyKinds is the one kind of all problems for which repeats has no room.
var manyKinds = kind{what: "one of many"}

// repeats remembers which kinds of problems were reported within the last minute. It has room for maxKinds. All further
// kinds within that minute count as one. When repeats needs room, it forgets the kinds that are older than a minute, and
// how often those were repeated. The zero value is ready to use.
type repeats struct {
	reports map[kind]*report
}

type report struct {
	at    time.Time // when the last one was logged at its own level
	since int       // how many were logged at debug since then
}

// due reports whether a problem is due at its own level. repeated is how many of its kind were logged at debug since the
// last one that was.
func (r *repeats) due(k kind, now time.Time) (repeated int, due bool) {
	last, known := r.reports[k]
	if !known && len(r.reports) >= maxKinds && !r.makeRoom(now) {
		k = manyKinds
		last, known = r.reports[k]
	}
	switch {
	case !known:
		if r.reports == nil {
			r.reports = make(map[kind]*report)
		}
		r.reports[k] = &report{at: now}
		return 0, true
	case now.Sub(last.at) < repeatAfter:
		last.since++
		return 0, false
	}
	repeated = last.since
	last.at, last.since = now, 0
	return repeated, true
}

// makeRoom forgets the kinds that are older than a minute. It reports whether there is room for another kind.
func (r *repeats) makeRoom(now time.Time) bool {
	maps.DeleteFunc(r.reports, func(_ kind, last *report) bool { return now.Sub(last.at) >= repeatAfter })
	return len(r.reports) < maxKinds
}

// take returns how many problems of a scope no line has counted yet, and counts them.
func (r *repeats) take(s scope) (repeated int) {
	for k, last := range r.reports {
		if k.scope == s {
			repeated += last.since
			last.since = 0
		}
	}
	return repeated
}
