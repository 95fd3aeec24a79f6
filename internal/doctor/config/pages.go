package config

import (
	"slices"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// This file checks that each chat page asks where a chat is. All else about a page shows when somebody opens it.

// defaultChat is the path that a page asks unless its option says another.
const defaultChat = "/api/chat-proxy"

// checkPages reports the pages that ask where no chat is. It returns true if there are pages, and each asks another origin.
func (c *checkup) checkPages(servers []*server) (elsewhere bool) {
	pages, local := 0, 0
	for _, s := range servers {
		f := newFinder(s, pageModule)
		f.search(s.routes, nil, nil, false)
		for _, page := range f.found {
			pages++
			if path := page.asks(); strings.HasPrefix(path, "/") {
				local++
				c.checkPage(page, path)
			}
		}
	}
	return pages > 0 && local == 0
}

// asks returns the URL or path of the chat that a page asks.
func (c *chat) asks() string {
	options := struct {
		Chat string `json:"chat"`
	}{defaultChat}
	if !c.handler.config(&options) {
		return "" // Caddy refuses it
	}
	return options.Chat
}

// checkPage reports a page on a host on which nothing at path can be a chat.
func (c *checkup) checkPage(page *chat, path string) {
	found, _ := page.candidates()
	lost := slices.DeleteFunc(found, func(one candidate) bool { return page.mayLeadToChat(one.host, path) })
	if len(lost) == 0 {
		return
	}
	c.report.Add(doctor.Finding{
		Level: doctor.Wrong, Check: "page", Where: page.server.where(lost),
		Found: "the page asks " + values.Printable(path) + ", where no chat is", Why: "Visitors get an error for each question.",
		Do: c.chatInstead(page, lost[0].host),
	})
}

// mayLeadToChat reports whether a chat may answer a POST to a path of a host. Another server may be behind a proxy or a redirect,
// and a handler that this package does not know may do anything.
func (c *chat) mayLeadToChat(host pattern, path string) bool {
	to := candidate{host, pattern{path, path, exact}}
	outcomes, complete := walk(c, c.probe(post, to, chatHeader), true)
	return !complete || slices.ContainsFunc(outcomes, func(o outcome) bool {
		switch {
		case o.state.lost:
			return true
		case o.by == nil || o.by == c.handler:
			return false
		}
		return !slices.Contains([]string{"error", "file_server", "metrics", "respond"}, o.by.directive())
	})
}

// chatInstead says what to write so that a page finds a chat of its host.
func (c *checkup) chatInstead(page *chat, host pattern) string {
	for _, e := range c.examinations {
		for _, a := range e.arrivals {
			if e.server == page.server && a.path.kind == exact && page.mayLeadToChat(host, a.path.sample) {
				return "Write in the block of `illumichat_page`:\nchat " + values.Printable(a.path.written)
			}
		}
	}
	return "Write an `illumichat` for this path. If the chat is on another site, write its URL in the block of `illumichat_page`:\n" +
		"chat https://chat.example.com" + defaultChat
}
