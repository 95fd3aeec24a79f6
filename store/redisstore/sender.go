package redisstore

import (
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

// pauseTime is the time after which what has failed is tried again.
const pauseTime = 100 * time.Millisecond

// An entry that is sent alone costs Redis and this instance twice as much processor time as one that is sent with others.
// So entries gather before they are sent.
const (
	// gatherTime is the least time between two pipelines of a sender, unless somebody waits for a header.
	gatherTime = 4 * time.Millisecond

	// unreadTime is how long an entry may wait that nobody reads at another instance. Then one entry has several events.
	unreadTime = 50 * time.Millisecond
)

// sender sends the streams of this instance whose keys one shard has. While a pipeline is on its way, streams gather
// for the next one: the longer Redis takes, the more is sent at once. A sender has no goroutine of its own. The lane
// calls it.
type sender struct {
	of    *replicator
	shard *shard
	call  call

	mu      sync.Mutex
	queue   []*replica // for the next pipeline
	unread  []*replica // for the next pipeline after a while
	spare   []*replica // empty memory for the queue
	sending bool       // the call is in the lane, or waits after a failure
	awaited bool       // the next pipeline must not wait
	filled  time.Time  // when the last pipeline was filled
	since   time.Time  // since when the first one in unread waits
	due     time.Time  // the time for which the timer was set; zero: it is not needed
	timer   *time.Timer

	// Only the call uses these.
	shipped  []*replica
	commands []redis.Cmder
	news     announcements // in the same pipeline
}

func newSender(p *replicator, s *shard) *sender {
	d := &sender{of: p, shard: s}
	d.call = call{ctx: p.store.ctx, timeout: callTimeout, fill: d.fill, done: d.done}
	d.timer = time.AfterFunc(time.Hour, d.gathered) // mustSend sets the time
	d.timer.Stop()
	return d
}

// add queues a replica. The caller must start the sender afterwards.
func (d *sender) add(r *replica, u urgency) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if u > unread {
		d.queue = append(d.queue, r)
		d.awaited = d.awaited || u == awaited
		return
	}
	if len(d.unread) == 0 {
		d.since = time.Now()
	}
	d.unread = append(d.unread, r)
}

// start sends what is queued, if nothing is on its way, or sets the timer for that. A nil sender has nothing to send.
// The caller must hold no lock.
func (d *sender) start() {
	if d != nil && d.mustSend() {
		d.shard.bulk().add(&d.call)
	}
}

// mustSend reports whether the caller must add the call to the lane.
func (d *sender) mustSend() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sending || len(d.queue)+len(d.unread) == 0 {
		return false
	}
	now, due := time.Now(), d.sendAt()
	if d.sending = d.awaited || !due.After(now); d.sending {
		d.due = time.Time{}
		return true
	}
	if d.due.IsZero() || due.Before(d.due) {
		d.due = due
		d.timer.Reset(due.Sub(now))
	}
	return false
}

// sendAt returns when the next pipeline may be sent, unless it must not wait. The caller holds the lock.
func (d *sender) sendAt() time.Time {
	gathered, late := d.filled.Add(gatherTime), d.since.Add(unreadTime)
	if len(d.queue) == 0 || len(d.unread) > 0 && late.Before(gathered) {
		return late
	}
	return gathered
}

// gathered is what the timer calls.
func (d *sender) gathered() {
	d.mu.Lock()
	d.due = time.Time{}
	d.mu.Unlock()
	d.start()
}

// take returns the replicas for the next pipeline, or all of them, also those that may wait longer.
func (d *sender) take(all bool) []*replica {
	d.mu.Lock()
	defer d.mu.Unlock()
	queue := d.queue
	d.queue, d.spare = d.spare, nil
	d.filled, d.awaited = time.Now(), false
	if all || d.filled.Sub(d.since) >= unreadTime {
		queue = append(queue, d.unread...)
		clear(d.unread)
		d.unread = d.unread[:0]
	}
	return queue
}

// fill returns the commands of the next pipeline: what the replicas in the queue have, up to about maxBatch bytes.
func (d *sender) fill() []redis.Cmder {
	queue, size := d.take(false), 0
	d.shipped, d.commands = d.shipped[:0], d.commands[:0]
	var ids []string
	for i, r := range queue {
		if size >= maxBatch || len(d.commands) >= maxCommands {
			d.mu.Lock()
			d.queue, d.awaited = append(d.queue, queue[i:]...), true
			d.mu.Unlock()
			break
		}
		if s := r.ship(); s != nil {
			d.shipped = append(d.shipped, r)
			d.commands = s.appendTo(d.commands)
			size += len(s.data)
			if s.isNews() {
				ids = append(ids, r.id)
			}
		}
	}
	d.news = d.of.store.announce(d.shard, ids)
	for _, news := range d.news {
		d.commands = append(d.commands, news.command)
	}
	clear(queue)
	d.mu.Lock()
	d.spare = queue[:0]
	d.mu.Unlock()
	return d.commands
}

// done handles the replies of a pipeline. err is not nil if a command has none. A caller with an error may hold locks
// of the link.
func (d *sender) done(err error) {
	if err != nil {
		go d.fail(err)
		return
	}
	var refusal error
	var retries []*replica
	var sent []string
	for _, r := range d.shipped {
		o, err := r.next.outcome()
		if o == redirected {
			go d.follow(r)
			continue
		}
		if err != nil {
			refusal = err
		}
		if o == taken && r.next.isNews() {
			sent = append(sent, r.id)
		}
		if !r.settle(o) {
			retries = append(retries, r)
			continue
		}
		if next := r.again(); next != d { // the key has moved
			next.start()
		}
	}
	if refusal != nil {
		d.of.store.link.refused(refusal)
	}
	d.of.store.announced(d.news, sent)
	d.retry(retries)
	d.clear()
	d.mu.Lock()
	d.sending = false
	d.mu.Unlock()
	d.start()
}

// clear forgets what was sent.
func (d *sender) clear() {
	clear(d.shipped)
	clear(d.commands)
	d.shipped, d.commands = d.shipped[:0], d.commands[:0]
}

// retry queues replicas again after a pause.
func (d *sender) retry(replicas []*replica) {
	if len(replicas) == 0 {
		return
	}
	time.AfterFunc(pauseTime, func() {
		for _, r := range replicas {
			r.retry()
		}
	})
}

// fail handles a pipeline without replies. All that is in the queue waits, too.
func (d *sender) fail(err error) {
	if d.of.store.ctx.Err() != nil {
		return
	}
	if len(d.shipped) == 0 {
		d.fill() // so that each stream in it notes that it waits
	}
	retries := slices.Clone(d.shipped)
	o, pause := failed, pauseTime
	if errors.Is(err, errDown) || errors.Is(err, errCrowd) || errors.Is(err, errGone) {
		o = unsent
	}
	for _, r := range retries {
		r.settle(o)
	}
	d.clear()
	if errors.Is(err, errGone) {
		d.of.drop(d.shard)
		pause = 0
	}
	time.AfterFunc(pause, func() {
		d.mu.Lock()
		d.sending = false
		d.mu.Unlock()
		for _, r := range append(d.take(true), retries...) { // the shard may have lost their keys to another one
			r.retry()
		}
	})
}

// follow sends the shipment of a replica to the shard to which the Redis Cluster redirects it.
func (d *sender) follow(r *replica) {
	l := d.of.store.link
	err := l.follow(d.of.store.ctx, r.key, r.next.appendTo(nil), func(to *shard, commands []redis.Cmder) error {
		answer := make(chan error, 1)
		to.bulk().add(&call{
			ctx: d.of.store.ctx, timeout: callTimeout, commands: commands, done: func(err error) { answer <- err },
		})
		return <-answer // not earlier, because the shipment's memory is used again
	})
	o := failed
	if err == nil {
		o, _ = r.next.outcome() // follow tells of a refusal
		switch {
		case o == redirected:
			o = failed
		case o == taken && r.next.isNews():
			d.of.store.announced(nil, []string{r.id})
		}
	}
	if r.settle(o) {
		r.again().start()
	} else {
		d.retry([]*replica{r})
	}
}
