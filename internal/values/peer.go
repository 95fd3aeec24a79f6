package values

// unixPeer is what Caddy takes for a client's address at a Unix socket, if a trusted proxy does not name the client.
const unixPeer = "@"

// KnownVisitor returns a text that identifies a visitor, or "" if it is the same for all visitors of a Unix socket.
func KnownVisitor(text string) string {
	if text == unixPeer {
		return ""
	}
	return text
}
