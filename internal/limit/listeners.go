package limit

import "github.com/illumichat/caddy-illumichat/store"

// listenersPerSlot is how many listeners can share the slot of a stream that this instance writes. So a visitor who
// returns needs no second slot, even before the server notices that the first connection is lost.
const listenersPerSlot = 2

// liveStream is a stream that this instance writes. It occupies one slot.
type liveStream struct {
	client      string            // that has the slot
	listeners   int               // that share the slot
	apart       int               // listeners that have slots of their own
	over        bool              // the stream has ended, and each listener has a slot of its own
	reservation store.Reservation // of a stream that is over: the last listener releases it
}

// Slot is what a listener occupies: a share of a live stream's slot, or a slot of its own.
type Slot struct {
	state       *sharedState
	of          *liveStream       // whose slot is shared; nil: it is a slot of its own
	apart       *liveStream       // that the listener of a slot of its own listens to; nil: this instance does not write it
	client      string            // of a slot of its own
	reservation store.Reservation // in the shared counter; nil: this instance counts alone
}

// beginStream registers a stream. The visitor who asked is its first listener.
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

// removeStream removes a stream, unless another one has its id: a page may choose the same id at two stores. The caller
// holds the lock.
func (s *sharedState) removeStream(id string, stream *liveStream) {
	if s.streams[id] == stream {
		delete(s.streams, id)
	}
}

// endStream removes a stream. Each of its listeners takes a slot of its own, because the admission releases the slot
// that they share.
func (s *sharedState) endStream(id string, stream *liveStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.removeStream(id, stream)
	stream.over = true
	for range stream.listeners {
		s.slots.take(stream.client)
	}
}

// handOver hands the shared reservation of a stream that is over to the remaining listeners: the last one releases it.
// It returns false if nobody listens.
func (s *sharedState) handOver(stream *liveStream, reservation store.Reservation) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if stream == nil || stream.listeners == 0 {
		return false
	}
	stream.reservation = reservation
	return true
}

// hasListener reports whether a listener was admitted to a stream that this instance writes, and has not left.
func (s *sharedState) hasListener(stream *liveStream) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !stream.over && stream.listeners+stream.apart > 0
}

// AdmitListener admits a listener to a stream if there is room. Otherwise it returns the error for the visitor. The
// caller must call Leave.
func (l *Limiter) AdmitListener(stream string, r Request) (Slot, error) {
	taken, err := l.admitListener(stream, r)
	l.reportNoClient(r, err)
	return taken, err
}

func (l *Limiter) admitListener(stream string, r Request) (Slot, error) {
	taken, live := l.state.shareSlot(stream)
	if taken.of != nil {
		return taken, nil
	}
	taken, err := l.takeOwnSlot(stream, r, live != nil)
	if err == nil && live != nil {
		l.state.listenApart(&taken, live)
	}
	return taken, err
}

// takeOwnSlot takes a slot for a listener. writtenHere says whether this instance writes the stream.
func (l *Limiter) takeOwnSlot(stream string, r Request, writtenHere bool) (Slot, error) {
	if l.config.Counter != nil && l.config.MaxPerClient > 0 {
		if taken, known, err := l.admitListenerShared(stream, r, writtenHere); known {
			return taken, err
		}
	}
	return l.takeSlot(r.Client)
}

// shareSlot gives a listener a share of a stream's slot. This instance must write the stream, and fewer than
// listenersPerSlot must have a share; otherwise taken.of is nil. live is the stream; nil: this instance does not write
// it.
func (s *sharedState) shareSlot(id string) (taken Slot, live *liveStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	live = s.streams[id]
	if live != nil && live.listeners < listenersPerSlot {
		live.listeners++
		return Slot{state: s, of: live}, live
	}
	return Slot{}, live
}

// listenApart notes that the listener of a slot of its own listens to a stream that this instance writes.
func (s *sharedState) listenApart(taken *Slot, live *liveStream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken.apart = live
	live.apart++
}

// takeSlot takes a slot of this instance for a listener. It returns an error if there is none for the client.
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

// Leave releases the slot.
func (s Slot) Leave() {
	if reservation := s.state.leaveSlot(s); reservation != nil {
		reservation.Release(true)
	}
}

// Announcement is a stream whose request is not admitted yet. Visitors who listen to it already share the slot that the
// request will have.
type Announcement struct {
	state  *sharedState
	id     string
	stream *liveStream
}

// Announce announces the stream of a request that is yet to be admitted. The caller must call Withdraw if the request is
// refused, and else Admission.Announced.
func (l *Limiter) Announce(id, client string) Announcement {
	return Announcement{l.state, id, l.state.beginStream(id, client)}
}

// Withdraw takes the announcement back, because there will be no stream. Visitors who listen to it have no slot.
func (a Announcement) Withdraw() {
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	a.state.removeStream(a.id, a.stream)
}

// Announced notes that the request's stream was announced.
func (a *Admission) Announced(announced Announcement) { a.stream = announced.stream }

// BeginStream notes that the answer can be resumed, unless that was announced. The visitor who asked is the first
// listener of the answer's stream.
func (a *Admission) BeginStream() {
	if a.stream == nil {
		a.stream = a.limiter.state.beginStream(a.ID, a.client)
	}
}

// EndStream notes that the stream has ended.
func (a *Admission) EndStream() { a.limiter.state.endStream(a.ID, a.stream) }

// LeaveStream notes that the visitor who asked no longer listens.
func (a *Admission) LeaveStream() { Slot{state: a.limiter.state, of: a.stream}.Leave() }

// HasListener reports whether a visitor listens to the stream at this instance.
func (a *Admission) HasListener() bool { return a.limiter.state.hasListener(a.stream) }

// leaveSlot releases a slot at this instance. It returns the reservation that the caller must release in the shared
// counter, or nil if there is none.
func (s *sharedState) leaveSlot(taken Slot) store.Reservation {
	s.mu.Lock()
	defer s.mu.Unlock()
	stream := taken.of
	if taken.apart != nil {
		taken.apart.apart--
	}
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
