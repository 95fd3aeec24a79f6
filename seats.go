package illumichat

import "github.com/illumichat/caddy-illumichat/store"

// listenersOfSlot is how many may listen in the slot of a stream that is written here: a visitor who comes back needs no
// second slot, although the server may not know yet that the first connection is lost.
const listenersOfSlot = 2

// liveStream is a stream that is written here. It has one of the slots.
type liveStream struct {
	client    string     // who has the slot
	listeners int        // in it
	over      bool       // who still listens has a slot for it
	stay      store.Stay // of a stream that is over: the last listener has it left
}

// seat is what a listener takes up: a place in a live stream's slot, or a slot of its own.
type seat struct {
	state  *sharedState
	of     *liveStream
	client string     // of a slot of its own
	stay   store.Stay // among those that all instances count; nil: this one counts for itself
}

// goLive begins a stream, to which the visitor who asked listens.
func (s *sharedState) goLive(id, client string) *liveStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		s.live = make(map[string]*liveStream)
	}
	stream := &liveStream{client: client, listeners: 1}
	s.live[id] = stream
	return stream
}

func (s *sharedState) endLive(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream := s.live[id]
	delete(s.live, id)
	stream.over = true
	for range stream.listeners {
		s.slots.take(stream.client)
	}
}

// bequeath has whoever still listens to a stream that is over take up what it did among the requests of all instances. It
// reports false where there is nobody.
func (s *sharedState) bequeath(stream *liveStream, stay store.Stay) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream == nil || stream.listeners == 0 {
		return false
	}
	stream.stay = stay
	return true
}

// isHeard reports whether somebody listens in the slot of a stream that is written here.
func (s *sharedState) isHeard(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream, ok := s.live[id]
	return ok && stream.listeners > 0
}

// admitListener lets a listener to a stream in, if there is room.
func (l *limiter) admitListener(stream string, r admissionRequest) (seat, error) {
	taken, writtenHere := l.state.sitDown(stream)
	if taken.of != nil {
		return taken, nil
	}
	if l.counter != nil && l.maxPerClient > 0 {
		if taken, known, err := l.seatAmongAll(stream, r, writtenHere); known {
			return taken, err
		}
	}
	return l.takeSlot(r.client)
}

// sitDown gives a listener a place in the slot of a stream that is written here, if it has one left.
func (s *sharedState) sitDown(id string) (taken seat, writtenHere bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream, writtenHere := s.live[id]
	if writtenHere && stream.listeners < listenersOfSlot {
		stream.listeners++
		return seat{state: s, of: stream}, true
	}
	return seat{}, writtenHere
}

// takeSlot gives a listener a slot, if this instance has one for the client.
func (l *limiter) takeSlot(client string) (seat, error) {
	s := l.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := l.checkClientSlots(client); err != nil {
		return seat{}, err
	}
	s.slots.take(client)
	return seat{state: s, client: client}, nil
}

// leave gives the seat back.
func (s seat) leave() {
	if stay := s.state.standUp(s); stay != nil {
		stay.Leave(true)
	}
}

// beginStream notes that the answer is a stream that can be resumed, to which the visitor who asked listens.
func (a *admission) beginStream() { a.stream = a.limiter.state.goLive(a.id, a.client) }

// endStream notes that the stream is over.
func (a *admission) endStream() { a.limiter.state.endLive(a.id) }

// leaveStream notes that the visitor who asked does not listen any more.
func (a *admission) leaveStream() { seat{state: a.limiter.state, of: a.stream}.leave() }

// hasListener reports whether somebody listens to the stream in its slot.
func (a *admission) hasListener() bool { return a.limiter.state.isHeard(a.id) }

// standUp gives up a seat at this instance. It returns what is to be given up among all instances.
func (s *sharedState) standUp(taken seat) store.Stay {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream := taken.of
	if stream == nil {
		s.slots.giveBack(taken.client)
		return taken.stay
	}
	stream.listeners--
	if stream.over {
		s.slots.giveBack(stream.client)
	}
	if stream.listeners > 0 {
		return nil
	}
	return stream.stay
}
