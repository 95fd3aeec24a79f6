package config

import "slices"

// maxStates is how many different ways a request may be on at once.
const maxStates = 128

// outcome is one end of a request's way.
type outcome struct {
	reached bool     // it has reached the chat
	by      *handler // which has taken it; nil: a matcher refused it, or nothing answers it
	at      []*route // the routes around the end; nil: nothing answers it
	state   *state
}

// walker sends a request through the routes of a server, with Caddy's rules: routes in order, one of each group, nothing
// after a terminal one. Where a matcher says "maybe", the request goes both ways.
type walker struct {
	server   *server
	target   *chat
	through  bool // the chat passes requests on, so that the handlers behind it can be seen
	stack    []*route
	outcomes []outcome
	steps    int  // how many routes it has tried
	tooMany  bool // there are more ways than the walker goes
}

// walk returns all ends of a request's way. complete is false if there are more ways than can be followed.
func walk(target *chat, p probe, through bool) (outcomes []outcome, complete bool) {
	w := walker{server: target.server, target: target, through: through}
	for _, s := range w.routes(target.server.routes, []*state{newState(p)}) {
		w.end(nil, nil, s)
	}
	return w.outcomes, !w.tooMany
}

func (w *walker) end(by *handler, at []*route, s *state) {
	w.outcomes = append(w.outcomes, outcome{by: by, at: slices.Clone(at), state: s})
}

// routes sends requests through a list of routes. It returns those that come out at the end.
func (w *walker) routes(list []*route, in []*state) []*state {
	if len(w.stack) == maxDepth {
		return in
	}
	for _, r := range list {
		var out []*state
		for _, s := range in {
			out = append(out, w.route(r, s)...)
		}
		in = w.merge(out)
	}
	return in
}

// route sends a request to a route. A request that comes to a route again that it is in never leaves it.
func (w *walker) route(r *route, s *state) []*state {
	w.steps++
	w.tooMany = w.tooMany || w.steps > maxSteps
	if w.tooMany || slices.Contains(w.stack, r) {
		s.sure, s.lost = false, true
		w.end(nil, nil, s)
		return nil
	}
	if r.group != "" && s.groups[r.group] != nil {
		w.miss(r, s, s.groups[r.group])
		return []*state{s}
	}
	w.stack = append(w.stack, r)
	defer func() { w.stack = w.stack[:len(w.stack)-1] }()
	switch r.match(s) {
	case no:
		w.miss(r, s, nil)
		return []*state{s}
	case fails:
		w.end(nil, w.stack, s)
		return nil
	case maybe:
		matching := s.fork()
		matching.sure = false
		if w.isOnTheWay(r) {
			matching.depends = append(matching.depends, r)
		}
		w.miss(r, s, nil)
		s.sure = false
		return append(w.enter(r, matching), s)
	}
	return w.enter(r, s)
}

// enter sends a request that matches a route through its handlers.
func (w *walker) enter(r *route, s *state) []*state {
	if r.group != "" {
		s.groups[r.group] = r
	}
	states := []*state{s}
	for _, h := range r.handlers {
		var out []*state
		for _, s := range states {
			out = append(out, w.handle(h, s)...)
		}
		states = w.merge(out)
	}
	if !r.terminal {
		return states
	}
	for _, s := range states {
		w.end(nil, nil, s)
	}
	return nil
}

// handle sends a request to a handler.
func (w *walker) handle(h *handler, s *state) []*state {
	effect := h.effect()
	switch {
	case h == w.target.handler && slices.Equal(w.stack, w.target.chain):
		return w.arrive(s)
	case effect == runsRoutes:
		return w.routes(w.server.nested(h), []*state{s})
	case effect == answers:
		w.end(h, w.stack, s)
		return nil
	case effect == mayAnswer:
		ended := s.fork()
		ended.sure = false
		w.end(h, w.stack, ended)
	case effect == changesURI:
		w.rewrite(h, s)
	}
	s.passed = append(s.passed, h)
	return []*state{s}
}

// arrive ends a request at the chat. The chat refuses one whose method has become another.
func (w *walker) arrive(s *state) []*state {
	if s.req.Method != s.probe.method {
		s.missed = &miss{route: w.stack[len(w.stack)-1], after: s.causeOf([]string{"method"})}
		w.end(w.target.handler, w.stack, s)
		return nil
	}
	w.outcomes = append(w.outcomes, outcome{reached: true, by: w.target.handler, at: slices.Clone(w.stack), state: s})
	if !w.through {
		return nil
	}
	behind := s.fork()
	behind.behind = true
	return []*state{behind}
}

// rewrite changes a request as a handler does, and notes how.
func (w *walker) rewrite(h *handler, s *state) {
	method, path := s.req.Method, s.req.URL.Path
	if !h.rewrite(s) {
		s.sure, s.lost = false, true
	}
	if s.req.URL.Path != path {
		s.changes = append(s.changes, change{s.req.URL.Path, false, h, slices.Clone(w.stack)})
	}
	if s.req.Method != method {
		s.changes = append(s.changes, change{s.req.Method, true, h, slices.Clone(w.stack)})
	}
}

// miss notes that a request did not match a route around the chat.
func (w *walker) miss(r *route, s *state, taken *route) {
	if s.missed == nil && w.isOnTheWay(r) {
		matchers := r.mismatching(s)
		s.missed = &miss{r, matchers, s.causeOf(matchers), taken}
	}
}

func (w *walker) isOnTheWay(r *route) bool { return slices.Contains(w.target.chain, r) }

// merge drops requests that go the same way as one before.
func (w *walker) merge(states []*state) []*state {
	var kept []*state
	for _, s := range states {
		if !slices.ContainsFunc(kept, s.same) {
			kept = append(kept, s)
		}
	}
	if len(kept) > maxStates {
		w.tooMany = true
		kept = kept[:maxStates]
	}
	return kept
}
