package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// The names of our handlers in JSON.
const (
	chatModule = "illumichat"
	pageModule = "illumichat_page"
)

// server is a server of the config, with its routes as a tree.
type server struct {
	*caddyhttp.Server
	name   string
	app    *caddyhttp.App
	routes []*route
	named  map[string]*route // for `invoke`
	errors []*route          // of `handle_errors`
}

// route is caddyhttp.Route with its matchers and handlers decoded.
type route struct {
	group    string
	sets     []matcherSet // any of them has to match; none: every request matches
	handlers []*handler
	terminal bool
}

// handler is a handler of a route.
type handler struct {
	module string // its name in JSON, such as `static_response`
	raw    json.RawMessage
	routes []*route // of a `subroute`
	errors []*route // its error routes
	name   string   // of the named route that `invoke` runs

	responses [][]*route // the routes of each `handle_response` of a `reverse_proxy`
}

// decode returns the HTTP app of a config and its servers, sorted by name.
func decode(config []byte) (*caddyhttp.App, []*server, error) {
	var root struct {
		Apps struct {
			HTTP *caddyhttp.App `json:"http"`
		} `json:"apps"`
	}
	if err := json.Unmarshal(config, &root); err != nil {
		return nil, nil, fmt.Errorf("the config's JSON: %w", plain(err))
	}
	app := root.Apps.HTTP
	if app == nil {
		return new(caddyhttp.App), nil, nil
	}
	var servers []*server
	for _, name := range slices.Sorted(maps.Keys(app.Servers)) {
		if app.Servers[name] == nil {
			continue
		}
		s, err := newServer(app, name)
		if err != nil {
			return nil, nil, fmt.Errorf("server %s: %w", values.Printable(name), err)
		}
		servers = append(servers, s)
	}
	return app, servers, nil
}

func newServer(app *caddyhttp.App, name string) (*server, error) {
	config := app.Servers[name]
	s := &server{Server: config, name: name, app: app, named: make(map[string]*route)}
	var err error
	if s.routes, err = newRoutes(config.Routes); err != nil {
		return nil, err
	}
	if config.Errors != nil {
		if s.errors, err = newRoutes(config.Errors.Routes); err != nil {
			return nil, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(config.NamedRoutes)) {
		if config.NamedRoutes[name] == nil {
			continue
		}
		if s.named[name], err = newRoute(*config.NamedRoutes[name]); err != nil {
			return nil, fmt.Errorf("named_routes.%s.%w", values.Printable(name), err)
		}
	}
	return s, nil
}

var errNoHandler = errors.New(`there is no handler; write one, such as {"handler": "file_server"}`)

// plain returns an error about JSON without the names of Go's types.
func plain(err error) error {
	var mismatch *json.UnmarshalTypeError
	switch {
	case !errors.As(err, &mismatch):
		return err
	case mismatch.Field == "":
		return fmt.Errorf("it is not an object, but %s", article(mismatch.Value))
	}
	return fmt.Errorf("the value of %s cannot be %s", values.Printable(mismatch.Field), article(mismatch.Value))
}

// article returns the name of a kind of JSON value with its article.
func article(kind string) string {
	if kind == "array" || kind == "object" {
		return "an " + kind
	}
	return "a " + kind
}

func newRoutes(configs caddyhttp.RouteList) ([]*route, error) {
	routes := make([]*route, len(configs))
	for i, config := range configs {
		var err error
		if routes[i], err = newRoute(config); err != nil {
			return nil, fmt.Errorf("routes[%d].%w", i, err)
		}
	}
	return routes, nil
}

func newRoute(config caddyhttp.Route) (*route, error) {
	r := &route{group: config.Group, terminal: config.Terminal}
	for _, set := range config.MatcherSetsRaw {
		r.sets = append(r.sets, newMatcherSet(set))
	}
	for i, raw := range config.HandlersRaw {
		h, err := newHandler(raw)
		if err != nil {
			return nil, fmt.Errorf("handle[%d]: %w", i, plain(err))
		}
		r.handlers = append(r.handlers, h)
	}
	if r.triesFiles() {
		r.assumeFiles()
	}
	return r, nil
}

func newHandler(raw json.RawMessage) (*handler, error) {
	var config struct {
		Handler string `json:"handler"`
	}
	if err := json.Unmarshal(raw, &config); err != nil {
		return nil, err
	}
	if config.Handler == "" {
		return nil, errNoHandler
	}
	h := &handler{module: config.Handler, raw: raw}
	var err error
	switch h.module {
	case "subroute":
		err = h.decodeSubroute()
	case "invoke":
		var invoke caddyhttp.Invoke
		err = json.Unmarshal(raw, &invoke)
		h.name = invoke.Name
	case "reverse_proxy":
		err = h.decodeResponses()
	}
	return h, err
}

func (h *handler) decodeSubroute() error {
	var config caddyhttp.Subroute
	err := json.Unmarshal(h.raw, &config)
	if err != nil {
		return err
	}
	if h.routes, err = newRoutes(config.Routes); err != nil || config.Errors == nil {
		return err
	}
	h.errors, err = newRoutes(config.Errors.Routes)
	return err
}

func (h *handler) decodeResponses() error {
	var config struct {
		HandleResponse []caddyhttp.ResponseHandler `json:"handle_response"`
	}
	if err := json.Unmarshal(h.raw, &config); err != nil {
		return err
	}
	for _, response := range config.HandleResponse {
		if response.StatusCode != "" { // of a `replace_status`, which sends the answer
			continue
		}
		routes, err := newRoutes(response.Routes)
		if err != nil {
			return err
		}
		h.responses = append(h.responses, routes)
	}
	return nil
}

// nested returns the routes that a handler runs, if it is one that runs routes.
func (s *server) nested(h *handler) []*route {
	if h.module == "invoke" {
		if named := s.named[h.name]; named != nil {
			return []*route{named}
		}
	}
	return h.routes
}

// config decodes the handler's own config into target. It reports whether that succeeds.
func (h *handler) config(target any) bool { return json.Unmarshal(h.raw, target) == nil }
