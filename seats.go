package illumichat

// listenersOfSlot is how many may listen in the slot of a stream that is written here: a visitor who comes back needs no
// second slot, although the server may not know yet that the first connection is lost.
const listenersOfSlot = 2

// liveStream is a stream that is written here. It has one of the slots.
type liveStream struct {
	listeners int // in its slot
}

// seat is what a listener takes up: a place in a live stream's slot, or a slot of its own.
type seat struct {
	of     *liveStream
	client string // of a slot of its own
}

func (s *sharedState) goLive(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.live == nil {
		s.live = make(map[string]*liveStream)
	}
	s.live[id] = new(liveStream)
}

func (s *sharedState) endLive(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.live, id)
}

// firstSeat is that of the visitor who asked, who may find that all is over.
func (s *sharedState) firstSeat(id string) seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream, ok := s.live[id]
	if !ok {
		stream = new(liveStream)
	}
	stream.listeners++
	return seat{of: stream}
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
	if taken.of != nil {
		taken.of.listeners--
		return
	}
	s.slots.giveBack(taken.client)
}
