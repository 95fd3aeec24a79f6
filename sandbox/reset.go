package sandbox

import (
	"net"
	"net/http"
)

// reset sends what is pending and then breaks the connection: by a TCP reset,
// or, where the connection carries other requests as well (HTTP/2, HTTP/3), by
// resetting the stream of this one.
func (s *stream) reset() {
	s.sendPending()
	hijacker, ok := innermost(s.w).(http.Hijacker)
	if !ok {
		// The documented way to have the server abort a response.
		panic(http.ErrAbortHandler)
	}
	conn, _, err := hijacker.Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	// TLS would say goodbye before it closes; a reset does not.
	if wrapper, ok := conn.(interface{ NetConn() net.Conn }); ok {
		conn = wrapper.NetConn()
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // makes closing a reset
	}
	_ = conn.Close() // it is meant to break
}

// innermost returns the server's own writer. Those that Caddy puts around it
// would put something around the connection, too.
func innermost(w http.ResponseWriter) http.ResponseWriter {
	for {
		wrapper, ok := w.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			return w
		}
		w = wrapper.Unwrap()
	}
}
