package site

import (
	"net/http"
	"regexp"
	"time"

	"github.com/dunglas/httpsfv"
)

// allowance is how the limit of one client stands (draft-ietf-httpapi-ratelimit-headers-10).
type allowance struct {
	quota  int64 // chats in a window
	window time.Duration
	left   int64
}

// ownLimit matches the names that the chat gives to its limits. A CDN may send limits of its own.
var ownLimit = regexp.MustCompile(`^client(-\d+)?$`)

// allowanceOf returns the limit with the longest window, whose count changes least by itself. It returns false if the header
// has no limit of the chat.
func allowanceOf(h http.Header) (longest allowance, ok bool) {
	limits := make(map[string]allowance)
	eachItem(h.Values("RateLimit-Policy"), func(name string, params *httpsfv.Params) {
		quota, hasQuota := number(params, "q")
		window, hasWindow := number(params, "w")
		if hasQuota && hasWindow {
			limits[name] = allowance{quota: quota, window: time.Duration(window) * time.Second}
		}
	})
	eachItem(h.Values("RateLimit"), func(name string, params *httpsfv.Params) {
		limit, known := limits[name]
		left, hasLeft := number(params, "r")
		if known && hasLeft && limit.window > longest.window {
			limit.left = left
			longest, ok = limit, true
		}
	})
	return longest, ok
}

// eachItem calls f for each limit in a list.
func eachItem(fields []string, f func(name string, params *httpsfv.Params)) {
	list, err := httpsfv.UnmarshalList(fields)
	if err != nil {
		return
	}
	for _, member := range list {
		if item, ok := member.(httpsfv.Item); ok {
			if name, ok := item.Value.(string); ok && ownLimit.MatchString(name) {
				f(name, item.Params)
			}
		}
	}
}

func number(params *httpsfv.Params, name string) (int64, bool) {
	value, _ := params.Get(name)
	n, ok := value.(int64)
	return n, ok
}

// verdict says whether two requests were counted together.
type verdict int

const (
	cannotTell verdict = iota
	countedTogether
	countedApart
)

// compare returns whether a second request, sent elapsed after the first one, was counted as the same client's. first and
// second are how the limit stands after each of them.
//
// The second request uses one up. But an earlier use may expire meanwhile: the window slides, so what it counts of the
// previous one shrinks evenly.
func compare(first, second allowance, elapsed time.Duration) verdict {
	if first.quota != second.quota || first.window != second.window || first.window < 4*elapsed {
		return cannotTell
	}
	gained := second.left - (first.left - 1)
	expired := int64(0)
	if first.left < first.quota-1 { // there were earlier requests
		expired = 1 + int64(float64(first.quota)*elapsed.Seconds()/first.window.Seconds())
	}
	switch {
	case gained <= 0:
		return countedTogether
	case gained > expired && second.left == second.quota-1:
		return countedApart
	}
	return cannotTell
}
