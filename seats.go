package illumichat

// listenersOfSlot is how many may listen in the slot of a stream that is written here: a visitor who comes back needs no
// second slot, although the server may not know yet that the first connection is lost.
const listenersOfSlot = 2

// liveStream is a stream that is written here. It has one of the slots.
type liveStream struct {
	client    string // who has the slot
	listeners int    // in it
	over      bool   // who still listens has a slot for it
}

// seat is what a listener takes up: a place in a live stream's slot, or a slot of its own.
type seat struct {
	of     *liveStream
	client string // of a slot of its own
}

func (s *sharedState) goLive(id, client string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		s.live = make(map[string]*liveStream)
	}
	s.live[id] = &liveStream{client: client}
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

// firstSeat is that of the visitor who asked. By then, all may be written.
func (s *sharedState) firstSeat(id, client string) seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream, ok := s.live[id]; ok {
		stream.listeners++
		return seat{of: stream}
	}
	s.slots.take(client)
	return seat{client: client}
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
	s := h.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream, ok := s.live[id]; ok && stream.listeners < listenersOfSlot {
		stream.listeners++
		return seat{of: stream}, nil
	}
	if err := h.fullSlots(client); err != nil {
		return seat{}, err
	}
	s.slots.take(client)
	return seat{client: client}, nil
}

func (s *sharedState) leave(taken seat) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case taken.of == nil:
		s.slots.giveBack(taken.client)
	case taken.of.over:
		s.slots.giveBack(taken.of.client)
	default:
		taken.of.listeners--
	}
}
