package stdlog

import (
	"fmt"
	"regexp"
	"strings"
)

// openings are how lines of the libraries begin, as far as they are constant. The rest of such a line is withheld.
var openings = []string{
	"Error enabling Transport HTTP/2 support",
	"RoundTripper returned a response & error; ignoring response",
	"Unsolicited response received on idle HTTP channel starting with",
	"http2: 1xx informational responses too large",
	"http2: Framer",
	"http2: Transport closing idle conn",
	"http2: Transport creating client conn",
	"http2: Transport encoding header",
	"http2: Transport failed to get client conn",
	"http2: Transport readFrame error",
	"http2: Transport received",
	"http2: decoded hpack field",
	"http2: header list too large",
	"http2: invalid header",
	"http2: invalid pseudo headers",
	"Received invalid IPv4 packet info control message",
	"Received invalid IPv6 packet info control message",
}

// harmless lists the beginnings of lines that hold nothing of the other side. They hold names of Go types, numbers, or
// errors of this machine.
var harmless = []string{
	"protocol error: received ",
	"Transport: unhandled response frame type ",
	"failed to determine receive buffer size",
	"failed to determine send buffer size",
	"failed to sufficiently increase receive buffer size",
	"failed to sufficiently increase send buffer size",
}

// shorten returns a library's line with the length of what the library may have from the other side. It keeps what is
// known to be constant, so that the operator still sees what happened.
func shorten(library, line string) string {
	line = strings.TrimSpace(line)
	for _, begins := range harmless {
		if strings.HasPrefix(line, begins) {
			return line + "\n"
		}
	}
	for _, begins := range openings {
		if rest, ok := strings.CutPrefix(line, begins); ok {
			return begins + withheld(rest)
		}
	}
	return library + " logs a line" + withheld(line)
}

// withheld returns the end of a line whose rest is withheld.
func withheld(rest string) string {
	rest = strings.TrimSpace(rest)
	switch {
	case rest == "":
		return "\n"
	case noted.MatchString(rest): // another module has put its writer between two filters
		return " " + rest + "\n"
	}
	return fmt.Sprintf(" (%d bytes withheld: the other side may have sent them)\n", len(rest))
}

// noted matches what withheld writes for a rest.
var noted = regexp.MustCompile(`^\(\d+ bytes withheld: the other side may have sent them\)$`)
