package stdlog

import (
	"io"
	"log"
	"sync"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// installing is held while Guard replaces the writer.
var installing sync.Mutex

// Guard makes the standard logger write through the filter, unless it does already. Caddy gives the logger another
// writer when a config loads, and again when it releases the previous config. So Guard is called at both times and
// before each request. It costs a lock if there is nothing to do.
func Guard() {
	if isGuarded() {
		return
	}
	installing.Lock()
	defer installing.Unlock()
	if !isGuarded() {
		log.SetOutput(&filter{next: log.Writer()})
	}
}

func isGuarded() bool {
	_, ok := log.Writer().(*filter)
	return ok
}

// filter is a writer of the standard logger, which writes one line at a time.
type filter struct{ next io.Writer }

// Write passes a line on. It shortens a line of a library that may quote the other side. It removes API tokens from any
// other line.
func (f *filter) Write(p []byte) (int, error) {
	line := values.WithoutAPITokens(p)
	if library := quotingLibrary(); library != "" {
		line = []byte(shorten(library, string(p)))
	}
	if _, err := f.next.Write(line); err != nil {
		return 0, err
	}
	return len(p), nil
}
