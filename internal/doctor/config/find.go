package config

import (
	"encoding/json"
	"slices"
)

// chat is one of our handlers, at one place in the config.
type chat struct {
	server  *server
	handler *handler
	chain   []*route   // the routes around it, from the outermost to its own
	lists   [][]*route // the lists in which the routes of chain are
	inError bool       // it handles errors
}

// maxDepth is how deep routes are nested at most.
const maxDepth = 64

// maxSteps is how many routes are visited at most in one search, or for one request. Named routes that each invoke
// another twice make more of them than anybody can visit.
const maxSteps = 100_000

// finder collects the chats of a server, or its pages.
type finder struct {
	server *server
	module string // of the handlers that it looks for
	found  []*chat
	hidden []*handler // handlers that this package does not look into, with a chat inside
	steps  int        // how many routes it has visited
	cuts   int        // how often it has left routes out: they are too deep, or it was in them already

	barren map[*route]bool // routes that are alone in their list, as named routes are, and have no such handler
}

func newFinder(s *server, module string) *finder {
	return &finder{server: s, module: module, barren: make(map[*route]bool)}
}

// find returns the chats of a server. It also returns the handlers that have a chat inside where this package cannot
// follow a request. A named route that no route invokes counts as no such handler: see uninvoked. complete is false if the
// server has too many routes to visit.
func find(s *server) (chats []*chat, hidden []*handler, complete bool) {
	f := newFinder(s, chatModule)
	f.search(s.routes, nil, nil, false)
	f.search(s.errors, nil, nil, true)
	return f.found, f.hidden, f.steps < maxSteps
}

func (f *finder) search(list []*route, chain []*route, lists [][]*route, inError bool) {
	switch {
	case len(chain) == maxDepth:
		f.cuts++
		return
	case len(list) == 1 && f.barren[list[0]]:
		return
	}
	lists = append(slices.Clip(lists), list)
	before := f.progress()
	for _, r := range list {
		if f.steps == maxSteps {
			return
		}
		f.steps++
		if slices.Contains(chain, r) { // a named route that invokes itself
			f.cuts++
			continue
		}
		here := append(slices.Clip(chain), r)
		for _, h := range r.handlers {
			switch h.module {
			case f.module:
				f.found = append(f.found, &chat{f.server, h, here, lists, inError})
			case "subroute", "invoke":
				f.search(f.server.nested(h), here, lists, inError)
				f.search(h.errors, here, lists, true)
			default:
				if holdsChat(h.raw) {
					f.hidden = append(f.hidden, h)
				}
			}
		}
	}
	if len(list) == 1 && f.progress() == before {
		f.barren[list[0]] = true
	}
}

// progress returns a number that stays the same while the finder sees no chat and leaves nothing out.
func (f *finder) progress() int {
	n := len(f.found) + len(f.hidden) + f.cuts
	if f.steps == maxSteps {
		n++
	}
	return n
}

// uninvoked returns the names of the server's named routes that have a chat, though no request can get there.
func uninvoked(s *server, chats []*chat) []string {
	var names []string
	for name, named := range s.named {
		inside := newFinder(s, chatModule)
		inside.search([]*route{named}, nil, nil, false)
		used := func(c *chat) bool {
			return slices.ContainsFunc(chats, func(other *chat) bool { return other.handler == c.handler })
		}
		if len(inside.found) > 0 && !slices.ContainsFunc(inside.found, used) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// holdsChat reports whether our handler is anywhere in a piece of JSON.
func holdsChat(raw json.RawMessage) bool {
	var value any
	return json.Unmarshal(raw, &value) == nil && isOrHoldsChat(value)
}

func isOrHoldsChat(value any) bool {
	switch v := value.(type) {
	case []any:
		return slices.ContainsFunc(v, isOrHoldsChat)
	case map[string]any:
		if v["handler"] == chatModule {
			return true
		}
		for _, each := range v {
			if isOrHoldsChat(each) {
				return true
			}
		}
	}
	return false
}
