package illumichat

import (
	"fmt"
	"slices"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// clientWords are fixed words that readers of a config take for each client, in lower case and without hyphens.
var clientWords = []string{
	"account", "accounts", "cookie", "cookies", "ipv4", "ipv6", "address", "addresses", "addr", "client", "clientaddr", "clientaddress", "clientip", "clients", "customer", "customers", "each",
	"ip", "ipaddr", "ipaddress", "ips", "person", "persons", "remote", "remoteaddr", "remoteaddress", "remotehost", "remoteip", "session", "sessionid",
	"sessions", "user", "userid", "username", "users", "visitor", "visitorid", "visitors",
}

// checkKey returns an error for a limit's key that does not count apart what it seems to count apart.
func checkKey(key string) error {
	template, err := values.ParseTemplate(key)
	switch {
	case err != nil:
		return fmt.Errorf("the key '%s': %w", values.Printable(key), err)
	case template.Fleeting() != "":
		return fmt.Errorf("the key '%s': %s has another value for each request, so the limit would never be reached; leave it out",
			values.Printable(key), template.Fleeting())
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
	if strings.ContainsAny(word, "._/") || strings.HasPrefix(word, "$") {
		return true
	}
	lower := strings.ToLower(word)
	if strings.HasPrefix(lower, "all-") || strings.HasPrefix(lower, "every") {
		return false
	}
	return isClientWord(plainWord(word)) || slices.ContainsFunc(strings.Split(lower, "-"), isClientWord)
}

// isClientWord reports whether a word without hyphens is one of clientWords, alone or behind "per" or "each".
func isClientWord(word string) bool { return slices.Contains(clientWords, withoutEach(word)) }

// withoutEach returns a word without "per" or "each" before it.
func withoutEach(word string) string {
	for _, each := range []string{"per", "each"} {
		if rest, ok := strings.CutPrefix(word, each); ok && rest != "" {
			return rest
		}
	}
	return word
}

func plainWord(word string) string { return strings.ReplaceAll(strings.ToLower(word), "-", "") }

// meantKey says what to write instead of a fixed word that is refused.
func meantKey(word string) string {
	switch lower := strings.ToLower(word); {
	case slices.ContainsFunc(strings.Split(lower, "-"), func(part string) bool { return strings.HasPrefix(withoutEach(part), "user") }):
		return "write {http.auth.user.id} to count each user who is logged in"
	case strings.HasPrefix(lower, "http.") && !strings.ContainsAny(word, "{}\\ "):
		return "write the placeholder in braces, {" + values.Printable(word) + "}"
	}
	return "leave the key out to count each client, or write a placeholder in braces"
}
