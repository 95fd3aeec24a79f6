package illumichat

import (
	"strconv"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// enterAmongAll lets the request in as all instances have counted together. Where it reports false, that is not known. Only
// max_streams is this instance's alone. All else is counted here, too, but does not decide while the others can be asked.
func (a *admission) enterAmongAll() (known bool, err error) {
	state := a.handler.state
	if wait := state.coolDown.left(); wait > 0 {
		return true, errCoolDown(wait)
	}
	if err := a.handler.reserve(a.client); err != nil {
		return true, err
	}
	a.keepState()
	ruling, err := a.handler.counter.Enter(a.entry())
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
func (h *Handler) reserve(client string) error {
	h.state.mu.Lock()
	defer h.state.mu.Unlock()
	if err := h.full(); err != nil {
		return err
	}
	h.state.slots.take(client)
	return nil
}

func (s *sharedState) giveSlotBack(client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.slots.giveBack(client)
}

// keepState keeps the counter open meanwhile.
func (a *admission) keepState() {
	a.handler.state.mu.Lock()
	defer a.handler.state.mu.Unlock()
	a.hold()
}

// entry is the request as others need to know it.
func (a *admission) entry() store.Entry {
	e := store.Entry{
		ID:           a.streamID(),
		Client:       a.client,
		MaxPerClient: a.handler.MaxStreamsPerClient,
		Limits:       make([]store.Limit, len(a.charges)),
	}
	for i, c := range a.charges {
		// What is configured as the key ends where the key begins, whatever is in them.
		e.Limits[i] = store.Limit{
			Key: strconv.Quote(c.limit.Key) + " " + c.key, Window: time.Duration(c.limit.Window), Requests: c.limit.Requests,
		}
	}
	return e
}

// streamID is the id of the stream that the answer may become.
func (a *admission) streamID() string {
	if a.id == "" {
		a.id = newStreamID()
	}
	return a.id
}

// adopt notes what all instances have used of the limits, if that is known.
func (a *admission) adopt(used []store.Usage) {
	for i, u := range used {
		a.charges[i].usage = usage{
			now: u.Now, prev: u.Prev,
			elapsed: uint64(u.Elapsed), length: uint64(time.Duration(a.charges[i].limit.Window).Truncate(time.Microsecond)),
		}
	}
}

// settle notes that the request is let in.
func (a *admission) settle(ruling store.Ruling) {
	state := a.handler.state
	state.mu.Lock()
	a.charge()
	state.mu.Unlock()
	a.stay = ruling.Stay
	a.turn = state.coolDown.turnAmongAll(ruling)
	tellClient(a.header, a.charges)
}

// turnedAway returns why the request is not let in.
func (a *admission) turnedAway(ruling store.Ruling) error {
	if wait := a.handler.state.coolDown.waitAmongAll(ruling); wait > 0 {
		return errCoolDown(wait)
	}
	tellClient(a.header, a.charges)
	a.handler.noteUsedUp(a.charges)
	if err := a.usedUp(); err != nil {
		return err
	}
	return errClientStreams
}

// nextTurn gives leave to ask the upstream once more, or tells how long to wait.
func (a *admission) nextTurn() (turn, time.Duration) {
	coolDown := &a.handler.state.coolDown
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
func (h *Handler) seatAmongAll(id, client string, writtenHere bool) (taken seat, known bool, err error) {
	if err := h.reserve(client); err != nil {
		return seat{}, true, err
	}
	e := store.Entry{ID: newStreamID(), Client: client, MaxPerClient: h.MaxStreamsPerClient, Listens: true}
	if !writtenHere {
		e.With = id
	}
	ruling, err := h.counter.Enter(e)
	if err == nil && ruling.Stay != nil {
		return seat{client: client, stay: ruling.Stay}, true, nil
	}
	h.state.giveSlotBack(client)
	if err != nil {
		return seat{}, false, nil
	}
	return seat{}, true, errClientStreams
}
