package redisstore

import (
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

const (
	// announceTime is how long listeners wait for the header until Redis has the stream's claim.
	announceTime = 250 * time.Millisecond

	// failedTime is how long Redis keeps a stream that has failed. Those who wait for it elsewhere get its reason.
	failedTime = 10 * time.Second
)

// replica is the copy in Redis of a stream that this instance writes. It tracks what Redis has. What is yet to be sent
// is in the memory of the local stream, and is not copied.
type replica struct {
	id       string
	key      string
	keyArg   any // key as an argument of a command
	of       *replicator
	meta     string // the first entry's
	claim    string // the first entry's
	replaces string // a claim of this instance that the claim may replace; "": none
	chosen   bool   // the page chose the id, so other instances may claim it
	keep     time.Duration
	done     chan struct{} // closed when nothing is left to be sent

	mu      sync.Mutex
	local   store.Source
	tail    *store.Tail   // reads the local stream; nil: nothing more is read
	claimed bool          // Redis has the claim
	begun   bool          // Redis may have a part of the stream
	header  http.Header   // nil: the stream is not open
	told    bool          // the local stream is open, too
	telling *time.Timer   // opens the local stream at the latest
	opened  bool          // the entry with the header has an id
	rest    []store.Chunk // after the stream's end: what is yet to be sent
	end     *store.End    // nil: the stream has not ended
	failed  *store.Failed // nil: the stream has not failed
	sent    int64         // how many entries have an id: they have been sent, or are next
	events  int64         // how many events end in those entries
	behind  time.Time     // since when something has waited for Redis
	grew    bool          // the local stream may have more than was read
	more    bool          // there is more than fits into the last entry
	renewal bool          // the key's time to live must be renewed
	over    bool          // nothing of the stream is sent any more
	unkept  bool          // the stream goes on, and Redis keeps only its claim, or will
	cleanup what          // what Redis has yet to do with an abandoned stream: unkeeping, removal or nothing
	expires time.Time     // when the key of an abandoned stream has expired anyway
	queued  bool          // the replica is in its sender's queue
	busy    bool          // the shipment is on its way
	next    shipment
}

// open gives listeners the header, once Redis has the claim: from then on, every instance can find the stream. It waits
// for that no longer than announceTime, and only while Redis can be reached.
func (r *replica) open(header http.Header) {
	wait := !r.of.store.link.down(r.key)
	r.mu.Lock()
	r.header, r.behind = header, time.Now()
	if wait && !r.claimed && !r.over {
		r.telling = time.AfterFunc(announceTime, func() {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.announce()
		})
	} else {
		r.announce()
	}
	d := r.requeue()
	r.mu.Unlock()
	d.start()
}

// announce opens the local stream, if its source was opened.
func (r *replica) announce() {
	if r.header == nil || r.told {
		return
	}
	r.told = true
	if r.telling != nil {
		r.telling.Stop()
	}
	r.local.Open(r.header)
	if r.over {
		r.local, r.header = nil, nil
	}
}

// grown sends what the local stream has got.
func (r *replica) grown() {
	r.mu.Lock()
	r.grew = true
	d := r.queue()
	r.mu.Unlock()
	d.start()
}

// finish sends the rest of a stream that has ended. It reads that at once, because an ended stream may have to make room
// for others.
func (r *replica) finish(end store.End) {
	r.mu.Lock()
	if r.over {
		r.remove()
	} else {
		r.end = &end
		r.takeRest()
	}
	d := r.requeue()
	r.mu.Unlock()
	d.start()
}

func (r *replica) takeRest() {
	for {
		chunk, _, kept := r.tail.Next(nil)
		switch {
		case !kept: // it was too large for the memory, and can be resumed nowhere
			r.abandon()
			return
		case len(chunk.Data) == 0:
			r.tail = nil
			return
		case !r.of.hold(len(chunk.Data)):
			r.giveUp()
			return
		}
		r.rest = append(r.rest, chunk)
	}
}

// fail sends that the stream has failed, unless Redis knows nothing of the stream.
func (r *replica) fail(reason []byte) {
	r.mu.Lock()
	if r.over {
		r.local = nil
		r.remove()
	} else {
		r.failed, r.tail, r.behind = &store.Failed{Reason: reason}, nil, time.Now()
		if !r.begun {
			r.close()
		}
	}
	d := r.queue()
	r.mu.Unlock()
	d.start()
}

// renew renews the key's time to live.
func (r *replica) renew() {
	r.mu.Lock()
	switch {
	case !r.over:
		r.renewal = true
	case r.unkept:
		r.clean(unkeeping)
	}
	d := r.queue()
	r.mu.Unlock()
	d.start()
}

// queue puts the replica into the queue of its shard, if it has anything to send. If it is there already, or its
// shipment is on its way, it does nothing. The caller must start the returned sender, without the replica's lock.
func (r *replica) queue() *sender {
	if r.queued || r.busy || !r.hasMore() {
		return nil
	}
	r.queued = true
	if r.next.what == nothing {
		r.behind = time.Now()
	}
	return r.of.enqueue(r)
}

// requeue is queue for a replica that has become more urgent. If it is in a queue already, it is put into another one.
func (r *replica) requeue() *sender {
	if r.queued {
		return r.of.enqueue(r)
	}
	return r.queue()
}

// urgency says how long a replica may wait in the queue.
type urgency int

const (
	unread  urgency = iota // for unreadTime
	read                   // for gatherTime
	awaited                // not at all
)

func (r *replica) urgency() urgency {
	switch {
	case r.header != nil && (!r.told || !r.opened): // without the header, the stream of a dead instance is not known as lost
		return awaited
	case r.over, r.isEnded(), !r.told, r.more, r.next.what != nothing, r.of.store.readers.read(r.id):
		return read
	default:
		return unread
	}
}

// hasten sends what waits, because another instance has begun to listen.
func (r *replica) hasten() {
	r.mu.Lock()
	d := r.requeue()
	r.mu.Unlock()
	d.start()
}

// hasMore reports whether there may be something to send.
func (r *replica) hasMore() bool {
	if r.over {
		return r.cleanup != nothing
	}
	return r.next.what != nothing || r.renewal || !r.claimed || r.failed != nil || r.header != nil && (!r.opened || r.grew) || r.end != nil
}

// isEnded reports whether the writer has ended the stream.
func (r *replica) isEnded() bool { return r.end != nil || r.failed != nil }

// ship returns what is to be sent next, or nil if there is nothing. The replica may have been queued more than once.
func (r *replica) ship() *shipment {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.queued {
		return nil
	}
	r.queued = false
	s := &r.next
	if !r.over && !r.isEnded() && !r.tail.Kept() {
		r.abandon()
	}
	switch {
	case !r.over:
		if s.what == nothing {
			r.load()
		}
		s.first = !r.begun && s.what != nothing
		r.begun = r.begun || s.first
	case r.cleanup == nothing:
		return nil
	case s.what != r.cleanup:
		s.reset()
		s.what = r.cleanup
		s.number(r.events, max(r.sent, 1)+1)
	}
	if s.what == unkeeping {
		r.expires = time.Now().Add(r.keep + spare)
	}
	if s.what == nothing && !r.renewal {
		return nil
	}
	s.replica = r
	s.prepare(r.renewal && !r.over)
	r.renewal, r.busy = false, true
	return s
}

// load makes the next entry, if there is something for it.
func (r *replica) load() {
	s := &r.next
	var events int
	switch {
	case !r.claimed:
		s.what = claim
	case r.failed != nil:
		s.what, s.ttl, s.failed = guarded, failedTime, r.failed
	case r.header == nil:
		return
	default:
		opens := !r.opened
		if opens {
			r.opened = true
			s.head, _ = json.Marshal(r.header) // cannot fail
		}
		chunk, ends := r.read()
		if ends {
			s.end, s.ttl = r.end, r.keep
		}
		switch {
		case opens && r.chosen: // another instance may have replaced the claim
			s.what = guarded
		case ends:
			s.what = last
		case opens:
			s.what = plain
		case len(chunk.Data) > 0:
			s.what = plain
		default:
			return
		}
		s.data, s.torn, events = chunk.Data, chunk.Torn, len(chunk.Ends)
		s.addEnds(chunk.Ends)
	}
	r.sent++
	s.number(r.events, r.sent)
	r.events += int64(events)
}

// read returns the next bytes of the stream, and whether they are the last ones before its end.
func (r *replica) read() (chunk store.Chunk, last bool) {
	if r.end == nil {
		chunk, r.grew, _ = r.tail.Next(r.next.scratch[:0])
		r.next.scratch, r.more = chunk.Ends, r.grew
		return chunk, false
	}
	if len(r.rest) > 0 {
		chunk = r.rest[0]
		r.rest[0] = store.Chunk{}
		r.rest = r.rest[1:]
		r.next.pinned = true
	}
	r.more = len(r.rest) > 0
	return chunk, !r.more
}

// settle notes what has become of the shipment. It returns false if the shipment failed: the replica then counts as
// queued, until retry queues it again.
func (r *replica) settle(o outcome) (ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := &r.next
	r.busy = false
	if s.expire != nil && (o <= unknown || s.expire.Err() != nil) {
		r.renewal = true
	}
	if o == unsent {
		r.begun, o = r.begun && !s.first, failed
	}
	switch {
	case o == unknown:
	case r.over && s.what >= unkeeping:
		if o == taken || time.Now().After(r.expires) {
			if r.cleanup == s.what { // else the stream has ended meanwhile
				r.cleanup = nothing
				r.of.cleaned(r)
			}
			s.reset()
			return true
		}
	case r.over:
		s.reset()
	case o == taken:
		r.took()
	case o == gone:
		r.giveUp()
	case o == foreign:
		metrics.givenUp.Inc()
		r.close()
	default:
		r.announce()
		if s.what != nothing && (r.header != nil || r.isEnded()) && time.Since(r.behind) > maxBehind {
			r.giveUp()
		}
	}
	if o == failed || o == refused {
		r.queued = true
		return false
	}
	return true
}

// took notes that Redis has the shipment.
func (r *replica) took() {
	s := &r.next
	r.behind = time.Now()
	if s.pinned {
		r.of.release(len(s.data))
	}
	if s.what == claim {
		r.claimed = true
		r.announce()
	}
	isLast := s.end != nil || s.failed != nil
	s.reset()
	if isLast {
		r.close()
	}
}

// retry queues the replica again after its shipment has failed.
func (r *replica) retry() {
	r.mu.Lock()
	r.queued = false
	d := r.queue()
	r.mu.Unlock()
	d.start()
}

// again queues the replica if it has more to send.
func (r *replica) again() *sender {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.queue()
}

// giveUp abandons a stream because Redis does not take it.
func (r *replica) giveUp() {
	metrics.givenUp.Inc()
	r.abandon()
}

// abandon stops sending the stream. Redis gets rid of what it has of the stream, because a listener would wait for the
// rest. If the stream goes on, its claim stays, so that its question is not asked again. If Redis cannot be reached in
// time, the key expires by itself.
func (r *replica) abandon() {
	if r.begun {
		r.unkept, r.expires = true, time.Now().Add(r.keep+spare)
		r.clean(unkeeping)
	}
	if r.isEnded() {
		r.remove()
	}
	r.close()
}

// remove removes the claim of a stream that was abandoned and has ended.
func (r *replica) remove() {
	if r.unkept {
		r.unkept = false
		r.clean(removal)
	}
}

// clean has Redis do something with an abandoned stream.
func (r *replica) clean(how what) {
	r.cleanup = how
	r.of.cleaning(r, r.unkept)
}

// close notes that nothing of the stream is sent any more.
func (r *replica) close() {
	r.over = true
	r.of.forget(r) // before local changes, which others read while the replica is known
	r.announce()
	if r.told || r.failed != nil {
		r.local, r.header = nil, nil
	}
	for _, chunk := range r.rest {
		r.of.release(len(chunk.Data))
	}
	if r.next.pinned {
		r.of.release(len(r.next.data))
	}
	r.rest, r.tail = nil, nil
	if !r.busy {
		r.next.reset()
	}
	close(r.done)
}
