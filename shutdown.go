package illumichat

import (
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// openExchanges are those of the whole process, of replaced configs too: after a reload, the handlers
// of the old config are no longer told of anything.
var openExchanges exchangeSet

type exchangeSet struct {
	mu     sync.Mutex
	set    map[*exchange]struct{}
	closed bool // the process exits, and has no time for further ones
}

func (s *exchangeSet) add(ex *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = make(map[*exchange]struct{})
	}
	s.set[ex] = struct{}{}
	if s.closed {
		ex.cancel(errShuttingDown)
	}
}

func (s *exchangeSet) remove(ex *exchange) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.set, ex)
}

// close ends all exchanges, those that are yet to come included.
func (s *exchangeSet) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.end(func(*exchange) bool { return true })
}

// end ends the exchanges that match.
func (s *exchangeSet) end(match func(*exchange) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for ex := range s.set {
		if match(ex) {
			ex.cancel(errShuttingDown)
		}
	}
}

// watchShutdown has open exchanges told, in time for a finish, when Caddy is going to close their
// connections at the end of its grace period: all of them when the process exits, and those over HTTP/3
// when a reload replaces this handler's server. Without a grace period Caddy waits for them.
func (h *Handler) watchShutdown(ctx caddy.Context) {
	server, ok := ctx.Value(caddyhttp.ServerCtxKey).(*caddyhttp.Server)
	grace := gracePeriod(ctx)
	if !ok || grace == 0 {
		return
	}
	server.RegisterOnShutdown(func() {
		exiting := caddy.Exiting()
		time.AfterFunc(grace-min(time.Second, grace/5), func() {
			if exiting {
				openExchanges.close()
				return
			}
			openExchanges.end(func(ex *exchange) bool { return ex.h == h && ex.http3 })
		})
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
