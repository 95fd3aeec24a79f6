package shutdown

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// Stream is an open stream that a shutdown can cancel. Its methods must not call Add, Remove or Count, because the set
// of streams is locked while they run.
type Stream interface {
	// Cancel ends the stream because of cause.
	Cancel(cause error)

	// IsHeard reports whether a visitor is connected, or may come back although this process exits.
	IsHeard() bool
}

// Role says what a stream does.
type Role int

const (
	Exchange Role = iota // asks the upstream, and passes the answer on or records it
	Listener             // passes an answer on that an exchange records, here or at another instance
)

// streams holds the open streams of the whole process, including those of replaced configs. After a reload, Caddy no
// longer notifies the handlers of the old config.
var streams streamSet

type streamSet struct {
	mu     sync.Mutex
	roles  map[Stream]Role
	counts [Listener + 1]int // how many streams have each role
	idle   chan struct{}     // closed when no exchange is open; nil: nobody waits for that
	ending []*rule           // cancel also the streams that are added
	closed bool              // the process exits, and no time is left for further streams
	until  time.Time         // the end of the grace period of the exit, once that has begun
}

// rule selects streams that must end.
type rule struct{ match func(Stream) bool }

// Add registers an open stream. It cancels the stream at once if no time is left for it before Caddy closes its
// connection.
func Add(s Stream, role Role) { streams.add(s, role) }

// Remove unregisters a stream that has ended.
func Remove(s Stream) { streams.remove(s) }

// Count returns how many streams with a role are open.
func Count(role Role) int { return streams.count(role) }

func (s *streamSet) add(stream Stream, role Role) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.roles == nil {
		s.roles = make(map[Stream]Role)
	}
	s.roles[stream] = role
	s.counts[role]++
	if s.closed || s.mustEnd(stream) {
		stream.Cancel(apierror.ShuttingDown)
	}
}

// mustEnd reports whether a rule selects the stream. The caller holds mu.
func (s *streamSet) mustEnd(stream Stream) bool {
	for _, r := range s.ending {
		if r.match(stream) {
			return true
		}
	}
	return false
}

func (s *streamSet) remove(stream Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if role, open := s.roles[stream]; open {
		delete(s.roles, stream)
		s.counts[role]--
	}
	if s.idle != nil && s.counts[Exchange] == 0 {
		close(s.idle)
		s.idle = nil
	}
}

func (s *streamSet) count(role Role) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.counts[role]
}

// closeWithin cancels all streams shortly before the end of a grace period that begins now. Streams without a visitor
// are canceled at once.
func (s *streamSet) closeWithin(grace time.Duration) {
	s.mu.Lock()
	s.until = time.Now().Add(grace)
	s.mu.Unlock()
	s.end(func(stream Stream, _ Role) bool { return !stream.IsHeard() }) // no visitor can come back to these
	beforeTheEndOf(grace, s.close)
}

// close cancels all streams, including those that are added later. left is the time until Caddy closes the connections.
// Exchanges end first, so that their listeners can pass on the finish that an exchange records. Listeners end when all
// exchanges have ended, but no later than after half of left.
func (s *streamSet) close(left time.Duration) {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end(func(_ Stream, role Role) bool { return role == Exchange })
	select {
	case <-s.withoutExchanges():
	case <-time.After(left / 2):
	}
	s.end(func(_ Stream, role Role) bool { return role == Listener })
}

// withoutExchanges returns a channel that is closed when no exchange is open.
func (s *streamSet) withoutExchanges() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	idle := s.idle
	if idle == nil {
		idle = make(chan struct{})
	}
	if s.counts[Exchange] == 0 {
		close(idle)
		return idle
	}
	s.idle = idle
	return idle
}

// end cancels the streams for which match returns true.
func (s *streamSet) end(match func(Stream, Role) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for stream, role := range s.roles {
		if match(stream, role) {
			stream.Cancel(apierror.ShuttingDown)
		}
	}
}

// endFor cancels the streams for which match returns true. During the next d, it also cancels those that are added.
func (s *streamSet) endFor(match func(Stream) bool, d time.Duration) {
	r := &rule{match}
	s.mu.Lock()
	s.ending = append(s.ending, r)
	s.mu.Unlock()
	s.end(func(stream Stream, _ Role) bool { return match(stream) })
	time.AfterFunc(d, func() { s.forget(r) })
}

// forget removes a rule.
func (s *streamSet) forget(r *rule) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ending = slices.DeleteFunc(s.ending, func(other *rule) bool { return other == r })
}

// awaitExit delays the exit while streams are open for which Caddy itself does not wait. Such streams can belong to a
// server whose grace period after a reload is over. awaitExit waits until the exit's grace period ends. If that is over
// already, and the streams are not canceled yet, it cancels them and waits for one second.
func (s *streamSet) awaitExit() {
	s.mu.Lock()
	open, told, until := len(s.roles), s.closed, s.until
	s.mu.Unlock()
	switch late := !time.Now().Before(until); {
	case open == 0, late && told:
		return
	case late:
		until = time.Now().Add(time.Second)
		s.close(time.Second)
	}
	for !s.isEmpty() && time.Now().Before(until) {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond) // their last bytes are written meanwhile
}

func (s *streamSet) isEmpty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.roles) == 0
}

func init() {
	caddy.OnExit(func(context.Context) { streams.awaitExit() })
}

// Options describes the streams of one handler.
type Options struct {
	MaxDuration time.Duration // the longest time that a stream takes

	// EndsAtReload reports whether a stream must end when a reload replaces the handler's server.
	EndsAtReload func(Stream) bool
}

// Watch cancels open streams before Caddy closes their connections at the end of its grace period. It does so in time
// for a finish. When the process exits, it cancels all of them. When a reload replaces this handler's server, it
// cancels those over HTTP/3, which options.EndsAtReload selects. Without a grace period, Caddy waits for streams. Watch
// then cancels only those to which no visitor can come back, when the process exits.
func Watch(ctx caddy.Context, options Options) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return
	}
	grace := gracePeriod(ctx)
	server.RegisterOnShutdown(func() {
		if caddy.Exiting() {
			streams.closeWithin(grace)
			return
		}
		beforeTheEndOf(grace, func(left time.Duration) {
			streams.endFor(options.EndsAtReload, left)
		})
		exitLookout.watch(options.MaxDuration)
	})
}

// gracePeriod returns the HTTP app's grace period; 0 means none. It looks through the modules of ctx, because the app
// is still being provisioned.
func gracePeriod(ctx caddy.Context) time.Duration {
	for _, module := range ctx.Modules() {
		if app, ok := module.(*caddyhttp.App); ok {
			return time.Duration(app.GracePeriod)
		}
	}
	return 0
}

// beforeTheEndOf calls f shortly before the end of a grace period that begins now, in time to send a finish. It calls f
// 1 s before the end, or a fifth of grace if that is less, and tells f that time. It never calls f if grace is 0.
func beforeTheEndOf(grace time.Duration, f func(left time.Duration)) {
	if grace > 0 {
		left := min(time.Second, grace/5)
		time.AfterFunc(grace-left, func() { f(left) })
	}
}
