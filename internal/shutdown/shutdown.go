package shutdown

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// Exchange is an exchange that a shutdown can cancel. Its methods must not call Add, Remove or Count, because the set of
// exchanges is locked while they run.
type Exchange interface {
	// Cancel ends the exchange because of cause.
	Cancel(cause error)

	// IsHeard reports whether a visitor is connected, or may come back although this process exits.
	IsHeard() bool
}

// exchanges holds the open exchanges of the whole process, including those of replaced configs. After a reload, Caddy
// no longer notifies the handlers of the old config.
var exchanges exchangeSet

type exchangeSet struct {
	mu     sync.Mutex
	set    map[Exchange]struct{}
	closed bool      // the process exits, and no time is left for further exchanges
	until  time.Time // the end of the grace period of the exit, once that has begun
}

// Add registers an open exchange. It cancels the exchange at once if the process is about to exit.
func Add(ex Exchange) { exchanges.add(ex) }

// Remove unregisters an exchange that has ended.
func Remove(ex Exchange) { exchanges.remove(ex) }

// Count returns how many exchanges are open.
func Count() int { return exchanges.count() }

func (s *exchangeSet) add(ex Exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = make(map[Exchange]struct{})
	}
	s.set[ex] = struct{}{}
	if s.closed {
		ex.Cancel(apierror.ShuttingDown)
	}
}

func (s *exchangeSet) remove(ex Exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.set, ex)
}

func (s *exchangeSet) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.set)
}

// closeWithin cancels all exchanges shortly before the end of a grace period that begins now. Exchanges without a
// visitor are canceled at once.
func (s *exchangeSet) closeWithin(grace time.Duration) {
	s.mu.Lock()
	s.until = time.Now().Add(grace)
	s.mu.Unlock()
	s.end(func(ex Exchange) bool { return !ex.IsHeard() }) // no visitor can come back to these
	beforeTheEndOf(grace, s.close)
}

// close cancels all exchanges, including those that are added later.
func (s *exchangeSet) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end(func(Exchange) bool { return true })
}

// end cancels the exchanges for which match returns true.
func (s *exchangeSet) end(match func(Exchange) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ex := range s.set {
		if match(ex) {
			ex.Cancel(apierror.ShuttingDown)
		}
	}
}

// awaitExit delays the exit while exchanges are open for which Caddy itself does not wait. Such exchanges can belong to
// a server whose grace period after a reload is over. awaitExit waits until the exit's grace period ends. If that is
// over already, and the exchanges are not canceled yet, it cancels them and waits for one second.
func (s *exchangeSet) awaitExit() {
	s.mu.Lock()
	open, told, until := len(s.set), s.closed, s.until
	s.mu.Unlock()
	switch late := !time.Now().Before(until); {
	case open == 0, late && told:
		return
	case late:
		s.close()
		until = time.Now().Add(time.Second)
	}
	for !s.isEmpty() && time.Now().Before(until) {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(20 * time.Millisecond) // their last bytes are written meanwhile
}

func (s *exchangeSet) isEmpty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.set) == 0
}

func init() {
	caddy.OnExit(func(context.Context) { exchanges.awaitExit() })
}

// Options describes the exchanges of one handler.
type Options struct {
	MaxDuration time.Duration // the longest time that an exchange takes

	// EndsAtReload reports whether an exchange must end when a reload replaces the handler's server.
	EndsAtReload func(Exchange) bool
}

// Watch cancels open exchanges before Caddy closes their connections at the end of its grace period. It does so in time
// for a finish. When the process exits, it cancels all of them. When a reload replaces this handler's server, it
// cancels those over HTTP/3, which options.EndsAtReload selects. Without a grace period, Caddy waits for exchanges.
// Watch then cancels only those to which no visitor can come back, when the process exits.
func Watch(ctx caddy.Context, options Options) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return
	}
	grace := gracePeriod(ctx)
	server.RegisterOnShutdown(func() {
		if caddy.Exiting() {
			exchanges.closeWithin(grace)
			return
		}
		beforeTheEndOf(grace, func() {
			exchanges.end(options.EndsAtReload)
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
// 1 s before the end, or a fifth of grace if that is less. It never calls f if grace is 0.
func beforeTheEndOf(grace time.Duration, f func()) {
	if grace > 0 {
		time.AfterFunc(grace-min(time.Second, grace/5), f)
	}
}
