// Package shutdown knows the open exchanges of the whole process, and tells them to end before Caddy closes their connections: at
// an exit, and over HTTP/3 at a reload. How an exchange ends is up to the exchange.
package shutdown
