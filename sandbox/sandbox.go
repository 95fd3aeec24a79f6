// Package sandbox is a stand-in for the IllumiChat chat API. It checks the
// token, the body and the assistant, streams answers with all four types of
// event, keeps chats, and misbehaves when it is asked to (see Commands).
//
// It serves the demo, as the Caddy directive illumichat_sandbox or in the
// process of cmd/caddy, and the tests, through package sandboxtest. It is no
// part of a production build.
package sandbox

import (
	"cmp"
	"net/http"
	"time"
)

const (
	// Token is the API token that a sandbox accepts unless it is told another.
	// It has the documented form and opens nothing else.
	Token = "ic_sandbox000000000000000000000000000000000"

	// Assistant is the id of the one assistant that a sandbox has unless it is
	// told others.
	Assistant = "asst_demo"

	// DemoPace is the pause before each event that reads like a person being
	// answered.
	DemoPace = 40 * time.Millisecond
)

// Options is what a sandbox can be told. The zero value is ready for tests.
type Options struct {
	// Token is the API token to accept. Default: the constant Token.
	Token string

	// Assistants are the ids of the assistants that exist. Default: Assistant.
	Assistants []string

	// Pace is the pause before each event; a tool takes ten times as long.
	// Default: 0, no pause. See DemoPace.
	Pace time.Duration

	// OnEvent, if set, is called just before each event is written, with the
	// request that it answers and the number of events before it. It is called
	// from the goroutine that serves the request.
	OnEvent func(r *http.Request, n int)
}

// API is the chat API: POST on any path is its endpoint. Like the real one it
// sends no CORS headers.
type API struct {
	options Options
	chats   chats
}

// New makes an API.
func New(options Options) *API {
	options.Token = cmp.Or(options.Token, Token)
	if len(options.Assistants) == 0 {
		options.Assistants = []string{Assistant}
	}
	if options.OnEvent == nil {
		options.OnEvent = func(*http.Request, int) {}
	}
	return &API{options: options}
}

// ServeHTTP answers one chat request, until the answer is complete or the
// client is gone.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	q, refusal := a.readQuestion(w, r)
	if refusal != nil {
		refusal.write(w)
		return
	}
	c, ok := a.chats.add(q)
	if !ok {
		errUnknownChat.write(w)
		return
	}
	x := &reply{
		stream:   newStream(w, r, &a.options),
		question: q,
		chat:     c,
	}
	x.run()
}

var _ http.Handler = (*API)(nil)
