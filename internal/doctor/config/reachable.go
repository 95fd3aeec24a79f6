package config

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// askTheSite is what to do if the config does not show enough.
const askTheSite = "Check the running site: caddy illumichat check <url>"

// checkReachable reports which hosts and paths lead to the chat, and what is in the way.
func (e *examination) checkReachable() {
	if e.inError {
		e.add(doctor.Warning, "reachable", "the chat is in `handle_errors`, so a request reaches it only after an error",
			"Something else may have read the request's body by then.", "Move it out of `handle_errors`.")
		return
	}
	e.addReached()
	e.addLost()
	if !e.whole {
		e.add(doctor.Skipped, "reachable", "this check cannot construct every request that the chat's matchers accept", "", askTheSite)
	}
	e.checkSlash()
	e.checkWholeSite()
}

// sendAll sends a POST for each candidate.
func (e *examination) sendAll() {
	if e.inError {
		return
	}
	var unknown []candidate // a path may lead to the chat that is no candidate
	for _, one := range e.found {
		if one.path.kind == attempt && slices.ContainsFunc(e.arrivals, func(a arrival) bool { return a.host == one.host }) {
			unknown = append(unknown, one)
			continue
		}
		a, ok := e.send(post, one, chatHeader)
		e.whole = e.whole && ok
		switch {
		case len(a.reached()) > 0:
			e.arrivals = append(e.arrivals, a)
		case a.isLost():
			e.whole = false
		case one.path.kind == attempt || e.mayHaveAnotherPath(a):
			unknown = append(unknown, one)
		case ok:
			e.lost = append(e.lost, a)
		}
	}
	found := len(e.arrivals) > 0
	e.whole = e.whole && (found || len(e.lost) > 0 || len(unknown) == 0)
	e.found = slices.DeleteFunc(e.found, func(one candidate) bool {
		return slices.Contains(unknown, one) && (found || one.path.kind == attempt)
	})
}

// addReached reports that requests reach the chat, and what they pass before it.
func (e *examination) addReached() {
	s := e.first()
	if s == nil {
		return
	}
	found := "a POST reaches the chat"
	var conditions []string
	for _, r := range s.depends {
		conditions = appendNew(conditions, "`"+r.describe()+"`")
	}
	if len(conditions) > 0 {
		found += " if it matches " + list(conditions)
	}
	keep := e.keepers()
	if len(keep) > 0 {
		found += " unless " + alternatives(keep) + " answers first"
	}
	var arrived []candidate
	for _, a := range e.arrivals {
		arrived = append(arrived, a.candidate)
	}
	e.report.Add(doctor.Finding{Level: doctor.OK, Check: "reachable", Where: e.server.where(arrived) + e.name, Found: found})
	e.addOrder(s, keep)
}

// keepers returns the directives before the chat that may answer a request in its place.
func (e *examination) keepers() []string {
	var keep []string
	for _, o := range e.arrivals[0].outcomes {
		if !o.reached && o.by != nil && o.state.missed == nil {
			keep = appendNew(keep, e.place(o.by, o.at))
		}
	}
	return keep
}

// addOrder reports which directives a request passes before the chat, and which of them may keep it.
func (e *examination) addOrder(s *state, keep []string) {
	var before, found []string
	for _, h := range s.passed {
		before = appendNew(before, "`"+h.directive()+"`")
	}
	switch len(before) {
	case 0:
	case 1:
		found = append(found, "before it comes "+before[0])
	default:
		found = append(found, "before it come "+list(before))
	}
	level := doctor.OK
	if len(keep) > 0 {
		level = doctor.Note
		found = append(found, list(keep)+" may answer first")
	}
	if len(found) > 0 {
		e.add(level, "order", strings.Join(found, "; "), "", "")
	}
}

// addLost reports requests that do not reach the chat. Several hosts to which the same happens have one finding.
func (e *examination) addLost() {
	type failure struct {
		candidates []candidate
		finding    doctor.Finding
	}
	var failures []failure
	e.redirects = len(e.arrivals) == 0 && len(e.lost) > 0
	for _, a := range e.lost {
		if a.path.kind == guess && (len(e.arrivals) > 0 || len(failures) > 0) {
			continue
		}
		f, ok := e.redirected(a)
		if !ok {
			f = e.unreachable(a)
			e.redirects = false
		}
		i := slices.IndexFunc(failures, func(other failure) bool { return other.finding == f })
		if i < 0 {
			i = len(failures)
			failures = append(failures, failure{finding: f})
		}
		failures[i].candidates = append(failures[i].candidates, a.candidate)
	}
	for _, f := range failures {
		f.finding.Where = e.server.where(f.candidates) + e.name
		e.report.Add(f.finding)
	}
}

// checkSlash notes which paths lead to the chat, but not with or without a slash at their end. Only the page shows which of
// them it posts to.
func (e *examination) checkSlash() {
	var others []string
	var do string
	for _, a := range e.arrivals {
		other := toggleSlash(a.path.written)
		if a.path.kind != exact || a.path.written == "/" || slices.Contains(others, values.Printable(other)) {
			continue
		}
		b, ok := e.send(post, candidate{a.host, pattern{other, toggleSlash(a.path.sample), exact}}, chatHeader)
		end := b.end()
		if !ok || len(b.reached()) > 0 || end.state.missed == nil || end.by != nil && end.by.module == chatModule {
			continue
		}
		others = append(others, values.Printable(other))
		do = cmp.Or(do, e.bothSlashes(end.state.missed.route, a.path.written))
	}
	if len(others) == 0 {
		return
	}
	e.checkup.notes.add(e.where, doctor.Finding{
		Level: doctor.Note, Check: "trailing_slash", Found: fmt.Sprintf("a POST to %s does not reach the chat; if a page posts there, write %s", some(others, " or "), do),
	})
}

// bothSlashes says how a path is written with and without a slash at its end. own is the route around the chat that
// matches only one of them.
func (e *examination) bothSlashes(own *route, path string) string {
	level := slices.Index(e.chain, own)
	if inner, ok := strings.CutPrefix(path, e.prefix(level)); ok && strings.HasPrefix(inner, "/") && inner != "/" {
		path = inner
	}
	matcher := "@chat path " + values.Printable(path) + " " + values.Printable(toggleSlash(path))
	if own.block() == "" {
		return fmt.Sprintf("`%s` and `illumichat @chat`", matcher)
	}
	return fmt.Sprintf("`%s` and `handle @chat`, and no matcher in it", matcher)
}

// toggleSlash returns a path with a slash at its end if it has none, and without the slash if it has one.
func toggleSlash(path string) string {
	if without, ok := strings.CutSuffix(path, "/"); ok {
		return without
	}
	return path + "/"
}

// checkWholeSite reports that the chat takes the requests of other directives. A chat that has any matcher but one of hosts
// leaves them some.
func (e *examination) checkWholeSite() {
	if slices.ContainsFunc(e.chain, (*route).leavesSome) {
		e.checkHomePage()
		return
	}
	var idle []string
	for _, a := range e.arrivals {
		for _, o := range e.shadows(post, a.candidate) {
			idle = appendNew(idle, e.place(o.by, o.at))
		}
	}
	if len(idle) == 0 {
		return
	}
	e.add(doctor.Wrong, "whole_site", fmt.Sprintf("the chat takes every request of the site, so %s gets none", list(idle)),
		"Visitors who open the site's pages get an error from the chat.", "Write a path after the directive:\nillumichat /api/chat-proxy {\n\t…\n}")
}

// checkHomePage notes that a chat takes a site's home page, because its matcher leaves only some paths to others.
func (e *examination) checkHomePage() {
	for _, a := range e.arrivals {
		if a.path.written == "/" {
			continue
		}
		home := candidate{a.host, pattern{"/", "/", exact}}
		page, _ := e.send(http.MethodGet, home, nil)
		reached, others := page.reached(), e.shadows(http.MethodGet, home)
		if len(others) == 0 || len(reached) == 0 || !reached[0].sure {
			continue
		}
		e.add(doctor.Note, "whole_site", fmt.Sprintf("the chat takes the home page, too, so %s does not get it", e.place(others[0].by, others[0].at)),
			"Visitors who open the page get an error from the chat.", "Write a path after the directive:\nillumichat /api/chat-proxy {\n\t…\n}")
		return
	}
}

// leavesSome reports whether the route does not match all requests to a host.
func (r *route) leavesSome() bool {
	matchesAll := func(m matcher) bool {
		texts := m.texts()
		return m.name == "host" || m.name == "path" && (slices.Contains(texts, "*") || slices.Contains(texts, "/*"))
	}
	return len(r.sets) > 0 && !slices.ContainsFunc(r.sets, func(set matcherSet) bool {
		return !slices.ContainsFunc(set, func(m matcher) bool { return !matchesAll(m) })
	})
}
