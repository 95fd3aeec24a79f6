package config

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"golang.org/x/net/idna"

	"github.com/caddyserver/caddy/v2"
)

// anything fills the place of a wildcard in a made-up request.
const anything = "any"

// anyHost is the host of a made-up request to a server for all hosts. No site can have that name (RFC 6761).
const anyHost = anything + ".invalid"

// maxCandidates is how many requests are made up for one chat at most.
const maxCandidates = 2000

// everyPath is the pattern of a chat that has no path.
const everyPath = "*"

// pattern is a host or a path that the config names, and one that it matches.
type pattern struct {
	written string // as the config names it, with its placeholders
	sample  string
	kind    kind
}

// kind says what a pattern and its sample have to do with each other.
type kind int

const (
	exact   kind = iota // the pattern has no wildcard, so the sample is all that it matches
	wild                // the sample has something in the place of a wildcard
	guess               // the sample is taken from a matcher that may match others
	attempt             // the sample may lead to the chat, since a directive rewrites paths before it
)

// candidate is a request that the config seems to send to a chat.
type candidate struct{ host, path pattern }

// asks reports whether another candidate makes the same request.
func (one candidate) asks(other candidate) bool {
	return one.host == other.host && one.path.sample == other.path.sample && (one.path.kind == attempt || one.path == other.path)
}

// candidates returns the requests that the config seems to send to a chat, one for each host and path that it names.
// complete is false if some could not be made up.
func (c *chat) candidates() (found []candidate, complete bool) {
	complete = true
	for _, sets := range c.combinations() {
		hosts, ok := hostsOf(sets)
		complete = complete && ok
		paths, ok := c.pathsOf(sets)
		complete = complete && ok
		for _, host := range hosts {
			for _, path := range paths {
				if len(found) == maxCandidates {
					return found, false
				}
				if one := (candidate{host, path}); !slices.ContainsFunc(found, one.asks) {
					found = append(found, one)
				}
			}
		}
	}
	return found, complete
}

// combinations returns all ways to choose one set of matchers of each route around the chat. A route without matchers has
// an empty set.
func (c *chat) combinations() [][]matcherSet {
	all := [][]matcherSet{nil}
	for _, r := range c.chain {
		sets := r.sets
		if len(sets) == 0 {
			sets = []matcherSet{nil}
		}
		var longer [][]matcherSet
		for _, chosen := range all {
			for _, set := range sets {
				if len(longer) < maxCandidates {
					longer = append(longer, append(slices.Clip(chosen), set))
				}
			}
		}
		all = longer
	}
	return all
}

// hostsOf returns the hosts that sets of matchers name: those of the innermost set with a `host`, because it is about a
// part of the site around it.
func hostsOf(sets []matcherSet) (hosts []pattern, complete bool) {
	named := exactTexts(sets, "host")
	for _, set := range slices.Backward(sets) {
		written, ok := set.named("host")
		if !ok {
			continue
		}
		for _, host := range written {
			known, ok := expand(host)
			switch {
			case !ok:
				return hosts, false
			case !strings.Contains(known, "*"):
				hosts = append(hosts, pattern{host, requestHost(known), exact})
			default:
				hosts = append(hosts, narrower(host, known, "host", named)...)
			}
		}
		return hosts, true
	}
	return []pattern{{sample: anyHost, kind: wild}}, true
}

// pathsOf returns the paths that sets of matchers name. A path of an inner route lacks the prefixes that `handle_path` has
// removed. If it has them nevertheless, the operator has written the whole path, and means it.
func (c *chat) pathsOf(sets []matcherSet) (paths []pattern, complete bool) {
	named := exactTexts(sets, "path")
	for level, set := range slices.Backward(sets) {
		prefix := c.prefix(level)
		if written, ok := set.named("path"); ok {
			for _, path := range written {
				known, ok := expand(path)
				if !ok {
					return paths, false
				}
				written, whole := withPrefix(prefix, path), withPrefix(prefix, known)
				if strings.Contains(known, "*") {
					paths = append(paths, narrower(written, whole, "path", named)...)
				} else {
					paths = append(paths, pattern{written, whole, exact})
				}
			}
			return append(paths, c.attempts(sets, level, paths)...), true
		}
		samples, described, ok := set.samplePaths()
		if !described {
			continue
		}
		for _, sample := range samples {
			path := withPrefix(prefix, sample)
			paths = append(paths, pattern{path, path, guess})
		}
		return append(paths, c.attempts(sets, level, paths)...), ok
	}
	return []pattern{{everyPath, "/" + anything, guess}, {everyPath, "/", guess}}, true
}

// attempts returns further paths that may lead to the chat if a directive rewrites paths between two matchers: the paths
// of the outer matcher, and the inner ones behind them.
func (c *chat) attempts(sets []matcherSet, level int, inner []pattern) []pattern {
	if level == 0 || !c.rewritesFrom(0) {
		return nil
	}
	outer, _ := c.pathsOf(sets[:level])
	var paths []pattern
	add := func(path string) { paths = append(paths, pattern{path, path, attempt}) }
	for _, o := range outer {
		if o.written == everyPath {
			continue
		}
		add(o.sample)
		for _, i := range inner {
			add(strings.TrimSuffix(o.sample, "/") + strings.TrimPrefix(i.sample, c.prefix(level)))
		}
	}
	return paths
}

// rewritesFrom reports whether a directive inside a route of the chain rewrites the path, and not only by removing a prefix.
func (c *chat) rewritesFrom(level int) bool {
	rewrites := func(h *handler) bool { return h.module == "rewrite" && h.changesPathFreely() }
	for i := level; i < len(c.chain); i++ {
		if i > level && slices.ContainsFunc(c.lists[i][:slices.Index(c.lists[i], c.chain[i])], func(r *route) bool {
			return slices.ContainsFunc(r.handlers, rewrites)
		}) || slices.ContainsFunc(c.chain[i].handlers, rewrites) {
			return true
		}
	}
	return false
}

// named returns the texts of the set's matcher with a name.
func (set matcherSet) named(name string) (texts []string, ok bool) {
	for _, m := range set {
		if m.name == name {
			return m.texts(), true
		}
	}
	return nil, false
}

// pathLiteral matches a path in a CEL expression.
var pathLiteral = regexp.MustCompile("[\"'`](/[^\"'`*]*)[\"'`]")

// samplePaths returns paths that the set's other matchers may match: a regular expression, or an expression. described is
// false if it has none.
func (set matcherSet) samplePaths() (paths []string, described, complete bool) {
	for _, m := range set {
		switch m.name {
		case "path_regexp":
			var config struct {
				Pattern string `json:"pattern"`
			}
			if json.Unmarshal(m.raw, &config) != nil {
				return nil, true, false
			}
			sample, ok := sampleOf(config.Pattern)
			if !ok {
				return nil, true, false
			}
			return []string{sample}, true, true
		case "expression":
			for _, match := range pathLiteral.FindAllStringSubmatch(expressionOf(m.raw), -1) {
				paths = append(paths, match[1])
			}
			if len(paths) > 0 {
				return paths, true, true
			}
		}
	}
	return nil, false, true
}

// expressionOf returns a CEL expression, which is a text in JSON or the `expr` of an object.
func expressionOf(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var object struct {
		Expr string `json:"expr"`
	}
	_ = json.Unmarshal(raw, &object)
	return object.Expr
}

// expand replaces the placeholders that Caddy knows while a config loads. It returns false if others remain.
func expand(text string) (string, bool) {
	known := caddy.NewReplacer().ReplaceKnown(text, "")
	return known, !hasBrace(known)
}

// requestHost returns a host as a request has it.
func requestHost(host string) string {
	if ascii, err := idna.ToASCII(host); err == nil {
		host = ascii
	}
	return strings.ToLower(host)
}

// exactTexts returns the hosts or paths without a wildcard in all sets.
func exactTexts(sets []matcherSet, name string) []pattern {
	var found []pattern
	for _, set := range sets {
		texts, _ := set.named(name)
		for _, text := range texts {
			if known, ok := expand(text); ok && !strings.Contains(known, "*") {
				found = append(found, pattern{text, known, exact})
			}
		}
	}
	return found
}

// narrower returns those of the exact hosts or paths that a pattern with a wildcard matches. If there are none, it returns
// the pattern, with something in the place of the wildcard.
func narrower(written, known, matcher string, named []pattern) []pattern {
	raw, err := json.Marshal([]string{known})
	if err != nil {
		return nil
	}
	eval := newCaddyMatcher(matcher, raw)
	matched := slices.DeleteFunc(slices.Clone(named), func(p pattern) bool {
		request := probe{host: anyHost, path: "/"}
		if matcher == "host" {
			request.host = p.sample
		} else {
			request.path = p.sample
		}
		return eval.match(newState(request)) != yes
	})
	if len(matched) > 0 {
		return matched
	}
	sample := strings.ReplaceAll(strings.ReplaceAll(known, "%*", anything), "*", anything)
	if matcher == "path" && !strings.HasPrefix(sample, "/") {
		sample = "/" + sample
	}
	return []pattern{{written, sample, wild}}
}

// prefix returns what the directives before a route of the chain remove from the beginning of each path.
func (c *chat) prefix(level int) string {
	var prefix string
	for i, list := range c.lists[:level+1] {
		for _, r := range list[:slices.Index(list, c.chain[i])] {
			if len(r.sets) == 0 {
				prefix += stripped(r.handlers)
			}
		}
		if i < level {
			prefix += stripped(c.chain[i].handlers)
		}
	}
	return prefix
}

// stripped returns what handlers remove from the beginning of each path.
func stripped(handlers []*handler) string {
	var prefix string
	for _, h := range handlers {
		if h.module != "rewrite" {
			continue
		}
		if config := h.rewriter(); config != nil {
			prefix += config.StripPathPrefix
		}
	}
	return prefix
}

// withPrefix returns the whole path of an inner one. The inner one may begin with the prefix, or with the end of it: that of
// the innermost `handle_path`.
func withPrefix(prefix, path string) string {
	prefix = strings.TrimSuffix(prefix, "/")
	for i := range prefix {
		if end := prefix[i:]; end[0] == '/' && (path == end || strings.HasPrefix(path, end+"/")) {
			return prefix[:i] + path
		}
	}
	return prefix + path
}
