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

// takeSeat lets a listener in, if there is room.
func (h *Handler) takeSeat(id, client string) (seat, error) {
	taken, writtenHere := h.state.sitDown(id)
	if taken.of != nil {
		return taken, nil
	}
	if h.counter != nil && h.MaxStreamsPerClient > 0 {
		if taken, known, err := h.seatAmongAll(id, client, writtenHere); known {
			return taken, err
		}
	}
	return h.takeSlot(client)
}

// sitDown gives a listener a place in the slot of a stream that is written here, if it has one left.
func (s *sharedState) sitDown(id string) (taken seat, writtenHere bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream, writtenHere := s.live[id]
	if writtenHere && stream.listeners < listenersOfSlot {
		stream.listeners++
		return seat{of: stream}, true
	}
	return seat{}, writtenHere
}

// takeSlot gives a listener a slot, if this instance has one for the client.
func (h *Handler) takeSlot(client string) (seat, error) {
	s := h.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := h.fullSlots(client); err != nil {
		return seat{}, err
	}
	s.slots.take(client)
	return seat{client: client}, nil
}

func (s *sharedState) leave(taken seat) {
	if stay := s.standUp(taken); stay != nil {
		stay.Leave(true)
	}
}

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
