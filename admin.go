package illumichat

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

func init() {
	caddy.RegisterModule(adminAPI{})
}

// The paths of the list. Without the second one, Caddy would redirect a request for it.
const (
	adminPath             = "/illumichat/"
	adminPathWithoutSlash = "/illumichat"
)

// adminAPI extends Caddy's admin API: `GET /illumichat/` lists the handlers of the running config and their status.
type adminAPI struct{}

// CaddyModule returns the Caddy module information.
func (adminAPI) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "admin.api.illumichat",
		New: func() caddy.Module { return new(adminAPI) },
	}
}

// Routes returns the routes of the list.
func (a adminAPI) Routes() []caddy.AdminRoute {
	list := caddy.AdminHandlerFunc(a.list)
	return []caddy.AdminRoute{{Pattern: adminPath, Handler: list}, {Pattern: adminPathWithoutSlash, Handler: list}}
}

func (adminAPI) list(w http.ResponseWriter, r *http.Request) error {
	if r.URL.Path != adminPath && r.URL.Path != adminPathWithoutSlash {
		return caddy.APIError{HTTPStatus: http.StatusNotFound, Err: fmt.Errorf("nothing is served at %s", r.URL.Path)}
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		return caddy.APIError{HTTPStatus: http.StatusMethodNotAllowed, Err: errors.New("use GET")}
	}
	w.Header().Set("Content-Type", typeJSON)
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "\t")
	return encoder.Encode(runningHandlers.status())
}

// handlerStatus is a handler as the admin API shows it. None of its fields can hold a secret.
type handlerStatus struct {
	place
	Endpoint   string            `json:"endpoint"` // without the parts that could be secret
	Assistants []string          `json:"assistants"`
	Aliases    map[string]string `json:"aliases,omitempty"` // name → assistant
	Token      tokenOrigin       `json:"token"`
	Streams    streamStatus      `json:"streams"`
	Limits     []limitStatus     `json:"limits"`

	// CoolDown is how many seconds the longest cool-down in CoolDowns still lasts; 0 means that there is none.
	CoolDown float64 `json:"cool_down_seconds"`

	// CoolDowns says how many seconds each cool-down still lasts, by the assistants' ids. It has no assistants that the
	// handler's pages cannot use. Where they can use any, an id of more than 256 bytes is replaced by its hash.
	CoolDowns map[string]float64 `json:"cool_downs,omitempty"`
}

// streamStatus counts the open chats of all handlers with the same endpoint and token. The maximums are those of this
// handler alone.
type streamStatus struct {
	Open         int `json:"open"`
	Clients      int `json:"clients"`
	Max          int `json:"max,omitempty"`
	MaxPerClient int `json:"max_per_client,omitempty"`
}

// limitStatus is a limit and its current use.
type limitStatus struct {
	Requests int    `json:"requests"`
	Window   string `json:"window"`
	Key      string `json:"key"`            // as configured, never a client's value
	Keys     int    `json:"keys"`           // how many keys are remembered
	Left     *int   `json:"left,omitempty"` // requests; nil unless many visitors share a count
}

// tokenOrigin says where a token comes from: its placeholder, or "literal". It is never the token.
type tokenOrigin string

func newTokenOrigin(configured string) tokenOrigin {
	if values.IsPlaceholder(configured) {
		return tokenOrigin(configured)
	}
	return "literal"
}

// runningHandlers lists the handlers whose config runs, and those of replaced configs that are not yet cleaned up.
var runningHandlers handlerList

type handlerList struct {
	mu   sync.Mutex
	list []*Handler
}

func (l *handlerList) add(h *Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = append(l.list, h)
}

func (l *handlerList) remove(h *Handler) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.list = slices.DeleteFunc(l.list, func(other *Handler) bool { return other == h })
}

func (l *handlerList) status() []handlerStatus {
	l.mu.Lock()
	list := slices.Clone(l.list)
	l.mu.Unlock()
	status := make([]handlerStatus, len(list))
	for i, h := range list {
		status[i] = h.status()
	}
	return status
}

func (h *Handler) status() handlerStatus {
	status := handlerStatus{
		place:      h.place,
		Endpoint:   h.exchanges.endpoint.Public,
		Assistants: []string{},
		Token:      newTokenOrigin(h.Token),
		Limits:     make([]limitStatus, len(h.Limits)),
	}
	if h.rules.AllowsAny() {
		status.Assistants = append(status.Assistants, chat.Any)
	}
	assistants := h.rules.Assistants()
	for _, name := range slices.Sorted(maps.Keys(assistants)) {
		id := assistants[name]
		if _, alias := h.Aliases[name]; !alias {
			status.Assistants = append(status.Assistants, id)
			continue
		}
		if status.Aliases == nil {
			status.Aliases = make(map[string]string)
		}
		status.Aliases[name] = id
	}

	for id, left := range h.coolDowns() {
		if status.CoolDowns == nil {
			status.CoolDowns = make(map[string]float64)
		}
		status.CoolDowns[id] = left.Seconds()
		status.CoolDown = max(status.CoolDown, left.Seconds())
	}

	now := h.limiter.Status()
	status.Streams = streamStatus{Open: now.Open, Clients: now.Clients, Max: h.MaxStreams, MaxPerClient: h.MaxStreamsPerClient}
	for i, l := range now.Limits {
		status.Limits[i] = limitStatus{
			Requests: l.Requests,
			Window:   l.Window.String(),
			Key:      l.Key,
			Keys:     l.Keys,
			Left:     l.Left,
		}
	}
	return status
}

// Interface guard
var _ caddy.AdminRouter = adminAPI{}
