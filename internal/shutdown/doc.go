// Package shutdown knows the open exchanges of the whole process. It cancels them before Caddy closes their
// connections: when the process exits and, over HTTP/3, on a reload. How a canceled exchange ends is up to the
// exchange.
package shutdown
