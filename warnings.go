package illumichat

import (
	"maps"
	"net"
	"slices"
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
		logger.Error("there is no token yet, so each chat fails until the file exists", zap.Error(values.PrintableError(err)))
	} else if !h.exchanges.token.HasDocumentedForm() {
		logger.Warn("the token is not of the documented form, ic_ and 40 letters and digits")
	}
	if h.rules.AllowsAny() {
		logger.Warn("visitors may talk to every assistant of the token's workspace; list the ones that are meant for them")
	}
	if h.exchanges.endpoint.URL.Scheme == "http" && !isLoopback(h.exchanges.endpoint.URL.Hostname()) {
		logger.Warn("the endpoint is not encrypted, so the token can be read on the way to it")
	}
	if h.ResponseTimeout > h.MaxDuration {
		logger.Warn("response_timeout is longer than max_duration, which ends a chat before; raise max_duration or leave response_timeout out",
			zap.Duration("response_timeout", time.Duration(h.ResponseTimeout)), zap.Duration("max_duration", time.Duration(h.MaxDuration)))
	}
	if path := h.exchanges.endpoint.URL.Path; path == "" || path == "/" {
		logger.Warn("the endpoint has no path, so it is hardly the chat API; write the whole URL, such as " + upstream.DefaultEndpoint)
	}
	for _, name := range slices.Sorted(maps.Keys(h.Aliases)) {
		if chat.LooksLikeID(name) {
			logger.Warn("the name of an alias looks like an assistant's id; the name comes first, as in: alias support asst_1", zap.String("alias", name))
		}
	}
}

// isLoopback reports whether host is this machine.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}
