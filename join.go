package illumichat

import (
	"context"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyevents"

	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/shutdown"
	"github.com/illumichat/caddy-illumichat/internal/stdlog"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
)

// This file has the steps by which a handler joins and leaves the state that handlers share. A handler takes its
// references while its config loads, before the handlers of the previous config release theirs. Nobody sees the
// handler, in the admin API or in metrics, before its config runs: Caddy may still refuse the config because of another
// module.

// join lets a handler whose config is valid take its references to the shared state.
func (h *Handler) join(ctx caddy.Context) error {
	sources := telemetry.Sources{OpenStreams: openChats, CoolDowns: runningHandlers.coolDowns}
	if err := telemetry.Register(ctx.GetMetricsRegistry(), sources); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	module, err := h.loadStore(ctx)
	if err != nil {
		return fmt.Errorf("store: %w", err)
	}
	if err := h.openStore(module); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	h.limiter = limit.New(h.limiterConfig())
	h.resumer = h.newResumer()
	h.places = joinPlaces(ctx)
	h.endCause = func() error { return context.Cause(ctx) }
	h.announceWhenStarted(ctx)
	shutdown.Watch(ctx, shutdown.Options{MaxDuration: time.Duration(h.MaxDuration), EndsAtReload: h.exchanges.endsAtReload})
	return nil
}

// openChats returns how many chats are open. A chat is open while its answer is written, so a visitor who asked counts
// once. A visitor who only listens does not count.
func openChats() int { return shutdown.Count(shutdown.Exchange) }

// announceWhenStarted lets Caddy call announce when it has started the whole config. If Caddy cannot, the handler's first
// request does that.
func (h *Handler) announceWhenStarted(ctx caddy.Context) {
	app, err := ctx.AppIfConfigured("events") // the HTTP app has loaded it
	if err != nil {
		return
	}
	if events, ok := app.(*caddyevents.App); ok {
		_ = events.On("started", startedListener{h}) // an error means that the config runs already
	}
}

// startedListener tells a handler that its config runs.
type startedListener struct{ handler *Handler }

// Handle is called when Caddy has started the config.
func (l startedListener) Handle(context.Context, caddy.Event) error {
	l.handler.running.Do(l.handler.announce)
	return nil
}

// String keeps the handler out of Caddy's debug log, which prints each listener of an event.
func (startedListener) String() string { return "http.handlers.illumichat" }

// announce lists the handler in the admin API, now that its config runs, and creates the metrics of its assistants. From now
// on, the handler's log lines name its site.
func (h *Handler) announce() {
	h.notePlace()
	runningHandlers.add(h)
	telemetry.BeginAssistants(h.rules.Labels())
}

// noteValidation logs what the operator should check in a config that Caddy only validates: such a config never runs. For a
// config that Caddy has refused, or could not start, it logs nothing, because Caddy has said why.
func (h *Handler) noteValidation() {
	if cause := h.endCause(); cause != nil && cause.Error() == validated {
		h.notePlace()
	}
}

// validated is the cause with which Caddy ends a config that it has validated.
const validated = "validation complete"

// notePlace finds the handler's site, and logs what the operator should check. Before this, the config is not complete, so the
// site could not be found.
func (h *Handler) notePlace() {
	h.place = h.places.of(h)
	h.log.AddFields(h.place.fields()...)
	h.warn()
}

// Cleanup releases the handler's reference to the state that handlers share. Open chats keep theirs until they end.
func (h *Handler) Cleanup() error {
	// Caddy gives the standard logger another writer when it loads the next config. Streams of this one may go on.
	stdlog.Guard()
	if h.limiter == nil { // the handler has not joined
		return nil
	}
	h.running.Do(h.noteValidation) // a late request must not list the handler again
	runningHandlers.remove(h)
	h.places.leave()
	return h.limiter.Close()
}

// Interface guard
var _ caddyevents.Handler = startedListener{}
