package config

import (
	"context"
	"encoding/json"
	"maps"
	"net/textproto"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// matcher is one matcher of a route.
type matcher struct {
	name string // its name in JSON, such as `path_regexp`
	raw  json.RawMessage
	eval evaluator
}

// evaluator says whether a made-up request matches.
type evaluator interface{ match(*state) verdict }

// matcherSet is a set of matchers that all have to match.
type matcherSet []matcher

func newMatcherSet(config caddy.ModuleMap) matcherSet {
	var set matcherSet
	for _, name := range slices.Sorted(maps.Keys(config)) {
		set = append(set, matcher{name, config[name], newEvaluator(name, config[name])})
	}
	return set
}

// newEvaluator returns what evaluates a matcher. A matcher that cannot be evaluated may match.
func newEvaluator(name string, raw json.RawMessage) evaluator {
	switch name {
	case "host", "path", "path_regexp", "method", "protocol":
		if name == "protocol" && !isScheme(raw) {
			return unknown{}
		}
		return newCaddyMatcher(name, raw)
	case "expression":
		if isSimple(expressionOf(raw)) {
			return newCaddyMatcher(name, raw)
		}
	case "not":
		var sets []caddy.ModuleMap
		if json.Unmarshal(raw, &sets) != nil {
			return unknown{}
		}
		var n notMatcher
		for _, set := range sets {
			n = append(n, newMatcherSet(set))
		}
		return n
	case "header":
		var fields headerMatcher
		if json.Unmarshal(raw, &fields) == nil {
			return fields
		}
	case "file":
		var file fileMatcher
		if json.Unmarshal(raw, &file) == nil {
			return &file
		}
	}
	return unknown{}
}

// unknown is a matcher that needs more than a made-up request has.
type unknown struct{}

func (unknown) match(*state) verdict { return maybe }

// isScheme reports whether a `protocol` matcher is about HTTPS, and not about the version of HTTP.
func isScheme(raw json.RawMessage) bool {
	var protocol string
	return json.Unmarshal(raw, &protocol) == nil && (protocol == "http" || protocol == "https")
}

// These match the texts of a CEL expression, its placeholders, and its words.
var (
	celText        = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'`)
	celPlaceholder = regexp.MustCompile(`\{[^{}]*\}`)
	celWord        = regexp.MustCompile(`[A-Za-z_]\w*`)
)

// simpleWords are the words of an expression that needs no more than a made-up request has.
var simpleWords = []string{
	"path", "path_regexp", "method", "host", "true", "false", "in", "contains", "endsWith", "startsWith", "matches", "lowerAscii", "size",
	"{http.request.uri.path}", "{http.request.method}", "{http.request.host}",
}

// isSimple reports whether an expression is about a request's host, path and method only.
func isSimple(expression string) bool {
	rest := celText.ReplaceAllString(expression, "")
	words := celPlaceholder.FindAllString(rest, -1)
	words = append(words, celWord.FindAllString(celPlaceholder.ReplaceAllString(rest, ""), -1)...)
	return !slices.ContainsFunc(words, func(word string) bool { return !slices.Contains(simpleWords, word) })
}

// caddyMatcher is one of Caddy's own matchers, and as good as in a running Caddy.
type caddyMatcher struct {
	caddyhttp.RequestMatcherWithError
}

// newContext returns a context in which modules can be loaded that need no other part of the config.
func newContext() (caddy.Context, context.CancelFunc) {
	return caddy.NewContext(caddy.Context{Context: context.Background()})
}

// newCaddyMatcher loads one of Caddy's matchers. Its name is that of a matcher that needs no other part of the config.
func newCaddyMatcher(name string, raw json.RawMessage) evaluator {
	ctx, cancel := newContext()
	defer cancel()
	module, err := ctx.LoadModuleByID("http.matchers."+name, raw)
	if err != nil {
		return unknown{} // Caddy refuses the config, and says why
	}
	if m, ok := module.(caddyhttp.RequestMatcherWithError); ok {
		return caddyMatcher{m}
	}
	return unknown{}
}

func (m caddyMatcher) match(s *state) verdict {
	matched, err := m.MatchWithError(s.req)
	switch {
	case err != nil:
		return maybe
	case matched:
		return yes
	}
	return no
}

// notMatcher is `not`: none of its sets may match.
type notMatcher []matcherSet

func (m notMatcher) match(s *state) verdict { return anyOf(m, s).not() }

// headerMatcher is `header`. A made-up request has the few fields that each chat has, and none that no chat has. It has a
// Content-Type only if it has a body.
type headerMatcher map[string][]string

// absentFields are fields that no chat of a page has: they ask for another protocol on the connection.
var absentFields = []string{"Upgrade", "Connection", "Sec-Websocket-Key", "Sec-Websocket-Version"}

func (m headerMatcher) match(s *state) verdict {
	known := make(caddyhttp.MatchHeader)
	for name, fieldValues := range m {
		canonical := textproto.CanonicalMIMEHeaderKey(name)
		_, has := s.req.Header[canonical]
		if has || canonical == "Content-Type" || slices.Contains(absentFields, canonical) {
			known[name] = fieldValues
		}
	}
	matched, err := known.MatchWithError(s.req)
	switch {
	case err != nil:
		return maybe
	case !matched:
		return no
	case len(known) < len(m):
		return maybe
	}
	return yes
}

// fileMatcher is `file`, which is also what `try_files` makes.
type fileMatcher struct {
	TryFiles  []string `json:"try_files"`
	TryPolicy string   `json:"try_policy"`

	exist bool // files exist whose names do not come from the request
}

// match assumes that a file exists if its name does not come from the request, and that no other exists. If all names are
// such names, the file is one that switches something on, such as a maintenance page. Then nothing is known.
func (m *fileMatcher) match(s *state) verdict {
	files := m.TryFiles
	if files == nil {
		files = []string{"{http.request.uri.path}"}
	}
	fallback := m.exist || slices.ContainsFunc(files, hasBrace)
	for i, file := range files {
		file, _, _ = strings.Cut(file, "?") // Caddy looks for no query, either
		switch {
		case strings.HasPrefix(file, "=") && i == len(files)-1:
			return fails
		case m.TryPolicy == "first_exist_fallback" && i == len(files)-1:
		case hasBrace(file):
			continue
		case !fallback:
			return maybe
		}
		s.setFile(file)
		return yes
	}
	return no
}

// triesFiles reports whether the route is one of a `try_files`, which makes a route of its own for each file with a query.
func (r *route) triesFiles() bool {
	return slices.ContainsFunc(r.handlers, func(h *handler) bool { return h.module == "rewrite" && h.rewriting() == "try_files" })
}

// assumeFiles lets the route's matchers assume that the files of a `try_files` exist.
func (r *route) assumeFiles() {
	for _, set := range r.sets {
		for _, m := range set {
			if file, ok := m.eval.(*fileMatcher); ok {
				file.exist = true
			}
		}
	}
}

// anyOf returns the verdict of sets of which one has to match.
func anyOf(sets []matcherSet, s *state) verdict {
	best := no
	for _, set := range sets {
		switch v := set.match(s); {
		case v == yes, v == fails && best == no:
			return v
		case v != no:
			best = maybe
		}
	}
	return best
}

func (set matcherSet) match(s *state) verdict {
	v := yes
	for _, m := range set {
		v = v.and(m.eval.match(s))
	}
	return v
}

// match returns whether the route matches.
func (r *route) match(s *state) verdict {
	if len(r.sets) == 0 {
		return yes
	}
	return anyOf(r.sets, s)
}

// mismatching returns the names of the route's matchers that do not match.
func (r *route) mismatching(s *state) []string {
	var names []string
	for _, set := range r.sets {
		for _, m := range set {
			if m.eval.match(s) == no {
				names = append(names, m.name)
			}
		}
	}
	return names
}

func hasBrace(file string) bool { return strings.Contains(file, "{") }

// texts returns the config of a matcher that is a list of texts, such as `path` and `host`.
func (m matcher) texts() []string {
	var texts []string
	if json.Unmarshal(m.raw, &texts) != nil {
		return nil
	}
	return texts
}
