package illumichat

import (
	"context"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// shutdownExchange is an exchange that can be told of a shutdown.
type shutdownExchange interface {
	// Cancel ends the exchange, because of cause.
	Cancel(cause error)

	// IsHeard reports whether there is a visitor, or may be one although this process exits.
	IsHeard() bool
}

// openExchanges are those of the whole process, of replaced configs too: after a reload, the handlers
// of the old config are no longer told of anything.
var openExchanges exchangeSet

type exchangeSet struct {
	mu     sync.Mutex
	set    map[shutdownExchange]struct{}
	closed bool      // the process exits, and has no time for further ones
	until  time.Time // the end of its grace period, once that has begun
}

// addExchange notes an exchange that is open. It is cancelled at once if the process is about to exit.
func addExchange(ex shutdownExchange) { openExchanges.add(ex) }

// removeExchange notes that an exchange is closed.
func removeExchange(ex shutdownExchange) { openExchanges.remove(ex) }

// countExchanges returns how many exchanges are open.
func countExchanges() int { return openExchanges.count() }

func (s *exchangeSet) add(ex shutdownExchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = make(map[shutdownExchange]struct{})
	}
	s.set[ex] = struct{}{}
	if s.closed {
		ex.Cancel(apierror.ShuttingDown)
	}
}

func (s *exchangeSet) remove(ex shutdownExchange) {
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
	s.end(func(ex shutdownExchange) bool { return !ex.IsHeard() }) // nobody can come back
	beforeTheEndOf(grace, s.close)
}

// close ends all exchanges, those that are yet to come included.
func (s *exchangeSet) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end(func(shutdownExchange) bool { return true })
}

// end ends the exchanges that match.
func (s *exchangeSet) end(match func(shutdownExchange) bool) {
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
	caddy.OnExit(func(context.Context) { openExchanges.awaitExit() })
}

// shutdownOptions are about the exchanges of one handler.
type shutdownOptions struct {
	maxDuration time.Duration // of an exchange

	// endsAtReload reports whether an exchange is over when a reload replaces the handler's server.
	endsAtReload func(shutdownExchange) bool
}

// watchShutdown has open exchanges told, in time for a finish, when Caddy is going to close their
// connections at the end of its grace period: all of them when the process exits, and those over HTTP/3
// when a reload replaces this handler's server. Without a grace period Caddy waits for them.
func watchShutdown(ctx caddy.Context, options shutdownOptions) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	if !ok {
		return
	}
	grace := gracePeriod(ctx)
	server.RegisterOnShutdown(func() {
		if caddy.Exiting() {
			openExchanges.closeWithin(grace)
			return
		}
		beforeTheEndOf(grace, func() {
			openExchanges.end(options.endsAtReload)
		})
		exitLookout.watch(options.maxDuration)
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

// exitLookout is for exchanges of replaced configs, which run on while the config that is active at the exit
// may have no handler of ours that would be told of it.
var exitLookout lookout

// lookoutInterval is short beside the shortest grace period in which a finish is promised, 500 ms.
const lookoutInterval = 50 * time.Millisecond

type lookout struct {
	mu    sync.Mutex
	until time.Time // zero: nobody looks out
}

// watch looks out for the exit for as long as d, in which all exchanges end that have begun.
func (l *lookout) watch(d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.until.IsZero() {
		go l.run()
	}
	if until := time.Now().Add(d); until.After(l.until) {
		l.until = until
	}
}

func (l *lookout) run() {
	tick := time.NewTicker(lookoutInterval)
	defer tick.Stop()
	var app *caddyhttp.App
	for l.goesOn() {
		// Once the exit has begun there is no active config any more.
		if active, err := caddy.ActiveContext().AppIfConfigured("http"); err == nil {
			app, _ = active.(*caddyhttp.App)
		}
		<-tick.C
		if caddy.Exiting() && app != nil {
			time.AfterFunc(time.Duration(app.ShutdownDelay), func() {
				openExchanges.closeWithin(time.Duration(app.GracePeriod))
			})
			return
		}
	}
}

func (l *lookout) goesOn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().After(l.until) {
		l.until = time.Time{}
		return false
	}
	return true
}
