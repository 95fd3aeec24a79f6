package redisstore

import (
	"strconv"
	"sync"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// maxEntry is the maximum number of bytes in an entry, unless a single chunk is larger.
const maxEntry = 64 << 10

// replica is the copy in Redis of a stream that this instance writes. It tracks what Redis has, and what is yet to be
// sent.
type replica struct {
	id    string
	key   string
	of    *replicator
	local store.Source
	keep  time.Duration
	done  chan struct{} // closed when nothing is left to be sent

	mu      sync.Mutex
	entries []*entry  // to be sent
	behind  time.Time // since when the first of them has waited
	sent    int64     // how many entries have an id: they have been sent, or are next
	events  int64     // how many events end in those entries
	begun   bool      // Redis may have a part of the stream
	renewal bool      // the key's time to live must be renewed
	ended   bool
	over    bool // nothing more is sent: Redis has everything, or the stream was abandoned
	queued  bool // the replica is in the replicator's queue
}

// add queues a chunk of the stream for Redis, and the stream's end if end is not nil.
func (r *replica) add(chunk store.Chunk, end *store.End) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.over {
		return
	}
	if !r.of.hold(len(chunk.Data)) {
		r.giveUp()
		return
	}
	n := len(r.entries)
	if n == 0 {
		r.behind = time.Now()
	}
	if n == 0 || r.entries[n-1].id != "" || len(r.entries[n-1].data)+len(chunk.Data) > maxEntry {
		r.entries = append(r.entries, new(entry))
		n++
	}
	last := r.entries[n-1]
	for _, at := range chunk.Ends {
		last.ends = append(last.ends, len(last.data)+at)
	}
	last.data = append(last.data, chunk.Data...)
	last.torn = chunk.Torn
	last.end = end
	r.ended = end != nil
	r.queue()
}

// isKept reports whether the stream can be resumed at this instance. If not, it was too large for the memory, and it
// can be resumed nowhere.
func (r *replica) isKept() bool {
	_, err := r.of.store.local.Find(r.of.store.ctx, r.id)
	return err == nil
}

// drop abandons a stream that is no longer kept.
func (r *replica) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.abandon()
	}
}

// queue puts the replica into the replicator's queue, unless it is there already.
func (r *replica) queue() {
	if !r.queued {
		r.queued = true
		r.of.queue(r)
	}
}

// next returns the entry to be sent next, or nil if there is none. It gives the entry its id.
func (r *replica) next() *entry {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.entries) == 0 || r.over {
		return nil
	}
	e := r.entries[0]
	if e.id == "" {
		r.sent++
		e.id = strconv.FormatInt(r.events, 10) + "-" + strconv.FormatInt(r.sent, 10)
		r.events += int64(len(e.ends))
	}
	return e
}

// took notes that Redis has the entry.
func (r *replica) took(e *entry) {
	r.of.release(len(e.data))
	r.entries[0] = nil
	r.entries = r.entries[1:]
	r.behind = time.Now()
	if e.end != nil {
		r.close()
	}
}

// giveUp abandons a stream because Redis does not take it.
func (r *replica) giveUp() {
	metrics.givenUp.Inc()
	r.abandon()
}

// abandon stops sending the stream. It removes what Redis has of the stream, because a listener would wait for the
// rest.
func (r *replica) abandon() {
	for _, e := range r.entries {
		r.of.release(len(e.data))
	}
	r.entries = nil
	r.close()
	if r.begun {
		r.of.remove(r.key, r.keep)
	}
}

func (r *replica) close() {
	r.over = true
	close(r.done)
	r.of.forget(r.id)
}
