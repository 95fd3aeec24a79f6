package redisstore

import (
	"strconv"
	"sync"
	"time"

	"github.com/illumichat/caddy-illumichat/store"
)

// maxEntry is how many bytes are sent at once of one stream, unless a single chunk is larger.
const maxEntry = 64 << 10

// replica is what Redis has, and is yet to have, of a stream that is written here.
type replica struct {
	id    string
	key   string
	of    *replicator
	local store.Source
	keep  time.Duration
	done  chan struct{} // closed when nothing is left to be sent

	mu      sync.Mutex
	entries []*entry  // to be sent
	behind  time.Time // since when there are some
	sent    int64     // how many entries have left
	events  int64     // that are in those
	begun   bool      // Redis may have something
	renewal bool      // the key needs a new time to live
	ended   bool
	over    bool // nothing more is sent: all was, or it was given up
	queued  bool // the replicator knows that there is something to do
}

// add adds what the stream goes on with, and maybe ends with.
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

// isKept reports whether the stream can be resumed here. Where it cannot, it was too large, and can be resumed nowhere.
func (r *replica) isKept() bool {
	_, err := r.of.store.local.Find(r.of.store.ctx, r.id)
	return err == nil
}

// drop abandons a stream that is kept no longer.
func (r *replica) drop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.over {
		r.abandon()
	}
}

// queue has the replicator look at r.
func (r *replica) queue() {
	if !r.queued {
		r.queued = true
		r.of.queue(r)
	}
}

// next returns what is to be sent next, if there is something.
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

// giveUp abandons a stream that Redis does not take.
func (r *replica) giveUp() {
	metrics.givenUp.Inc()
	r.abandon()
}

// abandon has the stream sent no further. What Redis has of it is removed: a listener would wait for the rest.
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
