// Package shutdown knows the open streams of the whole process: exchanges, and visitors who listen to a recorded
// answer. It cancels them before Caddy closes their connections: when the process exits and, over HTTP/3, on a reload.
// How a canceled stream ends is up to the stream.
package shutdown
