package visitor

import (
	"net/http"
	"slices"
	"strings"

	"golang.org/x/net/http/httpguts"
)

// addHead adds the response headers of an accepted answer to those that the site has set. The site's own field stays as
// it is: the operator wants that value, and most fields have only one. Vary is a list to which both add.
func addHead(site, answer http.Header) {
	for name, values := range answer {
		switch {
		case name == "Vary":
			site[name] = append(site[name], newMembers(site[name], values)...)
		case len(site[name]) == 0:
			site[name] = slices.Clone(values) // visitors of one recording share head, and other directives may edit a response
		}
	}
}

// newMembers returns values without the list members that present has.
func newMembers(present, values []string) []string {
	var fresh []string
	for _, value := range values {
		members := slices.DeleteFunc(strings.Split(value, ","), func(member string) bool {
			member = strings.TrimSpace(member)
			return member == "" || httpguts.HeaderValuesContainsToken(present, member) || httpguts.HeaderValuesContainsToken(fresh, member)
		})
		if len(members) > 0 {
			fresh = append(fresh, strings.TrimSpace(strings.Join(members, ",")))
		}
	}
	return fresh
}
