package config

import (
	"encoding/json"
	"fmt"
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
		f.Found, f.Do = c.changed(a, missed.after)
	case missed != nil && missed.taken == nil:
		f.Found, f.Do = c.mismatched(missed, a)
	case end.by != nil && end.by.module == chatModule:
		f.Found = fmt.Sprintf("%s does not reach it: %s answers first", request, c.place(end.by, end.at))
		f.Do = "Remove one of the two, or give them different paths."
	case end.by != nil:
		f.Found = fmt.Sprintf("%s does not reach it: %s answers first", request, c.place(end.by, end.at))
		f.Do = c.before(end, path)
	case end.at != nil:
		f.Found = fmt.Sprintf("%s does not reach it: `try_files` refuses it, because no such file exists", request)
		f.Do = ownHandle(path, tryFiles(end.at[len(end.at)-1]), "file_server")
	case missed != nil:
		f.Found = fmt.Sprintf("%s does not reach it: `%s` takes it, and has no directive that answers", request, blockOr(missed.taken))
		f.Do = ownHandle(path, "…")
	default:
		f.Found = fmt.Sprintf("%s does not reach it: nothing answers it", request)
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
		return "Pages get a 404 or 405 of `file_server`."
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

// changed explains that the path, or the method, is no longer the one that the chat's matcher has.
func (c *chat) changed(a arrival, by *change) (found, do string) {
	path, request := a.path.example(), a.path.request()
	to := values.Printable(by.to)
	own := by.at[len(by.at)-1]
	block := c.handlePathAround(by)
	switch directive := by.handler.directive(); {
	case by.method:
		return fmt.Sprintf("%s does not reach it: `%s` makes it a %s first", request, directive, to),
			"Let `method` leave out the chat's path:\n@others not path " + path + "\nmethod @others " + to
	case directive == "try_files":
		return fmt.Sprintf("%s does not reach it: `%s` changes the path to %s first", request, tryFiles(own), to),
			ownHandle(path, tryFiles(own), "file_server")
	case block != nil:
		found = fmt.Sprintf("%s does not reach it: `%s` changes the path to %s, which the matcher in it does not match",
			request, block.block(), to)
		if whole, ok := c.twice(a, by); ok {
			found += fmt.Sprintf("; only a POST to %s would", values.Printable(whole))
		}
		if by.to == "/" {
			return found, "Write `handle` in place of `handle_path`, and no matcher in it:\n" + handleBlock(path)
		}
		return found, fmt.Sprintf("In `%[1]s`, write the path without its beginning:\n%[1]s {\n\tillumichat %[2]s {\n\t\t…\n\t}\n}", block.block(), to)
	default:
		return fmt.Sprintf("%s does not reach it: `%s` changes the path to %s first", request, directive, to),
			ownHandle(path, directive+" …")
	}
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
	whole := pattern{prefix + a.path.written, prefix + a.path.sample, a.path.kind}
	other, _ := c.send(post, candidate{a.host, whole}, chatHeader)
	return whole.written, len(other.reached()) > 0
}

// mismatched explains that a matcher around the chat does not match.
func (c *chat) mismatched(missed *miss, a arrival) (found, do string) {
	found = fmt.Sprintf("%s does not reach it: a route around it matches only `%s`", a.path.request(), missed.route.describe())
	switch {
	case slices.Contains(missed.matchers, "host"):
		return found, "Write the chat into the block of the site that has its host."
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
		return fmt.Sprintf("Give the chat a `handle` block of its own. Caddy tries the longest path first, so `%s` stays as it is:\n", block) +
			handleBlock(path)
	case block != "":
		return ownHandle(path, directive+" …")
	case !slices.Contains(behindUs, directive):
		return ownHandle(path, directive+" …")
	case level > 0 && strings.HasPrefix(c.chain[level-1].block(), "route"):
		return fmt.Sprintf("A `route` block runs its directives as they are written, so write `illumichat` before `%s`:\nroute {\n\tillumichat %s {\n\t\t…\n\t}\n\t%s\n}",
			directive, path, directive)
	default:
		return fmt.Sprintf("Remove `order illumichat …` from the global options. Without it, `illumichat` runs before `%s`.", directive)
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

// ownHandle says how to give the chat a block of its own beside a block with the site's other directives.
func ownHandle(path string, others ...string) string {
	return "Give the chat a `handle` block of its own, and the other directives another one:\n" +
		handleBlock(path) + "\nhandle {\n\t" + strings.Join(others, "\n\t") + "\n}"
}

// tryFiles returns the `try_files` of a route, as a Caddyfile has it.
func tryFiles(r *route) string {
	for _, set := range r.sets {
		for _, m := range set {
			var file fileMatcher
			if m.name != "file" || json.Unmarshal(m.raw, &file) != nil {
				continue
			}
			text := "try_files"
			for _, name := range file.TryFiles {
				text += " " + values.Printable(strings.ReplaceAll(name, "{http.request.uri.path}", "{path}"))
			}
			return text
		}
	}
	return "try_files …"
}
