package shutdown

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// Exchange is an exchange that can be told of a shutdown.
type Exchange interface {
	// Cancel ends the exchange, because of cause.
	Cancel(cause error)

	// IsHeard reports whether there is a visitor, or may be one although this process exits.
	IsHeard() bool
}

// exchanges are the open ones of the whole process, of replaced configs too: after a reload, the handlers
// of the old config are no longer told of anything.
var exchanges exchangeSet

type exchangeSet struct {
	mu     sync.Mutex
	set    map[Exchange]struct{}
	closed bool      // the process exits, and has no time for further ones
	until  time.Time // the end of its grace period, once that has begun
}

// Add notes an exchange that is open. It is cancelled at once if the process is about to exit.
func Add(ex Exchange) { exchanges.add(ex) }

// Remove notes that an exchange is closed.
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

// closeWithin ends all exchanges when a grace period that begins now is nearly over.
func (s *exchangeSet) closeWithin(grace time.Duration) {
	s.mu.Lock()
	s.until = time.Now().Add(grace)
	s.mu.Unlock()
	s.end(func(ex Exchange) bool { return !ex.IsHeard() }) // nobody can come back
	beforeTheEndOf(grace, s.close)
}

// close ends all exchanges, those that are yet to come included.
func (s *exchangeSet) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end(func(Exchange) bool { return true })
}

// end ends the exchanges that match.
func (s *exchangeSet) end(match func(Exchange) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ex := range s.set {
		if match(ex) {
			ex.Cancel(apierror.ShuttingDown)
		}
	}
}

// awaitExit has the process wait for exchanges that are still open when Caddy itself waits no longer. It does not wait
// for servers whose grace period after a reload is over.
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
	time.Sleep(20 * time.Millisecond) // in which their last bytes are written
}

func (s *exchangeSet) isEmpty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.set) == 0
}

func init() {
	caddy.OnExit(func(context.Context) { exchanges.awaitExit() })
}

// Options are about the exchanges of one handler.
type Options struct {
	MaxDuration time.Duration // of an exchange

	// EndsAtReload reports whether an exchange is over when a reload replaces the handler's server.
	EndsAtReload func(Exchange) bool
}

// Watch has open exchanges told, in time for a finish, when Caddy is going to close their
// connections at the end of its grace period: all of them when the process exits, and those over HTTP/3
// when a reload replaces this handler's server. Without a grace period Caddy waits for them.
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

// gracePeriod reads it off the HTTP app, which is still being provisioned.
func gracePeriod(ctx caddy.Context) time.Duration {
	for _, module := range ctx.Modules() {
		if app, ok := module.(*caddyhttp.App); ok {
			return time.Duration(app.GracePeriod)
		}
	}
	return 0
}

// beforeTheEndOf calls f while there is still time to send a finish in a grace period that begins now.
func beforeTheEndOf(grace time.Duration, f func()) {
	if grace > 0 {
		time.AfterFunc(grace-min(time.Second, grace/5), f)
	}
}
