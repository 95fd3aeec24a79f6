package shutdown

import (
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// exitLookout detects the exit for streams of replaced configs. These streams continue after a reload. The config
// that is active at the exit may have no handler of this module. Then no server reports the exit.
var exitLookout lookout

// lookoutInterval is short compared with 500 ms, the shortest grace period in which a finish is promised.
const lookoutInterval = 50 * time.Millisecond

type lookout struct {
	mu    sync.Mutex
	until time.Time // when run returns; zero: run is not running
}

// watch polls for the exit during the next d. All streams that have begun end within d.
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

// run polls until the time set by watch is over. If the process exits earlier, run cancels all streams before the
// grace period of the active config ends.
func (l *lookout) run() {
	tick := time.NewTicker(lookoutInterval)
	defer tick.Stop()
	var app *caddyhttp.App
	for l.goesOn() {
		// Keep the app, because no config is active once the exit has begun.
		if active, err := caddy.ActiveContext().AppIfConfigured("http"); err == nil {
			app, _ = active.(*caddyhttp.App)
		}
		<-tick.C
		if caddy.Exiting() && app != nil {
			time.AfterFunc(time.Duration(app.ShutdownDelay), func() {
				streams.closeWithin(time.Duration(app.GracePeriod))
			})
			return
		}
	}
}

// goesOn reports whether run must go on polling. If not, the next watch starts run again.
func (l *lookout) goesOn() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().After(l.until) {
		l.until = time.Time{}
		return false
	}
	return true
}
