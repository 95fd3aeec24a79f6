package illumichat

import (
	"fmt"
	"slices"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// clientWords are fixed words that readers of a config take for each client, in lower case and without hyphens.
var clientWords = []string{
	"address", "addr", "client", "clientip", "clients", "ip", "ips", "remote", "remotehost", "remoteip", "session", "sessions",
	"user", "userid", "username", "users", "visitor", "visitors",
}

// checkKey returns an error for a limit's key that does not count apart what it seems to count apart.
func checkKey(key string) error {
	template, err := values.ParseTemplate(key)
	switch {
	case err != nil:
		return fmt.Errorf("the key '%s': %w", values.Printable(key), err)
	case values.HoldsToken(key):
		return fmt.Errorf("the key: %w", values.ErrLikeToken)
	case len(template.Names()) > 0 || !looksLikeClient(key):
		return nil
	}
	return fmt.Errorf("the key '%s' is a fixed word, so all visitors would share one count; %s; or write everyone for one count",
		values.Printable(key), meantKey(key))
}

// looksLikeClient reports whether a fixed word reads like a client or a placeholder.
func looksLikeClient(word string) bool {
	return strings.ContainsAny(word, "._/") || slices.Contains(clientWords, plainWord(word))
}

func plainWord(word string) string { return strings.ReplaceAll(strings.ToLower(word), "-", "") }

// meantKey says what to write instead of a fixed word that is refused.
func meantKey(word string) string {
	switch lower := strings.ToLower(word); {
	case strings.HasPrefix(plainWord(word), "user"):
		return "write {http.auth.user.id} to count each user who is logged in"
	case strings.HasPrefix(lower, "http.") && !strings.ContainsAny(word, "{}\\ "):
		return "write the placeholder in braces, {" + values.Printable(word) + "}"
	}
	return "leave the key out to count each client, or write a placeholder in braces"
}
