package illumichat

import (
	"strconv"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// enterAmongAll lets the request in as all instances have counted together. Where it reports false, that is not known. Only
// max_streams is this instance's alone. All else is counted here, too, but does not decide while the others can be asked.
func (a *admission) enterAmongAll() (known bool, err error) {
	state := a.limiter.state
	if wait := state.coolDown.left(); wait > 0 {
		return true, errCoolDown(wait)
	}
	if err := a.limiter.reserve(a.client); err != nil {
		return true, err
	}
	a.keepState()
	ruling, err := a.limiter.counter.Enter(a.entry())
	a.adopt(ruling.Usage)
	if err == nil && ruling.Stay != nil {
		a.settle(ruling)
		return true, nil
	}
	state.giveSlotBack(a.client)
	if err != nil {
		return false, nil
	}
	return true, a.turnedAway(ruling)
}

// reserve takes a slot of this instance while the others are asked, so that no more than max_streams ask.
func (l *limiter) reserve(client string) error {
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

// keepState keeps the counter open meanwhile.
func (a *admission) keepState() {
	a.limiter.state.mu.Lock()
	defer a.limiter.state.mu.Unlock()
	a.hold()
}

// entry is the request as others need to know it.
func (a *admission) entry() store.Entry {
	e := store.Entry{
		ID:           a.id,
		Client:       a.client,
		MaxPerClient: a.limiter.maxPerClient,
		Limits:       make([]store.Limit, len(a.charges)),
	}
	for i, c := range a.charges {
		// What is configured as the key ends where the key begins, whatever is in them.
		e.Limits[i] = store.Limit{
			Key: strconv.Quote(c.limit.rule.key) + " " + c.key, Window: c.limit.rule.window, Requests: c.limit.requests,
		}
	}
	return e
}

// adopt notes what all instances have used of the limits, if that is known.
func (a *admission) adopt(used []store.Usage) {
	for i, u := range used {
		a.charges[i].usage = usage{
			now: u.Now, prev: u.Prev,
			elapsed: uint64(u.Elapsed), length: uint64(a.charges[i].limit.rule.window.Truncate(time.Microsecond)),
		}
	}
}

// settle notes that the request is let in.
func (a *admission) settle(ruling store.Ruling) {
	state := a.limiter.state
	state.mu.Lock()
	a.charge()
	state.mu.Unlock()
	a.stay = ruling.Stay
	a.turn = state.coolDown.turnAmongAll(ruling)
	tellClient(a.header, a.charges)
}

// turnedAway returns why the request is not let in.
func (a *admission) turnedAway(ruling store.Ruling) error {
	if wait := a.limiter.state.coolDown.waitAmongAll(ruling); wait > 0 {
		return errCoolDown(wait)
	}
	tellClient(a.header, a.charges)
	a.limiter.reportUsedUp(a.charges)
	if err := a.usedUp(); err != nil {
		return err
	}
	return errClientStreams
}

// nextTurn gives leave to ask the upstream once more, or tells how long to wait.
func (a *admission) nextTurn() (wait time.Duration) {
	a.turn, wait = a.furtherTurn()
	return wait
}

func (a *admission) furtherTurn() (turn, time.Duration) {
	coolDown := &a.limiter.state.coolDown
	if a.stay == nil || coolDown.left() > 0 {
		return coolDown.turn()
	}
	ruling, err := a.stay.Turn()
	switch {
	case err != nil:
		return coolDown.turn()
	case ruling.Stay == nil:
		return turn{}, coolDown.waitAmongAll(ruling)
	}
	return coolDown.turnAmongAll(ruling), 0
}

// seatAmongAll lets in a listener who needs a slot, as all instances have counted. Where it reports false, that is not known.
func (l *limiter) seatAmongAll(stream string, r admissionRequest, writtenHere bool) (taken seat, known bool, err error) {
	if err := l.reserve(r.client); err != nil {
		return seat{}, true, err
	}
	e := store.Entry{ID: r.id, Client: r.client, MaxPerClient: l.maxPerClient, Listens: true}
	if !writtenHere {
		e.With = stream
	}
	ruling, err := l.counter.Enter(e)
	if err == nil && ruling.Stay != nil {
		return seat{state: l.state, client: r.client, stay: ruling.Stay}, true, nil
	}
	l.state.giveSlotBack(r.client)
	if err != nil {
		return seat{}, false, nil
	}
	return seat{}, true, errClientStreams
}
