package limit

import (
	"strconv"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// admitShared admits the request by the shared counter. known is false if the counter cannot be reached; then the
// counts of this instance decide. This instance counts everything too, but its own counts do not decide while the
// counter can be reached. Only max_streams is always local.
func (a *Admission) admitShared() (known bool, err error) {
	state := a.limiter.state
	if wait := state.coolDowns.left(a.assistant); wait > 0 {
		return true, CoolDownError(wait)
	}
	if err := a.limiter.takeLocalSlot(a.client); err != nil {
		return true, err
	}
	a.keepState()
	decision, err := a.limiter.config.Counter.Reserve(a.request())
	a.noteUsage(decision.Usage)
	if err == nil && decision.Reservation != nil {
		a.admitted(decision)
		return true, nil
	}
	state.giveSlotBack(a.client)
	if err != nil {
		return false, nil
	}
	return true, a.refused(decision)
}

// takeLocalSlot takes a slot of this instance before the shared counter is asked. So at most max_streams requests ask
// the counter at once.
func (l *Limiter) takeLocalSlot(client string) error {
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	if err := l.checkSlots(); err != nil {
		return err
	}
	l.state.slots.take(client)
	return nil
}

func (s *sharedState) giveSlotBack(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots.giveBack(client)
}

// keepState takes a reference to the shared state, so that the counter stays open while it is asked.
func (a *Admission) keepState() {
	a.limiter.state.mu.Lock()
	defer a.limiter.state.mu.Unlock()
	a.retain()
}

// request returns the request in the form that the shared counter takes.
func (a *Admission) request() store.Request {
	r := store.Request{
		ID:           a.ID,
		Client:       a.client,
		Assistant:    a.assistant,
		MaxPerClient: a.limiter.config.MaxPerClient,
		Limits:       make([]store.Limit, len(a.charges)),
	}
	for i, c := range a.charges {
		// The quotes separate the configured key from the actual one, whatever characters they contain.
		r.Limits[i] = store.Limit{
			Key: strconv.Quote(c.limit.Rule.Key) + " " + c.key, Window: c.limit.Rule.Window, Requests: c.limit.Requests,
		}
	}
	return r
}

// noteUsage takes over the usage of the limits by all instances. used is empty if that is not known.
func (a *Admission) noteUsage(used []store.Usage) {
	for i, u := range used {
		a.charges[i].usage = usage{
			now: u.Now, prev: u.Prev,
			elapsed: uint64(u.Elapsed), length: uint64(a.charges[i].limit.Rule.Window.Truncate(time.Microsecond)),
		}
	}
}

// admitted notes that the shared counter has admitted the request.
func (a *Admission) admitted(decision store.Decision) {
	state := a.limiter.state
	state.mu.Lock()
	a.charge()
	state.mu.Unlock()
	a.reservation = decision.Reservation
	a.turn = state.coolDowns.turnShared(a.assistant, decision)
	setHeader(a.header, a.charges)
}

// refused returns why the shared counter has refused the request.
func (a *Admission) refused(decision store.Decision) error {
	if wait := a.limiter.state.coolDowns.waitShared(a.assistant, decision); wait > 0 {
		return CoolDownError(wait)
	}
	setHeader(a.header, a.charges)
	a.limiter.reportUsedUp(a.charges)
	if err := a.exhausted(); err != nil {
		return err
	}
	return errClientStreams
}

// admitListenerShared admits a listener who needs a slot, by the shared counter. known is false if the counter cannot
// be reached; then the counts of this instance decide.
func (l *Limiter) admitListenerShared(stream string, r Request, writtenHere bool) (taken Slot, known bool, err error) {
	if err := l.takeLocalSlot(r.Client); err != nil {
		return Slot{}, true, err
	}
	request := store.Request{ID: r.ID, Client: r.Client, MaxPerClient: l.config.MaxPerClient, Listens: true}
	if !writtenHere {
		request.Follows = stream
	}
	decision, err := l.config.Counter.Reserve(request)
	if err == nil && decision.Reservation != nil {
		return Slot{state: l.state, client: r.Client, reservation: decision.Reservation}, true, nil
	}
	l.state.giveSlotBack(r.Client)
	if err != nil {
		return Slot{}, false, nil
	}
	return Slot{}, true, errClientStreams
}
