package illumichat

import (
	"maps"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/internal/values"
)

// warn logs settings that work but that the operator should check.
func (h *Handler) warn() {
	logger := h.log.Logger()
	if !values.IsPlaceholder(h.Token) {
		logger.Warn("the token is part of the config, where the admin API and debug logs show it; use {env.NAME} or {file.PATH} instead")
	}
	if _, err := h.exchanges.token.Get(); err != nil {
		logger.Error("there is no token, so each chat fails until the token's file can be read", zap.Error(values.PrintableError(err)))
	}
	if h.rules.AllowsAny() {
		logger.Warn("visitors may talk to every assistant of the token's workspace; list the ones that are meant for them")
	}
	for _, w := range h.warnings() {
		logger.Warn(strings.TrimSuffix(w.found+"; "+w.do, "; "), w.fields...)
	}
	if h.exchanges.endpoint.Fallback {
		logger.Info("the placeholder of endpoint is empty, so the default endpoint is used", zap.String("placeholder", values.Printable(h.Endpoint)))
	}
	if h.place.Server == "" && len(h.Limits) == 0 { // the line for the whole config does not name it
		logger.Info(msgNoLimit, zap.String("assistants", h.shownAssistants()))
	}
}

// warning is about a value that the handler accepts, though it can hardly be meant.
type warning struct {
	found, do string
	fields    []zap.Field
}

// warnings returns the warnings about the handler's values. The doctor reports them, too.
func (h *Handler) warnings() []warning {
	var all []warning
	add := func(found, do string, fields ...zap.Field) { all = append(all, warning{found, do, fields}) }
	if token, err := h.exchanges.token.Get(); err == nil && token.Len() > 0 && !token.HasDocumentedForm() {
		add("the token does not have the documented form, ic_ and 40 letters and digits", "")
	}
	endpoint := h.exchanges.endpoint.URL
	if endpoint.Scheme == "http" && !values.IsLoopback(endpoint.Hostname()) {
		add("the endpoint is not encrypted, so the token can be read on the way to it", "")
	}
	if endpoint.Path == "" || endpoint.Path == "/" {
		add("the endpoint has no path, so it is probably not the chat API", "write the whole URL, such as "+upstream.DefaultEndpoint)
	}
	if h.ResponseTimeout > h.MaxDuration {
		add("response_timeout is longer than max_duration, which ends the chat first", "raise max_duration, or leave response_timeout out",
			zap.Duration("response_timeout", time.Duration(h.ResponseTimeout)), zap.Duration("max_duration", time.Duration(h.MaxDuration)))
	}
	for _, name := range slices.Sorted(maps.Keys(h.Aliases)) {
		if chat.LooksLikeID(name) {
			add("the name of an alias looks like an assistant's id", "the name comes first, as in: alias support asst_1", zap.String("alias", name))
		}
	}
	return all
}

// mostShown bounds how many assistants an error or a line of the log names.
const mostShown = 3

// shownAssistants returns the assistants as they are configured, to tell one of many handlers from the others.
func (h *Handler) shownAssistants() string {
	names := chat.ShownNames(slices.Concat(h.Assistants, slices.Sorted(maps.Keys(h.Aliases))))
	if len(names) > mostShown {
		names = append(names[:mostShown:mostShown], "…")
	}
	return strings.Join(names, " ")
}
