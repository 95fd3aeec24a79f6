package shutdown

import (
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

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
				exchanges.closeWithin(time.Duration(app.GracePeriod))
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
