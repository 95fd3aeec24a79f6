package illumichat

// liveStream is a stream that is written here. It has one of the slots, which is its listener's as well: so a visitor who has
// lost a connection needs no second one to come back.
type liveStream struct {
	vacant bool // nobody listens in its slot
}

// seat is what a listener takes up: a live stream's slot, or one of its own.
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

// firstSeat is that of the visitor who asked.
func (s *sharedState) firstSeat(id string) seat {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream, ok := s.live[id]; ok {
		return seat{of: stream}
	}
	return seat{of: new(liveStream)} // it has ended, and nobody can take its slot
}

// takeSeat lets a listener in, if there is room.
func (h *Handler) takeSeat(id, client string) (seat, error) {
	s := h.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream, ok := s.live[id]; ok && stream.vacant {
		stream.vacant = false
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
		taken.of.vacant = true
		return
	}
	s.slots.giveBack(taken.client)
}
