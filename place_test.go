package illumichat

import (
	"fmt"
	"slices"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/intercept"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// routeOf returns a route with matchers of hosts and paths, if there are any, and handlers.
func routeOf(hosts caddyhttp.MatchHost, paths caddyhttp.MatchPath, handlers ...caddyhttp.MiddlewareHandler) caddyhttp.Route {
	var set caddyhttp.MatcherSet
	if hosts != nil {
		set = append(set, &hosts)
	}
	if paths != nil {
		set = append(set, &paths)
	}
	route := caddyhttp.Route{Handlers: handlers}
	if set != nil {
		route.MatcherSets = caddyhttp.MatcherSets{set}
	}
	return route
}

func subroute(routes ...caddyhttp.Route) *caddyhttp.Subroute {
	return &caddyhttp.Subroute{Routes: routes}
}

func inResponse(routes ...caddyhttp.Route) []caddyhttp.ResponseHandler {
	return []caddyhttp.ResponseHandler{{Routes: routes}}
}

// Each handler is found, wherever in the routes it is, with the innermost hosts, and with the paths around it.
func TestPlaces(t *testing.T) {
	hosts, paths := caddyhttp.MatchHost{"example.com"}, caddyhttp.MatchPath{"/chat"}
	names := make(map[*Handler]string)
	chat := func(name string) *Handler {
		h := new(Handler)
		names[h] = name
		return h
	}
	named := routeOf(nil, paths, chat("named route"))
	app := &caddyhttp.App{Servers: map[string]*caddyhttp.Server{
		"srv0": {
			Routes: caddyhttp.RouteList{
				routeOf(nil, nil, chat("everywhere")),
				routeOf(hosts, nil, subroute(routeOf(nil, paths, chat("site")), routeOf(caddyhttp.MatchHost{"inner.example.com"}, nil, chat("inner host")))),
				routeOf(hosts, caddyhttp.MatchPath{"/api/*"}, subroute(routeOf(nil, caddyhttp.MatchPath{"/api/chat"}, chat("handle")))),
				routeOf(hosts, caddyhttp.MatchPath{"/api/*"}, subroute(routeOf(nil, paths, chat("handle_path")))),
				routeOf(hosts, nil, subroute(routeOf(nil, caddyhttp.MatchPath{"/*"}, chat("every path")))),
				routeOf(hosts, caddyhttp.MatchPath{"/a/*"}, subroute(routeOf(nil, caddyhttp.MatchPath{"/b/*"}, subroute(routeOf(nil, paths, chat("three levels")))))),
				routeOf(hosts, nil, &intercept.Intercept{HandleResponse: inResponse(routeOf(nil, paths, chat("intercept")))}),
				routeOf(hosts, nil, &reverseproxy.Handler{HandleResponse: inResponse(routeOf(nil, paths, chat("reverse_proxy")))}),
				routeOf(hosts, nil, &caddyhttp.Subroute{Errors: &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{routeOf(nil, nil, chat("errors of a site"))}}}),
				{
					MatcherSets: caddyhttp.MatcherSets{{&hosts}, {&caddyhttp.MatchHost{"example.org"}}, {new(caddyhttp.MatchMethod)}},
					Handlers:    []caddyhttp.MiddlewareHandler{chat("several sets")},
				},
			},
			NamedRoutes: map[string]*caddyhttp.Route{"chat": &named},
			Errors:      &caddyhttp.HTTPErrorConfig{Routes: caddyhttp.RouteList{routeOf(hosts, nil, chat("errors"))}},
		},
		"srv1": {Routes: caddyhttp.RouteList{routeOf(nil, paths, chat("other server"))}},
	}}
	var got []string
	findPlaces(app, func(h *Handler, p place) {
		got = append(got, fmt.Sprintf("%s: %s %s, narrowed %t", names[h], p.Server, p, p.narrowed))
	})
	slices.Sort(got)
	want := []string{
		"errors of a site: srv0 example.com, narrowed false",
		"errors: srv0 example.com, narrowed false",
		"every path: srv0 example.com /*, narrowed false",
		"everywhere: srv0 srv0, narrowed false",
		"handle: srv0 example.com /api/chat, narrowed true",
		"handle_path: srv0 example.com /api/* /chat, narrowed true",
		"inner host: srv0 inner.example.com, narrowed false",
		"intercept: srv0 example.com /chat, narrowed true",
		"named route: srv0 srv0 /chat, narrowed true",
		"other server: srv1 srv1 /chat, narrowed true",
		"reverse_proxy: srv0 example.com /chat, narrowed true",
		"several sets: srv0 example.com,example.org, narrowed true",
		"site: srv0 example.com /chat, narrowed true",
		"three levels: srv0 example.com /a/* /b/* /chat, narrowed true",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%q\nwant\n%q", got, want)
	}
}

// A line of the log has a bounded number of names.
func TestPlaceIsShort(t *testing.T) {
	p := place{Hosts: make([]string, 20)}
	for i := range p.Hosts {
		p.Hosts[i] = fmt.Sprint("h", i)
	}
	if got, want := p.String(), "h0,h1,h2,h3,h4,h5,h6,h7,and 12 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if len(p.Hosts) != 20 || p.Hosts[8] != "h8" {
		t.Errorf("the place itself has changed: %q", p.Hosts)
	}
}
