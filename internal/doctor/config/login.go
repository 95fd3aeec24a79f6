package config

import (
	"fmt"
	"slices"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// checkLogin reports that a login protects the site, but not the chat.
func (e *examination) checkLogin() {
	s := e.first()
	if s == nil || slices.ContainsFunc(s.passed, (*handler).refuses) {
		return
	}
	site := e.lists[0]
	if e.chain[0].names("host") {
		site = e.chain[:1]
	}
	if login := loginIn(site); login != nil {
		e.add(e.atMostNote(doctor.Warning), "login", fmt.Sprintf("`%s` protects the site's other paths, but not the chat", login.directive()),
			"Strangers can chat without a login.", fmt.Sprintf("Give the chat a `handle` block of its own, with the login in it:\nhandle %s {\n\troute {\n\t\t%s …\n\t\tillumichat {\n\t\t\t…\n\t\t}\n\t}\n}",
				e.arrivals[0].path.example(), login.directive()))
	}
}

// loginIn returns the first handler that asks for a login at all paths of some routes; nil if there is none.
func loginIn(list []*route) *handler {
	for _, r := range list {
		if r.leavesSome() {
			continue
		}
		for _, h := range r.handlers {
			if h.refuses() {
				return h
			}
			if inner := loginIn(h.routes); inner != nil {
				return inner
			}
		}
	}
	return nil
}
