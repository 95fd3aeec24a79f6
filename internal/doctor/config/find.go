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

// maxDepth is how deep routes are nested at most. Named routes that invoke each other have no end.
const maxDepth = 64

// finder collects the chats of a server.
type finder struct {
	server *server
	found  []*chat
	hidden []*handler // handlers that this package does not look into, with a chat inside
}

// find returns the chats of a server. It also returns the handlers that have a chat inside where this package cannot
// follow a request. A named route that no route invokes counts as no such handler: see uninvoked.
func find(s *server) (chats []*chat, hidden []*handler) {
	f := finder{server: s}
	f.search(s.routes, nil, nil, false)
	f.search(s.errors, nil, nil, true)
	return f.found, f.hidden
}

func (f *finder) search(list []*route, chain []*route, lists [][]*route, inError bool) {
	if len(chain) == maxDepth {
		return
	}
	lists = append(slices.Clip(lists), list)
	for _, r := range list {
		here := append(slices.Clip(chain), r)
		for _, h := range r.handlers {
			switch h.module {
			case chatModule:
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
}

// uninvoked returns the names of the server's named routes that have a chat, though no request can get there.
func uninvoked(s *server, chats []*chat) []string {
	var names []string
	for name, named := range s.named {
		inside := finder{server: s}
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
