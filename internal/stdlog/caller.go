package stdlog

import (
	"path"
	"runtime"
	"slices"
	"strings"
)

// maxFrames is how many calls may lie between a library and the filter, at most: those of packages log and log/slog,
// and of a writer of another module around the filter.
const maxFrames = 32

// loggers are the packages through which a line gets to the standard logger.
var loggers = []string{"log", "log/internal", "log/slog"}

// quotingLibrary returns the package that writes the current line, if the package may quote the other side of a
// connection. Otherwise it returns "".
func quotingLibrary() string {
	counters := make([]uintptr, maxFrames)
	frames := runtime.CallersFrames(counters[:runtime.Callers(2, counters)])
	logged := false
	for {
		frame, more := frames.Next()
		library := packageOf(frame.Function)
		switch {
		case slices.Contains(loggers, library):
			logged = true
		case logged:
			if mayQuote(library, frame) {
				return library
			}
			return ""
		}
		if !more {
			return ""
		}
	}
}

// packageOf returns the import path of the package of a function. function is its name as package runtime writes it.
func packageOf(function string) string {
	slash := strings.LastIndexByte(function, '/') + 1
	name, _, _ := strings.Cut(function[slash:], ".")
	return function[:slash] + name
}

// mayQuote reports whether a package's line may quote the other side. The frame is the call that logs it. Servers are
// left out: Caddy's have a logger of their own, and any other server is none of this module's.
func mayQuote(library string, frame runtime.Frame) bool {
	for _, prefix := range []string{"github.com/quic-go", "github.com/redis/go-redis"} {
		if strings.HasPrefix(library, prefix+"/") {
			return true
		}
	}
	isHTTP := library == "net/http" || strings.HasPrefix(library, "net/http/internal") || strings.HasPrefix(library, "golang.org/x/net/http2")
	file := path.Base(frame.File)
	isServer := file == "server.go" || file == "cookie.go" || strings.Contains(frame.Function, "erverConn)")
	return isHTTP && !isServer
}
