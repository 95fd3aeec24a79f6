package config

import (
	"crypto/tls"
	"maps"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// probe is a made-up request, as a page or a browser would send it.
type probe struct {
	method, host, path string
	https              bool
	header             http.Header
}

// newRequest returns the request as Caddy has it before the first route.
func (p probe) newRequest() *http.Request {
	location := &url.URL{Path: p.path}
	if parsed, err := url.ParseRequestURI(p.path); err == nil && strings.Contains(p.path, "%") {
		location = parsed // a matcher can ask for an escape
	}
	r := &http.Request{
		Method:     p.method,
		Host:       p.host,
		URL:        location,
		RequestURI: p.path,
		Proto:      "HTTP/1.1",
		ProtoMajor: 1,
		ProtoMinor: 1,
		Header:     p.header.Clone(),
	}
	if p.https {
		r.TLS = &tls.ConnectionState{HandshakeComplete: true}
	}
	return caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, nil)
}

// state is how far a made-up request has come, and under which condition.
type state struct {
	probe  probe
	req    *http.Request
	sure   bool              // no matcher on the way has said "maybe"
	lost   bool              // a rewrite depends on what it does not have, so its path is not known
	groups map[string]*route // group → its route that has matched
	file   string            // which a `file` matcher has found last, "" if none

	passed  []*handler // those that the request has passed
	changes []change   // how its path or method was changed
	missed  *miss      // where it first left the way to the chat; nil if it is on the way
	depends []*route   // the routes around the chat that it may not match
	behind  bool       // it has passed the chat; see walker.through
	forked  bool       // it is a copy, without the groups that a regular expression had captured before
}

// change is a change of a request's path or method.
type change struct {
	to      string
	method  bool // of the method, and not of the path
	handler *handler
	at      []*route // the routes around the handler
}

// miss is a route around the chat that a request did not match.
type miss struct {
	route    *route
	matchers []string // the names of those that did not match
	after    *change  // the change before that caused it; nil if there was none
	taken    *route   // the route of the same group that matched before; nil if there was none
}

func newState(p probe) *state {
	return &state{probe: p, req: p.newRequest(), sure: true, groups: make(map[string]*route)}
}

// fork returns a copy of the state. Groups that a regular expression has captured are not copied.
func (s *state) fork() *state {
	forked := *s
	forked.forked = true
	forked.req = s.probe.newRequest()
	forked.req.Method, forked.req.RequestURI = s.req.Method, s.req.RequestURI
	*forked.req.URL = *s.req.URL
	forked.groups = maps.Clone(s.groups)
	forked.passed, forked.changes, forked.depends = slices.Clip(s.passed), slices.Clip(s.changes), slices.Clip(s.depends)
	if s.file != "" {
		forked.setFile(s.file)
	}
	return &forked
}

func (s *state) replacer() *caddy.Replacer {
	return s.req.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
}

// forgot reports whether a placeholder may be a group that the state has lost as a copy.
func (s *state) forgot(placeholder string) bool {
	name := strings.Trim(placeholder, "{}")
	_, known := s.replacer().Get(name)
	return s.forked && !known && strings.HasPrefix(name, "http.regexp.")
}

// setFile notes that a `file` matcher has found a file.
func (s *state) setFile(name string) {
	s.file = path.Clean("/" + s.replacer().ReplaceAll(name, ""))
	s.replacer().Set("http.matchers.file.relative", s.file)
	s.replacer().Set("http.matchers.file.remainder", "")
}

// causeOf returns the last change that matchers with these names can have been lost by; nil if there was none.
func (s *state) causeOf(matchers []string) *change {
	for i, c := range slices.Backward(s.changes) {
		isCause := func(matcher string) bool { return matcher != "host" && c.method == (matcher == "method") }
		if slices.ContainsFunc(matchers, isCause) {
			return &s.changes[i]
		}
	}
	return nil
}

// same reports whether two requests will go the same way from here.
func (s *state) same(other *state) bool {
	return s.req.Method == other.req.Method && *s.req.URL == *other.req.URL && s.file == other.file &&
		maps.Equal(s.groups, other.groups) && s.missed == other.missed && s.behind == other.behind && s.lost == other.lost
}
