package site

import (
	"net/http"
	"sync"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// tokenWatch searches everything that arrives for the form of an API token. It keeps the place and never the token.
type tokenWatch struct {
	mu    sync.Mutex
	seen  bool   // anything has arrived
	where string // the first place; "": none
}

// see searches text, which arrived at the given place.
func (w *tokenWatch) see(where string, text []byte) {
	holds := values.HoldsToken(string(text))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.seen = true
	if holds && w.where == "" {
		w.where = where
	}
}

// seeHeader searches the names and values of a header.
func (w *tokenWatch) seeHeader(header http.Header) {
	for name, all := range header {
		w.see("the name of a response header", []byte(name))
		for _, value := range all {
			w.see("a response header", []byte(value))
		}
	}
}

// reportToken reports whether anything had the form of a token.
func (c *checker) reportToken() {
	w := &c.client.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case !w.seen:
		c.skip(checkToken, "nothing has arrived that could be searched for a token", "")
		return
	case w.where == "":
		c.ok(checkToken, "nothing that arrived has the form of an API token")
		return
	}
	c.add(doctor.Finding{
		Level: doctor.Wrong, Check: checkToken,
		Found: w.where + " holds a text that has the form of an API token",
		Why:   "A token gives access to the whole workspace. The chat never sends its own, so this one is another's, or something else sends it.",
		Do:    "Find out where the text comes from. If it is a real token, delete the token in IllumiChat and create a new one.",
	})
}
