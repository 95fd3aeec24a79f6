package illumichat

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path/filepath"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/doctor/config"
	"github.com/illumichat/caddy-illumichat/internal/origin"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// inspect returns the options of a handler whose config is given, for `caddy illumichat check --config`. It checks them as
// Provision does, except for the options of the transport and the store, which are other modules. It joins nothing that
// handlers share.
func inspect(raw json.RawMessage) config.Options {
	var h Handler
	if err := decodeHandler(raw, &h); err != nil {
		return config.Options{Undecodable: values.PrintableError(err)}
	}
	h.setDefaults()
	checked := config.Options{
		LiteralToken:        !values.IsPlaceholder(h.Token),
		RelativeToken:       hasRelativePath(h.Token),
		Shown:               h.shownAssistants(),
		AllowOrigins:        h.AllowOrigins,
		MaxDuration:         time.Duration(h.MaxDuration),
		Resume:              h.Resume != nil,
		MaxStreamsPerClient: h.MaxStreamsPerClient,
	}
	for i := range h.Limits {
		checked.Limits = append(checked.Limits, config.Limit{ForMany: h.Limits[i].forMany(), Placeholders: h.Limits[i].key.Names()})
	}
	checked.Token = h.inspectToken()
	checked.Assistants = h.inspectAssistants()
	checked.AnyAssistant = h.rules != nil && h.rules.AllowsAny()
	checked.Other = values.PrintableError(h.inspectOthers())
	if h.exchanges.endpoint != nil {
		for _, w := range h.warnings() {
			checked.Warnings = append(checked.Warnings, config.Warning{Found: w.found, Do: w.do})
		}
	}
	return checked
}

// decodeHandler decodes a handler's config as Caddy does, without the field that names the module.
func decodeHandler(raw json.RawMessage, h *Handler) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(raw, &fields); err != nil {
		return err
	}
	delete(fields, "handler")
	own, err := json.Marshal(fields)
	if err != nil {
		return err
	}
	return json.Unmarshal(own, h)
}

// hasRelativePath reports whether a token is read from a file whose path depends on Caddy's working directory.
func hasRelativePath(token string) bool {
	path, ok := values.File(token)
	return ok && !filepath.IsAbs(path)
}

// inspectToken returns an error if there is no usable token now.
func (h *Handler) inspectToken() error {
	var err error
	if h.exchanges.token, err = upstream.NewTokenSource(h.Token); err != nil {
		return values.PrintableError(err)
	}
	if _, err = h.exchanges.token.Get(); err != nil { // its file does not exist yet
		err = fmt.Errorf("%s: %w", values.Printable(h.Token), err)
	}
	return values.PrintableError(err)
}

// inspectAssistants returns an error if an assistant does not resolve, or is none.
func (h *Handler) inspectAssistants() error {
	if err := h.validateAssistants(); err != nil {
		return err
	}
	var err error
	h.rules, err = chat.NewRules(h.chatConfig())
	return values.PrintableError(err)
}

// inspectOthers returns an error of the options other than the token and the assistants.
func (h *Handler) inspectOthers() error {
	if err := h.validateOptions(); err != nil {
		return err
	}
	var err error
	if h.exchanges.endpoint, err = upstream.ResolveEndpoint(h.Endpoint); err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	_, err = origin.New(h.AllowOrigins)
	if err != nil {
		err = fmt.Errorf("allow_origins: %w", err)
	}
	return cmp.Or(h.checkTokenIsNowhereElse(), err, h.inspectModules())
}

// inspectModules returns an error for a transport or a store that this build of Caddy does not have. It does not load them.
func (h *Handler) inspectModules() error {
	if err := storeModules.check(h.StoreRaw); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := transportModules.check(h.TransportRaw); err != nil {
		return fmt.Errorf("transport: %w", err)
	}
	return nil
}
