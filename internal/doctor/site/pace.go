package site

import (
	"time"
)

// rhythm is how the events of an answer arrive.
type rhythm int

const (
	unclear   rhythm = iota // the answer is too short to tell
	oneByOne                // as they are written
	allAtOnce               // after a long wait, in one piece
	inBatches               // in pieces of many events, with pauses between them
)

const (
	together   = 20 * time.Millisecond // events that arrive within this time of each other count as one batch
	longWait   = time.Second           // a shorter wait for the first event can be the assistant's
	longPause  = 500 * time.Millisecond
	shortSpan  = 100 * time.Millisecond // within it, a network may join what was written one by one
	fewEvents  = 5                      // in so few events there are too few gaps
	manyEvents = 8                      // so many events in one batch are more than a network joins
	perEvent   = time.Millisecond       // no assistant writes faster
)

// pace is when the events of an answer arrived.
type pace struct {
	events  int
	batches int           // how many groups of events arrived together
	wait    time.Duration // from the request to the first event
	span    time.Duration // from the first event to the last one
	paused  time.Duration // the pauses between batches, in all
}

// paceOf returns the pace of events that arrived at the given times.
func paceOf(sent time.Time, arrivals []time.Time) pace {
	if len(arrivals) == 0 {
		return pace{}
	}
	p := pace{events: len(arrivals), batches: 1, wait: arrivals[0].Sub(sent), span: arrivals[len(arrivals)-1].Sub(arrivals[0])}
	for i := 1; i < len(arrivals); i++ {
		if pause := arrivals[i].Sub(arrivals[i-1]); pause > together {
			p.batches++
			p.paused += pause
		}
	}
	return p
}

// rhythm returns how the events arrived. It needs strong evidence to say that they were held back: an assistant may think
// for a while and then write fast.
func (p pace) rhythm() rhythm {
	atOnce := p.span <= time.Duration(p.events)*perEvent
	switch {
	case p.events >= manyEvents && p.wait >= longWait && atOnce:
		return allAtOnce
	case p.events < fewEvents, atOnce, p.batches == 1 && p.span < shortSpan:
		return unclear
	case p.batches > 1 && p.events/p.batches >= manyEvents && p.paused/time.Duration(p.batches-1) >= longPause && p.paused >= p.span*9/10:
		return inBatches
	}
	return oneByOne
}
