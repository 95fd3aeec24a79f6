package illumichat

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"go.uber.org/zap"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// This file finds out where in a config a handler is, so that logs and the admin API tell the chats of many sites apart.
// Caddy does not pass that to a handler. So this file searches the routes of the HTTP app once they are complete.

// place says where in a config a handler is. Hosts and paths are those of the innermost matcher that has some. If an inner
// path lacks the beginning of the paths around it, those come first.
type place struct {
	Server string   `json:"server,omitempty"` // the name in the config's servers
	Hosts  []string `json:"hosts,omitempty"`
	Paths  []string `json:"paths,omitempty"`

	narrowed bool // a matcher other than one of hosts is on the way
}

// within returns the place inside a route.
func (p place) within(route caddyhttp.Route) place {
	var hosts, paths []string
	for _, set := range route.MatcherSets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchHost:
				hosts = append(hosts, *m...)
				continue
			case *caddyhttp.MatchPath:
				paths = append(paths, *m...)
				if slices.Contains(*m, "*") || slices.Contains(*m, "/*") {
					continue
				}
			}
			p.narrowed = true
		}
	}
	if len(hosts) > 0 {
		p.Hosts = hosts
	}
	if len(paths) > 0 {
		p.Paths = nested(p.Paths, paths)
	}
	return p
}

// nested returns the paths of a matcher inside another one. Behind a handle_path, an inner path lacks the beginning of the
// outer one, so both are needed to tell two places apart.
func nested(outer, inner []string) []string {
	if len(outer) == 0 {
		return inner
	}
	around := strings.Join(shortened(outer), ",")
	names := make([]string, len(inner))
	for i, path := range inner {
		names[i] = path
		if !slices.ContainsFunc(outer, func(o string) bool { return strings.HasPrefix(path, strings.TrimRight(o, "*/")) }) {
			names[i] = around + " " + path
		}
	}
	return names
}

// mostNames bounds how many hosts or paths a line of the log has.
const mostNames = 8

// fields returns the fields of a log line. What is not known has none.
func (p place) fields() []zap.Field {
	var fields []zap.Field
	if p.Server != "" {
		fields = append(fields, zap.String("server", p.Server))
	}
	if len(p.Hosts) > 0 {
		fields = append(fields, zap.Strings("hosts", shortened(p.Hosts)))
	}
	if len(p.Paths) > 0 {
		fields = append(fields, zap.Strings("paths", shortened(p.Paths)))
	}
	return fields
}

// String returns the hosts and the paths, or the server if there are no hosts.
func (p place) String() string {
	where := strings.Join(shortened(p.Hosts), ",")
	if where == "" {
		where = p.Server
	}
	return strings.TrimSpace(where + " " + strings.Join(shortened(p.Paths), ","))
}

func shortened(names []string) []string {
	if len(names) <= mostNames {
		return names
	}
	return append(slices.Clone(names[:mostNames]), fmt.Sprintf("and %d more", len(names)-mostNames))
}

// findPlaces calls found for each handler of ours in the routes of an HTTP app.
func findPlaces(app *caddyhttp.App, found func(*Handler, place)) {
	for name, server := range app.Servers {
		at := place{Server: name}
		findInRoutes(server.Routes, at, found)
		for _, route := range server.NamedRoutes {
			findInRoutes(caddyhttp.RouteList{*route}, at, found)
		}
		if server.Errors != nil {
			findInRoutes(server.Errors.Routes, at, found)
		}
	}
}

func findInRoutes(routes caddyhttp.RouteList, at place, found func(*Handler, place)) {
	for _, route := range routes {
		here := at.within(route)
		for _, handler := range route.Handlers {
			switch h := handler.(type) {
			case *Handler:
				found(h, here)
			case *caddyhttp.Subroute:
				findInRoutes(h.Routes, here, found)
				if h.Errors != nil {
					findInRoutes(h.Errors.Routes, here, found)
				}
			case *intercept.Intercept:
				findInResponses(h.HandleResponse, here, found)
			case *reverseproxy.Handler:
				findInResponses(h.HandleResponse, here, found)
			}
		}
	}
}

func findInResponses(responses []caddyhttp.ResponseHandler, at place, found func(*Handler, place)) {
	for _, response := range responses {
		findInRoutes(response.Routes, at, found)
	}
}

// placeMap maps the handlers of one config to their places.
type placeMap struct {
	app    *caddyhttp.App
	log    *zap.Logger // of the config, without a handler's fields
	once   sync.Once   // finds the places
	places map[*Handler]place
	users  int // handlers that have joined; loadedPlaces guards it
}

// loadedPlaces has the places of each loaded config, by the config's HTTP app.
var loadedPlaces struct {
	mu     sync.Mutex
	byApps map[*caddyhttp.App]*placeMap
}

// joinPlaces returns the places of the config that provisions a handler. It returns nil if no HTTP app does that. The
// handler calls leave when it is cleaned up.
func joinPlaces(ctx caddy.Context) *placeMap {
	i := slices.IndexFunc(ctx.Modules(), func(m caddy.Module) bool { _, ok := m.(*caddyhttp.App); return ok })
	if i < 0 {
		return nil
	}
	app := ctx.Modules()[i].(*caddyhttp.App)
	loadedPlaces.mu.Lock()
	defer loadedPlaces.mu.Unlock()
	m := loadedPlaces.byApps[app]
	if m == nil {
		m = &placeMap{app: app, log: ctx.Logger()}
		if loadedPlaces.byApps == nil {
			loadedPlaces.byApps = make(map[*caddyhttp.App]*placeMap)
		}
		loadedPlaces.byApps[app] = m
	}
	m.users++
	return m
}

// leave forgets the places of a config that has no handlers any more.
func (m *placeMap) leave() {
	if m == nil {
		return
	}
	loadedPlaces.mu.Lock()
	defer loadedPlaces.mu.Unlock()
	if m.users--; m.users == 0 {
		delete(loadedPlaces.byApps, m.app)
	}
}

// of returns the place of a handler. The config must be complete. The first call logs what concerns the config as a whole.
func (m *placeMap) of(h *Handler) place {
	if m == nil {
		return place{}
	}
	m.once.Do(func() {
		m.places = make(map[*Handler]place)
		findPlaces(m.app, func(h *Handler, at place) { m.places[h] = at })
		m.logOnce()
	})
	return m.places[h]
}

// logOnce logs one line for all sites that have the same gap, because a config may have many sites.
func (m *placeMap) logOnce() {
	if sites := m.names(func(h *Handler, _ place) bool { return len(h.Limits) == 0 }); len(sites) > 0 {
		m.log.Info(msgNoLimit, zap.Strings("sites", sites))
	}
	if sites := m.names(func(_ *Handler, at place) bool { return !at.narrowed }); len(sites) > 0 {
		m.log.Info("no path is set, so the chat answers every request that reaches it; to limit it to a path, write one after the directive, such as "+
			"illumichat /api/chat-proxy", zap.Strings("sites", sites))
	}
}

// msgNoLimit is logged when the config loads.
const msgNoLimit = "no limit is set, so anyone who finds the chat can spend the token's quota"

// names returns the places of the handlers that match, sorted. Places on several servers with equal names have their servers
// with them.
func (m *placeMap) names(match func(*Handler, place) bool) []string {
	servers := make(map[string][]string)
	for h, at := range m.places {
		if match(h, at) {
			servers[at.String()] = append(servers[at.String()], at.Server)
		}
	}
	var names []string
	for name, all := range servers {
		slices.Sort(all)
		all = slices.Compact(all)
		for _, server := range all {
			if len(all) > 1 {
				names = append(names, name+" ("+server+")")
				continue
			}
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
