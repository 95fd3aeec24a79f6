package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

func init() {
	caddy.RegisterModule(new(Handler))
	httpcaddyfile.RegisterHandlerDirective("illumichat_sandbox", parseCaddyfile)
	httpcaddyfile.RegisterDirectiveOrder("illumichat_sandbox", httpcaddyfile.Before, "reverse_proxy")
}

// Handler is a stand-in for the IllumiChat chat API, for demos and tests. It
// answers every request that reaches it, and can simulate failures. The message
// "/help" lists them.
type Handler struct {
	// The API token to accept. It may be a placeholder such as {env.TOKEN}.
	// Default: a published token, which works only with a sandbox.
	Token string `json:"token,omitempty"`

	// The ids of the assistants that exist. Default: asst_demo.
	Assistants []string `json:"assistants,omitempty"`

	// How long to pause before each event; 0 means no pause. A negative pause is
	// an error. Default: 40ms.
	Pace *caddy.Duration `json:"pace,omitempty"`

	api *API
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.illumichat_sandbox",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision creates the API.
func (h *Handler) Provision(caddy.Context) error {
	options := Options{Assistants: h.Assistants, Pace: DemoPace}
	if h.Pace != nil {
		options.Pace = time.Duration(*h.Pace)
	}
	if h.Token != "" {
		token, err := caddy.NewReplacer().ReplaceOrErr(h.Token, true, true)
		if err != nil {
			return fmt.Errorf("replacing the token's placeholders: %w", err)
		}
		options.Token = token
	}
	h.api = New(options)
	return nil
}

// Validate returns an error for a negative pace.
func (h *Handler) Validate() error {
	if h.Pace != nil && *h.Pace < 0 {
		return errors.New("pace must not be negative")
	}
	return nil
}

func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	h.api.ServeHTTP(w, r)
	return nil
}

func parseCaddyfile(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	handler := new(Handler)
	err := handler.UnmarshalCaddyfile(h.Dispenser)
	return handler, err
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	illumichat_sandbox [<matcher>] {
//		token      <token>
//		assistants <id...>
//		pace       <duration>
//	}
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // consume the directive's name
	if d.NextArg() {
		return d.ArgErr()
	}
	seen := make(map[string]bool)
	for d.NextBlock(0) {
		name := d.Val()
		if seen[name] {
			return d.Errf("%s already specified", name)
		}
		seen[name] = true
		switch name {
		case "token":
			// ArgErr would print a piece of the token.
			if !d.AllArgs(&h.Token) {
				return d.Err("token takes exactly one argument")
			}
			if h.Token == "" {
				return d.Err("token must not be empty")
			}
		case "assistants":
			h.Assistants = d.RemainingArgs()
			if len(h.Assistants) == 0 {
				return d.ArgErr()
			}
		case "pace":
			var value string
			if !d.AllArgs(&value) {
				return d.ArgErr()
			}
			pace, err := caddy.ParseDuration(value)
			if err != nil {
				return d.Errf("parsing pace: %v", err)
			}
			if pace < 0 {
				return d.Err("pace must not be negative")
			}
			h.Pace = (*caddy.Duration)(&pace)
		default:
			return d.Errf("unrecognized subdirective '%s'", name)
		}
	}
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ caddyfile.Unmarshaler       = (*Handler)(nil)
)
