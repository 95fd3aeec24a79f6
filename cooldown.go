package illumichat

import (
	"slices"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
)

// coolDowns returns how long the cool-downs of the assistants that pages may use still last, by the assistants' ids. It
// leaves out assistants without a cool-down.
func (h *Handler) coolDowns() map[string]time.Duration {
	coolDowns := make(map[string]time.Duration)
	if h.rules.AllowsAny() {
		coolDowns = h.limiter.CoolDowns()
	}
	for _, id := range h.rules.Assistants() {
		if left := h.limiter.CoolDown(id); left > 0 {
			coolDowns[id] = left
		}
	}
	return coolDowns
}

// coolDowns yields how long the cool-down of each assistant of each handler still lasts. The labels are configured
// names, because visitors must not choose labels. Assistants without a name share the label chat.Other.
func (l *handlerList) coolDowns(yield func(telemetry.CoolDown) bool) {
	l.mu.Lock()
	list := slices.Clone(l.list)
	l.mu.Unlock()
	for _, h := range list {
		for label, left := range h.coolDownsByLabel() {
			labels := telemetry.CoolDownLabels{Endpoint: h.exchanges.endpoint.Public, Assistant: label}
			if !yield(telemetry.CoolDown{CoolDownLabels: labels, Left: left}) {
				return
			}
		}
	}
}

// coolDownsByLabel returns how long the cool-downs of the handler's assistants still last, by their labels in metrics.
// An assistant without a cool-down has 0.
func (h *Handler) coolDownsByLabel() map[string]time.Duration {
	byLabel := make(map[string]time.Duration)
	unnamed := h.coolDowns()
	for name, id := range h.rules.Assistants() {
		byLabel[name] = unnamed[id]
	}
	if !h.rules.AllowsAny() {
		return byLabel
	}
	for _, id := range h.rules.Assistants() {
		delete(unnamed, id)
	}
	longest := byLabel[chat.Other]
	for _, left := range unnamed {
		longest = max(longest, left)
	}
	byLabel[chat.Other] = longest
	return byLabel
}
