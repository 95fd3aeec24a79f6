package config

import (
	"net/http"
	"slices"
	"strings"
)

// arrival has the outcomes of one candidate.
type arrival struct {
	candidate
	outcomes []outcome
}

// post is the method of a chat.
const post = http.MethodPost

// chatHeader has the fields that each chat has.
var chatHeader = http.Header{"Content-Type": {"application/json"}}

// send sends a candidate with a method to the chat's server.
func (c *chat) send(method string, to candidate, header http.Header) (a arrival, complete bool) {
	outcomes, complete := walk(c, c.probe(method, to, header), false)
	return arrival{to, outcomes}, complete
}

func (c *chat) probe(method string, to candidate, header http.Header) probe {
	return probe{method: method, host: to.host.sample, path: to.path.sample, https: !c.server.isPlain(to.host.sample), header: header}
}

// reached returns the requests that have reached the chat. Those that have reached it whatever matchers say come first.
func (a arrival) reached() []*state {
	var reached []*state
	for _, o := range a.outcomes {
		if o.reached {
			reached = append(reached, o.state)
		}
	}
	slices.SortStableFunc(reached, func(x, y *state) int {
		switch {
		case x.sure == y.sure:
			return 0
		case x.sure:
			return -1
		}
		return 1
	})
	return reached
}

// isLost reports whether nobody knows where the request ends.
func (a arrival) isLost() bool {
	return slices.ContainsFunc(a.outcomes, func(o outcome) bool { return o.state.lost })
}

// mayHaveAnotherPath reports whether a path leads to the chat that is no candidate, since a directive before the chat makes
// the path that the chat's matcher has.
func (c *chat) mayHaveAnotherPath(a arrival) bool {
	missed := a.end().state.missed
	switch {
	case missed == nil:
		return false
	case missed.after != nil:
		return !missed.after.method && missed.after.handler.mayMake(strings.TrimPrefix(a.path.sample, c.prefix(len(c.chain)-1)))
	}
	return !slices.Contains(missed.matchers, "host") && c.rewritesFrom(slices.Index(c.chain, missed.route))
}

// end returns where a request ends that does not reach the chat. It prefers an end that does not depend on a matcher.
func (a arrival) end() outcome {
	for _, o := range a.outcomes {
		if o.state.sure {
			return o
		}
	}
	// The request that matched least has taken the usual way: it is the last one.
	return a.outcomes[len(a.outcomes)-1]
}

// shadows returns where requests of a candidate would end if the chat did not take them.
func (c *chat) shadows(method string, to candidate) []outcome {
	outcomes, _ := walk(c, c.probe(method, to, chatHeader), true)
	return slices.DeleteFunc(outcomes, func(o outcome) bool { return o.reached || o.by == nil || !o.state.behind })
}
