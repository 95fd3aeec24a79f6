package config

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// This file says why a request does not reach the chat, and what to write instead.

// behindUs are the directives that Caddy runs after ours, if no option changes the order.
var behindUs = []string{"reverse_proxy", "php_fastcgi", "file_server"}

// unreachable returns the finding that a POST does not reach the chat.
func (c *chat) unreachable(a arrival) doctor.Finding {
	end := a.end()
	f := doctor.Finding{Level: doctor.Wrong, Check: "reachable", Why: c.instead(end) + " Only an access log shows it."}
	path, request := a.path.example(), a.path.request()
	missed := end.state.missed
	switch {
	case missed != nil && missed.after != nil && missed.taken == nil:
		f.Found, f.Do = c.changed(a, missed.after, end.by)
	case missed != nil && missed.taken == nil:
		f.Found, f.Do = c.mismatched(missed, a)
	case end.by != nil && end.by.module == chatModule:
		f.Found = fmt.Sprintf("%s does not reach the chat: %s answers first", request, c.place(end.by, end.at))
		f.Do = "Remove one of the two, or give them different paths."
	case end.by != nil:
		f.Found = fmt.Sprintf("%s does not reach the chat: %s answers first", request, c.place(end.by, end.at))
		f.Do = c.before(end, path)
	case end.at != nil:
		f.Found = fmt.Sprintf("%s does not reach the chat: `try_files` refuses it, because no such file exists", request)
		f.Do = ownHandle(path, c.tryFiles(end.at), c.answererAfter(end.at))
	case missed != nil:
		f.Found = fmt.Sprintf("%s does not reach the chat: `%s` takes it, and has no directive that answers", request, blockOr(missed.taken))
		f.Do = longerHandle(missed.taken, path)
	default:
		f.Found = fmt.Sprintf("%s does not reach the chat: nothing answers it", request)
	}
	return f
}

func blockOr(r *route) string {
	if block := r.block(); block != "" {
		return block
	}
	return "a route before it"
}

// instead says what a page gets from the handler that answers in place of the chat.
func (c *chat) instead(end outcome) string {
	if end.by == nil {
		if end.at != nil {
			return "Pages get an error without a text."
		}
		return "Nothing answers such a request, so pages get an empty 200."
	}
	if end.by == c.handler {
		return "The chat refuses it with a 405."
	}
	switch directive := end.by.directive(); directive {
	case "file_server":
		return "Pages get a 404 or 405 from `file_server`."
	case "abort":
		return "Caddy closes the page's connection."
	case chatModule:
		return "Pages get the answers of the other chat."
	case "redir":
		return "Pages are sent to another address, and browsers send no chat there."
	default:
		return fmt.Sprintf("Pages get the answer of `%s`.", directive)
	}
}

// redirected returns the finding about a host whose visitors are all sent to another address, where the same chat is. No page
// is loaded from such a host, so none posts there.
func (e *examination) redirected(a arrival) (f doctor.Finding, ok bool) {
	by := a.end().by
	if by == nil || by.directive() != "redir" || !e.checkup.reaches(a.candidate, by.destination(e.probe(post, a.candidate, chatHeader)), e) {
		return f, false
	}
	home := candidate{a.host, pattern{"/", "/", exact}}
	if page, _ := e.send(http.MethodGet, home, nil); page.end().by != by {
		return f, false
	}
	return doctor.Finding{
		Level: doctor.Note, Check: "reachable",
		Found: e.place(by, a.end().at) + " sends visitors to another address, where they reach the same chat",
	}, true
}

// reaches reports whether a request that is redirected to another host, or from HTTP to HTTPS, reaches a chat with the same
// options by the same path.
func (c *checkup) reaches(one candidate, host string, from *examination) bool {
	return slices.ContainsFunc(c.examinations, func(e *examination) bool {
		return bytes.Equal(e.handler.raw, from.handler.raw) && slices.ContainsFunc(e.arrivals, func(other arrival) bool {
			return other.path == one.path && other.host.sample == host && (other.host != one.host || e.server != from.server)
		})
	})
}

// destination returns the host to which a `redir` sends a request; "" if it is not known.
func (h *handler) destination(p probe) string {
	var config struct {
		Headers map[string][]string `json:"headers"`
	}
	if !h.config(&config) || len(config.Headers["Location"]) != 1 {
		return ""
	}
	location, err := url.Parse(newState(p).replacer().ReplaceAll(config.Headers["Location"][0], ""))
	if err != nil {
		return ""
	}
	return requestHost(location.Hostname())
}

// changed explains that the path, or the method, is no longer the one that the chat's matcher has. instead is the handler
// that answers now; nil if none does.
func (c *chat) changed(a arrival, by *change, instead *handler) (found, do string) {
	path, request := a.path.example(), a.path.request()
	to := values.Printable(by.to)
	block := c.handlePathAround(by)
	switch directive := by.handler.directive(); {
	case by.method:
		return fmt.Sprintf("%s does not reach the chat: `%s` makes it a %s first", request, directive, to),
			"Let `method` leave out the chat's path:\n@others not path " + path + "\nmethod @others " + to
	case directive == "try_files":
		return fmt.Sprintf("%s does not reach the chat: `%s` changes the path to %s first", request, c.tryFiles(by.at), to),
			ownHandle(path, c.tryFiles(by.at), instead.written())
	case block != nil:
		found = fmt.Sprintf("%s does not reach the chat: `%s` changes the path to %s, which the matcher inside it does not match",
			request, block.block(), to)
		if whole, ok := c.twice(a, by); ok {
			found += fmt.Sprintf("; only a POST to %s would", values.Printable(whole))
		}
		if by.to == "/" {
			return found, "Write `handle` in place of `handle_path`, and no matcher in it:\n" + handleBlock(path)
		}
		return found, fmt.Sprintf("In `%[1]s`, write the path without its beginning:\n%[1]s {\n\tillumichat %[2]s {\n\t\t…\n\t}\n}", block.block(), to)
	default:
		return fmt.Sprintf("%s does not reach the chat: `%s` changes the path to %s first", request, directive, to),
			ownHandle(path, directive+" …", instead.written())
	}
}

// written returns a handler as a Caddyfile has it, with its arguments left out; "" for nil.
func (h *handler) written() string {
	switch {
	case h == nil:
		return ""
	case h.module == "file_server":
		return "file_server"
	}
	return h.directive() + " …"
}

// answererAfter returns the directive that answers the requests which the last of some routes lets pass; "" if none does.
func (c *chat) answererAfter(at []*route) string {
	level := min(c.shared(at), len(at)-1, len(c.lists)-1)
	list := c.lists[level]
	for _, r := range list[slices.Index(list, at[level])+1:] {
		if h := answerer(r); h != nil {
			return h.written()
		}
	}
	return ""
}

// answerer returns the first handler in a route, other than a chat, that answers each request; nil if there is none.
func answerer(r *route) *handler {
	for _, h := range r.handlers {
		if h.module != chatModule && h.effect() == answers {
			return h
		}
		for _, inner := range h.routes {
			if found := answerer(inner); found != nil {
				return found
			}
		}
	}
	return nil
}

// handlePathAround returns the `handle_path` around the chat that has made a change; nil if another directive has made it.
func (c *chat) handlePathAround(by *change) *route {
	if len(by.at) < 2 {
		return nil
	}
	block := by.at[len(by.at)-2]
	if block.isHandlePath() && slices.Contains(c.chain, block) {
		return block
	}
	return nil
}

// twice returns the path with its prefix twice, as the config names it, if a POST to it reaches the chat.
func (c *chat) twice(a arrival, by *change) (written string, ok bool) {
	var config struct {
		StripPathPrefix string `json:"strip_path_prefix"`
	}
	if !by.handler.config(&config) {
		return "", false
	}
	prefix := strings.TrimSuffix(config.StripPathPrefix, "/")
	before := strings.TrimSuffix(c.prefix(len(c.chain)-1), prefix) // what the blocks around it remove
	repeat := func(path string) string {
		if rest, ok := strings.CutPrefix(path, before); ok {
			return before + prefix + rest
		}
		return prefix + path
	}
	whole := pattern{repeat(a.path.written), repeat(a.path.sample), a.path.kind}
	other, _ := c.send(post, candidate{a.host, whole}, chatHeader)
	return whole.written, len(other.reached()) > 0
}

// mismatched explains that a matcher around the chat does not match.
func (c *chat) mismatched(missed *miss, a arrival) (found, do string) {
	found = fmt.Sprintf("%s does not reach the chat: a route around it matches only `%s`", a.path.request(), missed.route.describe())
	switch {
	case slices.Contains(missed.matchers, "host"):
		return found, "Move the chat into the site block of that host."
	case slices.Contains(missed.matchers, "method"):
		return found, "Leave the method out of the matcher. The chat itself refuses the methods that it does not have."
	}
	return found, "Let the matchers around `illumichat` agree. In a `handle` block for the path, it needs none:\n" + handleBlock(a.path.example())
}

// before says how the chat comes before the directive that answers now.
func (c *chat) before(end outcome, path string) string {
	directive := end.by.directive()
	level := c.shared(end.at)
	answering := end.at[min(level, len(end.at)-1)]
	block := answering.block()
	switch {
	case block != "" && answering.pathOrMatcher() != "" && level < len(c.chain) && c.chain[level].block() == "":
		return longerHandle(answering, path)
	case block != "":
		return ownHandle(path, end.by.written())
	case !slices.Contains(behindUs, directive):
		return ownHandle(path, end.by.written())
	case level > 0 && c.chain[level-1].block() == eitherBlock:
		return fmt.Sprintf("A `route` block runs its directives as they are written, so write `illumichat` before `%s`:\nroute {\n\tillumichat %s {\n\t\t…\n\t}\n\t%s\n}",
			directive, path, directive)
	default:
		return fmt.Sprintf("Remove the `order` option of `illumichat` or `%[1]s` from the global options. Without it, `illumichat` runs before `%[1]s`.", directive)
	}
}

// shared returns how many of the routes around the chat are also around another place.
func (c *chat) shared(at []*route) int {
	n := 0
	for n < len(at) && n < len(c.chain) && at[n] == c.chain[n] {
		n++
	}
	return n
}

func handleBlock(path string) string {
	return fmt.Sprintf("handle %s {\n\tillumichat {\n\t\t…\n\t}\n}", path)
}

// longerHandle says how to give the chat a block of its own before another one that has a shorter path, or a wildcard.
func longerHandle(other *route, path string) string {
	return fmt.Sprintf("Give the chat a `handle` block of its own. Caddy tries the longest path first, so `%s` stays as it is:\n", blockOr(other)) +
		handleBlock(path)
}

// ownHandle says how to give the chat a block of its own, apart from a block with the site's other directives. It leaves
// out empty ones.
func ownHandle(path string, others ...string) string {
	others = slices.DeleteFunc(others, func(directive string) bool { return directive == "" })
	return "Give the chat a `handle` block of its own, and the other directives another one:\n" +
		handleBlock(path) + "\nhandle {\n\t" + strings.Join(others, "\n\t") + "\n}"
}

// tryFiles returns a `try_files` as a Caddyfile has it. at are the routes around it, whose last one is a route of it. It has
// several in a group if there are queries behind its files.
func (c *chat) tryFiles(at []*route) string {
	own := at[len(at)-1]
	routes := []*route{own}
	if level := c.shared(at); level == len(at)-1 && level < len(c.lists) && own.group != "" {
		routes = slices.DeleteFunc(slices.Clone(c.lists[level]), func(r *route) bool { return r.group != own.group || !r.triesFiles() })
	}
	var files []string
	for _, r := range routes {
		files = append(files, r.files()...)
	}
	if len(files) == 0 {
		return "try_files …"
	}
	return "try_files " + strings.Join(files, " ")
}

// files returns the files of a route of a `try_files`, as a Caddyfile has them.
func (r *route) files() []string {
	var query string
	for _, h := range r.handlers {
		if config := h.rewriter(); h.module == "rewrite" && config != nil {
			_, query, _ = strings.Cut(config.URI, "?")
		}
	}
	var files []string
	for _, set := range r.sets {
		for _, m := range set {
			file, ok := m.eval.(*fileMatcher)
			if !ok {
				continue
			}
			for _, name := range file.TryFiles {
				if query != "" {
					name += "?" + query
				}
				files = append(files, values.Printable(shorthands.Replace(name)))
			}
		}
	}
	return files
}

// shorthands puts the shorthands of a Caddyfile in the place of placeholders.
var shorthands = strings.NewReplacer("{http.request.uri.path}", "{path}", "{http.request.uri.query}", "{query}", "{http.request.host}", "{host}")
