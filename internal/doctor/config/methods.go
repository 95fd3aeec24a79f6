package config

import (
	"fmt"
	"net/http"
	"slices"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// checkPreflight reports what keeps a browser from asking whether a page of another origin may chat.
func (e *examination) checkPreflight() {
	if len(e.options.AllowOrigins) == 0 || len(e.arrivals) == 0 {
		return
	}
	preflight := http.Header{
		"Origin":                         {e.options.AllowOrigins[0]},
		"Access-Control-Request-Method":  {post},
		"Access-Control-Request-Headers": {"content-type"},
	}
	const why = "Before a page of another origin may chat, its browser sends an OPTIONS request without a login. If that fails, the page cannot chat."
	for _, a := range e.arrivals {
		asked, complete := e.send(http.MethodOptions, a.candidate, preflight)
		reached := asked.reached()
		switch {
		case len(reached) == 0 && !complete:
			return
		case len(reached) == 0:
			e.add(doctor.Wrong, "preflight", "an OPTIONS request does not reach the chat, though the chat has `allow_origins`"+e.taker(asked),
				why, "Let OPTIONS through to the chat: leave it out of the other directive's matcher, or the method out of the chat's.")
			return
		}
		for _, h := range reached[0].passed {
			if !h.refuses() {
				continue
			}
			directive := h.directive()
			e.add(doctor.Wrong, "preflight", fmt.Sprintf("`%s` comes before the chat and refuses OPTIONS requests, though the chat has `allow_origins`", directive),
				why, fmt.Sprintf("Exclude OPTIONS with a matcher:\n@login not method OPTIONS\n%s @login …\nThe page has to send its login itself, in a header: "+
					"a browser sends no cookie to another origin's chat.", directive))
			return
		}
	}
	e.add(doctor.OK, "preflight", "an OPTIONS request reaches it", "", "")
}

// taker says which directive takes a request that does not reach the chat.
func (e *examination) taker(a arrival) string {
	end := a.end()
	if end.by == nil {
		return ""
	}
	return ": " + e.place(end.by, end.at) + " answers first"
}

// checkResume reports that requests that resume or stop an answer do not reach the chat.
func (e *examination) checkResume() {
	if !e.options.Resume || len(e.arrivals) == 0 {
		return
	}
	var lost []string
	for _, method := range []string{http.MethodGet, http.MethodDelete} {
		isLost := func(a arrival) bool {
			asked, complete := e.send(method, a.candidate, nil)
			return complete && len(asked.reached()) == 0
		}
		if slices.ContainsFunc(e.arrivals, isLost) {
			lost = append(lost, method)
		}
	}
	if len(lost) > 0 {
		e.add(doctor.Wrong, "resume", fmt.Sprintf("the chat has `resume`, but %s requests do not reach it", list(lost)),
			"A page resumes an answer with GET, and stops it with DELETE. Such a request has no body, and no Content-Type.",
			"Remove the `method` and `header` conditions from the chat's matcher.")
	}
}
