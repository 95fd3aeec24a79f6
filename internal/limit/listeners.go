package limit

import "github.com/illumichat/caddy-illumichat/store"

// listenersPerSlot is how many may listen in the slot of a stream that is written here: a visitor who comes back needs no
// second slot, although the server may not know yet that the first connection is lost.
const listenersPerSlot = 2

// liveStream is a stream that is written here. It has one of the slots.
type liveStream struct {
	client      string            // who has the slot
	listeners   int               // in it
	over        bool              // who still listens has a slot for it
	reservation store.Reservation // of a stream that is over: the last listener has it left
}

// Slot is what a listener takes up: a place in a live stream's slot, or a slot of its own.
type Slot struct {
	state       *sharedState
	of          *liveStream
	client      string            // of a slot of its own
	reservation store.Reservation // among those that all instances count; nil: this one counts for itself
}

// beginStream begins a stream, to which the visitor who asked listens.
func (s *sharedState) beginStream(id, client string) *liveStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams == nil {
		s.streams = make(map[string]*liveStream)
	}
	stream := &liveStream{client: client, listeners: 1}
	s.streams[id] = stream
	return stream
}

func (s *sharedState) endStream(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream := s.streams[id]
	delete(s.streams, id)
	stream.over = true
	for range stream.listeners {
		s.slots.take(stream.client)
	}
}

// handOver has whoever still listens to a stream that is over take up what it did among the requests of all instances. It
// reports false where there is nobody.
func (s *sharedState) handOver(stream *liveStream, reservation store.Reservation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream == nil || stream.listeners == 0 {
		return false
	}
	stream.reservation = reservation
	return true
}

// hasListener reports whether somebody listens in the slot of a stream that is written here.
func (s *sharedState) hasListener(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream, ok := s.streams[id]
	return ok && stream.listeners > 0
}

// AdmitListener lets a listener to a stream in, if there is room.
func (l *Limiter) AdmitListener(stream string, r Request) (Slot, error) {
	taken, writtenHere := l.state.shareSlot(stream)
	if taken.of != nil {
		return taken, nil
	}
	if l.config.Counter != nil && l.config.MaxPerClient > 0 {
		if taken, known, err := l.admitListenerShared(stream, r, writtenHere); known {
			return taken, err
		}
	}
	return l.takeSlot(r.Client)
}

// shareSlot gives a listener a place in the slot of a stream that is written here, if it has one left.
func (s *sharedState) shareSlot(id string) (taken Slot, writtenHere bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream, writtenHere := s.streams[id]
	if writtenHere && stream.listeners < listenersPerSlot {
		stream.listeners++
		return Slot{state: s, of: stream}, true
	}
	return Slot{}, writtenHere
}

// takeSlot gives a listener a slot, if this instance has one for the client.
func (l *Limiter) takeSlot(client string) (Slot, error) {
	s := l.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := l.checkClientSlots(client); err != nil {
		return Slot{}, err
	}
	s.slots.take(client)
	return Slot{state: s, client: client}, nil
}

// Leave gives the seat back.
func (s Slot) Leave() {
	if reservation := s.state.leaveSlot(s); reservation != nil {
		reservation.Release(true)
	}
}

// BeginStream notes that the answer is a stream that can be resumed, to which the visitor who asked listens.
func (a *Admission) BeginStream() { a.stream = a.limiter.state.beginStream(a.ID, a.client) }

// EndStream notes that the stream is over.
func (a *Admission) EndStream() { a.limiter.state.endStream(a.ID) }

// LeaveStream notes that the visitor who asked does not listen any more.
func (a *Admission) LeaveStream() { Slot{state: a.limiter.state, of: a.stream}.Leave() }

// HasListener reports whether somebody listens to the stream in its slot.
func (a *Admission) HasListener() bool { return a.limiter.state.hasListener(a.ID) }

// leaveSlot gives up a seat at this instance. It returns what is to be given up among all instances.
func (s *sharedState) leaveSlot(taken Slot) store.Reservation {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream := taken.of
	if stream == nil {
		s.slots.giveBack(taken.client)
		return taken.reservation
	}
	stream.listeners--
	if stream.over {
		s.slots.giveBack(stream.client)
	}
	if stream.listeners > 0 {
		return nil
	}
	return stream.reservation
}
