// Package stdlog keeps what the other side of a connection sent out of the standard logger. Caddy puts what that logger
// gets into its own log. net/http and other libraries write to it without asking, and quote up to 4 KiB of what an
// upstream sent. Other lines pass unchanged.
package stdlog
