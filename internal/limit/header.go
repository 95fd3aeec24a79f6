package limit

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

// setHeader sets the fields of draft-ietf-httpapi-ratelimit-headers-10. They list the limits that count each client
// apart. For each limit, they say what is left, and after how many seconds there is more. setHeader leaves out the
// limits that clients share, because those would show strangers how much there is to use up.
func setHeader(header http.Header, charges []charge) {
	var policies, limits []string
	for _, c := range charges {
		if !c.limit.ByClient {
			continue
		}
		name := "client"
		if n := len(policies); n > 0 {
			name = fmt.Sprintf("client-%d", n+1)
		}
		policies = append(policies, fmt.Sprintf("%q;q=%d;w=%d", name, c.limit.Requests, apierror.WholeSeconds(c.limit.Rule.Window)))
		limits = append(limits, fmt.Sprintf("%q;%s", name, c.left()))
	}
	if len(policies) > 0 {
		header.Set("RateLimit-Policy", strings.Join(policies, ", "))
		header.Set("RateLimit", strings.Join(limits, ", "))
	}
}

// left returns what is left of the limit, as parameters of a service limit item (§ 4.1).
func (c *charge) left() string {
	n := c.limit.n()
	left := c.usage.left(n)
	if left == n {
		return fmt.Sprintf("r=%d", left) // nothing is used, so there will not be more
	}
	return fmt.Sprintf("r=%d;t=%d", left, apierror.WholeSeconds(c.usage.wait(n, left+1)))
}
