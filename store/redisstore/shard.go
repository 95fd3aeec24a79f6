package redisstore

import (
	"context"
	"errors"
	"hash/maphash"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"
)

// errGone is the error of a call to a shard that is no longer a part of the Redis Cluster.
var errGone = errors.New("the node is no longer a part of the Redis Cluster")

// shard is one server: a master of a Redis Cluster, or the only server.
type shard struct {
	link    *link
	address string
	client  *redis.Client
	lanes   [countingLanes + otherLanes]lane
	doubted atomic.Bool // a count had no answer, and the shard has not answered since
	pulse   wire        // for heartbeats, so that no crowd of visitors holds them up
	beating atomic.Bool

	roundTrip atomic.Int64 // how long the last heartbeat waited for a reply, in nanoseconds
	scripts   sync.Map     // the scripts that the server knows

	answered atomic.Int64 // when the shard answered last, as time since epoch

	mu     sync.Mutex
	isDown bool
	gone   bool  // nothing is sent any more
	spare  *wire // for the next call that blocks; nil: there is none
}

// purpose is what a call is for. Calls with different purposes have different lanes, so a crowd of one kind does not
// delay the others.
type purpose int

const (
	forCounts  purpose = iota // visitors' chats are counted
	forClaims                 // claims, checks of leases, and other small calls whose number no crowd of visitors raises
	forStops                  // streams that are to be stopped, and orders to stop them
	forStreams                // the streams that this instance writes
	forReads                  // streams that other instances write, with replies of any size
)

// Calls that count have several lanes. Each other purpose has one.
const (
	countingLanes = 4
	otherLanes    = int(forReads)
)

// decides reports whether a call without an answer in time means that the shard is down. Other calls have too little
// time for that, or too large replies. A heartbeat decides then.
func (p purpose) decides() bool { return p == forClaims || p == forStreams }

// reads reports whether replies can be large, because calls read entries of streams.
func (p purpose) reads() bool { return p == forReads || p == forStops }

// gathers reports whether calls with the purpose may wait a moment for others. Each chat has one of these.
func (p purpose) gathers() bool { return p == forCounts || p == forClaims || p == forStreams }

func newShard(l *link, address string, client *redis.Client) *shard {
	s := &shard{link: l, address: address, client: client, pulse: wire{client: client}}
	s.heard() // so that claims wait for a Redis that starts a moment later
	for i := range s.lanes {
		s.lanes[i].shard, s.lanes[i].wire = s, wire{client: client, roundTrip: &s.roundTrip}
		s.lanes[i].purpose, s.lanes[i].reply = purpose(max(0, i-countingLanes+1)), firstReply
	}
	return s
}

var laneSeed = maphash.MakeSeed()

// lane returns the lane for calls with a key and a purpose. It is always the same one, so that these calls stay in
// order.
func (s *shard) lane(key string, p purpose) *lane {
	if p != forCounts {
		return &s.lanes[countingLanes+int(p)-1]
	}
	return &s.lanes[maphash.String(laneSeed, key)%countingLanes]
}

// bulk returns the lane for the streams of this instance.
func (s *shard) bulk() *lane { return s.lane("", forStreams) }

func (s *shard) down() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.isDown
}

// epoch is some time in the past.
var epoch = time.Now()

// silentFor returns for how long the shard has not answered.
func (s *shard) silentFor() time.Duration {
	return time.Since(epoch) - time.Duration(s.answered.Load())
}

// heard notes that the shard has answered.
func (s *shard) heard() {
	s.answered.Store(int64(time.Since(epoch)))
	s.doubted.Store(false)
}

// evaluate adds a script to a pipeline: its text, or only its hash if the shard knows the script.
func (s *shard) evaluate(ctx context.Context, p redis.Pipeliner, script *redis.Script, keys []string, args []any) *redis.Cmd {
	if _, known := s.scripts.Load(script); known {
		return script.EvalSha(ctx, p, keys, args...)
	}
	return script.Eval(ctx, p, keys, args...)
}

// knows notes from the error of a script whether the shard knows the script now. It returns false if the script's text
// must be sent.
func (s *shard) knows(script *redis.Script, err error) bool {
	switch {
	case err == nil:
		s.scripts.Store(script, true)
	case redis.HasErrorPrefix(err, "NOSCRIPT"):
		s.scripts.Delete(script)
		return false
	}
	return true
}

// fail notes that the shard cannot be reached. Calls that wait for it do not wait any longer.
func (s *shard) fail(err error) {
	metrics.failures.Inc()
	s.mu.Lock()
	was := s.isDown
	s.isDown = true
	s.mu.Unlock()
	if !was {
		s.link.tell(err)
	}
	s.link.topology.reload()
	for i := range s.lanes {
		s.lanes[i].fail(errDown)
	}
}

// note notes the error of a pipeline. A reply that the link does not understand is no reason to ask no more.
func (s *shard) note(err error) {
	switch {
	case err == nil:
		s.heard()
	case s.link.ctx.Err() != nil:
	case isGarbled(err):
		s.link.refused(err)
	default:
		s.fail(err)
	}
}

// late notes that a call that began some time ago had no answer in time. If the shard has not answered anything else
// meanwhile, the next calls that count do not wait for it until it does.
func (s *shard) late(p purpose, took time.Duration) {
	metrics.failures.Inc()
	if p == forCounts && s.silentFor() >= took {
		s.doubted.Store(true)
	}
}

// mend notes that the shard can be reached again.
func (s *shard) mend() {
	s.heard()
	s.mu.Lock()
	was := s.isDown
	s.isDown = s.gone
	s.mu.Unlock()
	if was {
		s.link.tellWell()
	}
}

// retire ends the use of the shard. Calls that wait for it find another shard.
func (s *shard) retire() {
	s.mu.Lock()
	s.gone = true
	s.mu.Unlock()
	for i := range s.lanes {
		s.lanes[i].fail(errGone)
	}
	time.AfterFunc(2*callTimeout, func() { _ = s.client.Close() }) // by then, every pipeline has ended
}

// close closes the connections. Nothing is sent any more.
func (s *shard) close() error {
	s.mu.Lock()
	s.isDown, s.gone = true, true
	s.mu.Unlock()
	for i := range s.lanes {
		s.lanes[i].fail(errDown)
	}
	return s.client.Close()
}

// block sends commands that block in Redis.
func (s *shard) block(ctx context.Context, commands []redis.Cmder) error {
	s.mu.Lock()
	w := s.spare
	s.spare = nil
	s.mu.Unlock()
	if w == nil {
		w = &wire{client: s.client}
	}
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.spare == nil && !s.gone {
			s.spare, w = w, nil
		} else {
			w.drop()
		}
	}()
	send := func(ctx context.Context, conn *redis.Conn) error { return pipeline(ctx, conn, commands) }
	if w.conn != nil {
		err := w.try(ctx, send)
		if !isBroken(err) || ctx.Err() != nil {
			return err
		}
	}
	w.conn = s.client.EphemeralConn()
	return w.try(ctx, send)
}

// wire is a connection that is kept open. One goroutine at a time uses it.
type wire struct {
	client *redis.Client
	conn   *redis.Conn   // nil: none is open
	proven bool          // the connection has had an answer
	slow   time.Duration // how long Redis took lately for an answer on a proven connection

	roundTrip *atomic.Int64 // the shard's; nil: it is unknown
}

// run runs f with the connection, for the given time at most. If a kept connection turns out to be dead, run repeats f
// once with a fresh one. A server or a firewall may have dropped a connection without a word, so a kept connection gets
// only a part of the time.
func (w *wire) run(ctx context.Context, timeout time.Duration, f func(context.Context, *redis.Conn) error) error {
	began := time.Now()
	patience := timeout
	if w.conn != nil {
		patience = min(timeout, max(timeout/3, 4*w.usual()))
		short, cancel := context.WithTimeout(ctx, patience)
		err := w.try(short, f)
		cancel()
		if !isBroken(err) || ctx.Err() != nil || time.Since(began) > timeout*3/4 {
			return err
		}
	}
	first := time.Since(began)
	w.conn = w.client.EphemeralConn()
	ctx, cancel := context.WithTimeout(ctx, timeout-first)
	defer cancel()
	err := w.try(ctx, f)
	if err == nil && first >= patience && time.Since(began)-first > patience/2 {
		w.slow = max(w.slow, patience/2) // the connection was not dead, but Redis slow
	}
	return err
}

// try runs f once, with the open connection. It closes the connection after an error.
func (w *wire) try(ctx context.Context, f func(context.Context, *redis.Conn) error) error {
	began := time.Now()
	err := f(ctx, w.conn)
	if err != nil {
		w.drop()
		return err
	}
	if w.proven {
		w.slow = max(time.Since(began), w.slow*7/8)
	}
	w.proven = true
	return nil
}

// usual returns how long Redis takes for an answer.
func (w *wire) usual() time.Duration {
	if w.roundTrip == nil {
		return w.slow
	}
	return max(w.slow, time.Duration(w.roundTrip.Load()))
}

// drop closes the connection.
func (w *wire) drop() {
	if w.conn != nil {
		_ = w.conn.Close()
		w.conn, w.proven = nil, false
	}
}

// isBroken reports whether err means that a connection is dead, or that there was no answer.
func isBroken(err error) bool {
	return err != nil && !isReply(err) && !isGarbled(err) && !errors.Is(err, redis.ErrClosed)
}

// isLate reports whether err means that there was no answer in time.
func isLate(err error) bool {
	n, ok := errors.AsType[net.Error](err)
	return ok && n.Timeout() || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, redis.ErrPoolTimeout)
}

// isGarbled reports whether err means that Redis has sent a reply of another type than the command has.
func isGarbled(err error) bool {
	text := err.Error()
	return errors.Is(err, errReply) || strings.HasPrefix(text, "redis: can't parse") || strings.HasPrefix(text, "redis: got") || strings.HasPrefix(text, "redis: unexpected")
}

// pipeliner makes pipelines: a connection, or a client that takes any of its connections.
type pipeliner interface{ Pipeline() redis.Pipeliner }

// pipeline sends commands in one pipeline. It returns an error if a command has no reply.
func pipeline(ctx context.Context, to pipeliner, commands []redis.Cmder) error {
	for _, c := range commands {
		c.SetErr(nil) // of an earlier attempt
	}
	pipe := to.Pipeline()
	_ = pipe.BatchProcess(ctx, commands...) // never fails
	_, err := pipe.Exec(ctx)
	if err == nil {
		return nil
	}
	sent := false
	for _, c := range commands {
		if err := c.Err(); err != nil && !isReply(err) {
			return err
		} else if err != nil {
			sent = true
		}
	}
	if !sent { // err is the reply to the login
		for _, c := range commands {
			c.SetErr(err)
		}
	}
	return nil
}
