// Package illumichat provides http.handlers.illumichat, a Caddy handler that lets a web page chat with
// an IllumiChat assistant through the site's own server. The API token stays on the server; what the
// page sends is checked, and the answer is streamed back event by event.
//
// It is not a general proxy for language models: it speaks IllumiChat's chat API and nothing else.
package illumichat

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/origin"
	"github.com/illumichat/caddy-illumichat/internal/shutdown"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/internal/values"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// What an operator left out.
const (
	defaultMaxBodySize     = 1 << 20
	defaultBodyTimeout     = caddy.Duration(30 * time.Second)
	defaultResponseTimeout = caddy.Duration(30 * time.Second)
	defaultCommitAfter     = caddy.Duration(5 * time.Second)
	defaultIdleTimeout     = caddy.Duration(30 * time.Second)
	defaultWriteTimeout    = caddy.Duration(30 * time.Second)
	defaultMaxDuration     = caddy.Duration(2 * time.Minute)
	defaultHeartbeat       = caddy.Duration(15 * time.Second)
)

// off is the value of a duration that turns its feature off.
const off caddy.Duration = -1

// Handler answers chats of a web page with an IllumiChat assistant. A page posts
// `{"messages": [{"role": "user", "content": "Hello"}]}` to the handler's path and reads the answer as an
// event stream (`text/event-stream`), which always has exactly one `finish`.
//
// Errors are JSON, `{"error": "<text>", "code": "<type>:<context>"}`. They are written by the handler
// itself, so `handle_errors` does not see them; `intercept` does.
//
// Placeholders that the handler sets:
//
// Placeholder | Description
// ------------|------------
// `{http.illumichat.outcome}` | `refused` (not sent upstream), `failed` (no answer), `answered`, `broken` (an answer without the upstream's finish) or `left` (by the visitor)
// `{http.illumichat.assistant}` | The id of the assistant, once it is allowed
// `{http.illumichat.alias}` | The name under which the page knows the assistant
// `{http.illumichat.chat}` | `new` or `continued`
// `{http.illumichat.tries}` | How many times the upstream was asked
// `{http.illumichat.upstream_status}` | The status of its last answer
// `{http.illumichat.first_event_ms}` | Milliseconds from the request to the first event
// `{http.illumichat.events}` | Events that the visitor was sent, the upstream's finish included
// `{http.illumichat.bytes}` | Bytes of the answer
// `{http.illumichat.finish_reason}` | The `finishReason` of the finish that the visitor was sent
// `{http.illumichat.cause}` | Why the answer has no finish of the upstream's, such as `closed:upstream` or `left:visitor`
// `{http.illumichat.code}` | The code of a refusal or error, such as `forbidden:assistant`
//
// They have their values when the request is over, and are empty where there is none.
type Handler struct {
	// The API token. It should be a placeholder, `{env.NAME}` or `{file.PATH}`: a literal token shows in
	// the config, and is warned about. A token that is exactly one `{file.PATH}` is read anew for each
	// request, so a rotated secret needs no reload. Required.
	Token string `json:"token,omitempty"`

	// The chat API's URL, `http` or `https`. It may hold `{env.*}` and `{file.*}` placeholders; where it
	// comes out empty, the default is used. Default: `https://beta.illumichat.com/api/chat`.
	Endpoint string `json:"endpoint,omitempty"`

	// The ids of the assistants that pages may talk to; a single `*` allows any, and is warned about.
	// Ids may be `{env.*}` and `{file.*}` placeholders. Required, unless there are aliases. Where exactly
	// one assistant is configured, ids and aliases together, a page may leave `assistantId` out.
	Assistants []string `json:"assistants,omitempty"`

	// Names under which pages may talk to assistants whose ids they need not know: name → assistant id.
	// The ids may be `{env.*}` and `{file.*}` placeholders. A name may not equal a listed id.
	Aliases map[string]string `json:"aliases,omitempty"`

	// The largest request body, in bytes. Default: 1048576 (1 MiB).
	MaxBodySize int64 `json:"max_body_size,omitempty"`

	// The most messages that one request may hold. Default: 0, no limit but that of the body's size.
	MaxMessages int `json:"max_messages,omitempty"`

	// The roles that a message may have. Default: `user` and `assistant`.
	Roles []string `json:"roles,omitempty"`

	// Further top-level fields of the body that are forwarded as they are. All others are dropped.
	PassFields []string `json:"pass_fields,omitempty"`

	// Other origins whose pages may ask, and read the answers: a scheme, a host and maybe a port, such as
	// `https://www.example.com`. Pages of the site itself always may, and so may what is no browser. There is no
	// wildcard, and cookies are no part of it. Default: none.
	AllowOrigins []string `json:"allow_origins,omitempty"`

	// How many chats are sent upstream in a time: all of these limits have to let one in. None by default, so
	// that whoever finds the chat can spend the token's quota; that is noted when the config loads.
	Limits []Limit `json:"limits,omitempty"`

	// The most chats that may be open at once; each further one is answered 503. Default: 0, no limit.
	MaxStreams int `json:"max_streams,omitempty"`

	// The most chats that one client may have open at once, by the key that limits have by default; each
	// further one is answered 429. Default: 0, no limit.
	MaxStreamsPerClient int `json:"max_streams_per_client,omitempty"`

	// How long the visitor's whole request body may take. Default: `30s`.
	BodyTimeout caddy.Duration `json:"body_timeout,omitempty"`

	// How long one try may take, from the sending of the request to the first event of its answer.
	// Default: `30s`.
	ResponseTimeout caddy.Duration `json:"response_timeout,omitempty"`

	// How long to hold an accepted answer's head back while its first event has not come. Until then, an
	// upstream that breaks still gets the visitor a real error status. -1 waits for the first event
	// however long it takes. Default: `5s`.
	CommitAfter caddy.Duration `json:"commit_after,omitempty"`

	// The longest silence of the upstream within a stream. An HTTP/2 connection that has been silent for half
	// of it is pinged, and given up if that is not answered in the other half. Default: `30s`.
	IdleTimeout caddy.Duration `json:"idle_timeout,omitempty"`

	// How long one write to the visitor may block before the visitor is given up. Default: `30s`.
	WriteTimeout caddy.Duration `json:"write_timeout,omitempty"`

	// How long a whole exchange may take, from the request to the end of its answer, all tries included.
	// Default: `2m`.
	MaxDuration caddy.Duration `json:"max_duration,omitempty"`

	// After how much silence a comment is sent to the visitor, so that nothing between takes the
	// connection for dead. -1 turns it off. Default: `15s`.
	Heartbeat caddy.Duration `json:"heartbeat,omitempty"`

	// When to ask the upstream once more, while nothing has been sent to the visitor.
	Retry Retry `json:"retry,omitzero"`

	// Whether the upstream is told of the trace that the `tracing` directive has begun, by a `traceparent` header
	// (W3C Trace Context). Default: false, because the upstream is another company's.
	PropagateTrace bool `json:"propagate_trace,omitempty"`

	// How to reach the endpoint: a transport of `reverse_proxy`. For `http`, 1024 idle connections are
	// kept per host and the write buffer is 1 KiB, unless set otherwise. `fastcgi`, `proxy_protocol` and
	// HTTP/3 are refused. Default: `http`.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	// Whether visitors can go on with an answer whose connection they have lost. Default: they cannot.
	Resume *Resume `json:"resume,omitempty"`

	// Where answers are kept for `resume`. Where instances share it, as they can `redis`, they count together what `limits` and
	// `max_streams_per_client` allow, and share a cool-down. Default: `memory`.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=http.handlers.illumichat.stores inline_key=module"`

	log       *telemetry.Log
	origins   *origin.Policy
	rules     *chat.Rules
	store     store.Store // nil without resume and a configured one
	limiter   *limit.Limiter
	exchanges exchanges
	resumer   *resumer // nil without resume
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.illumichat",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision fills in defaults, resolves placeholders and loads the transport.
func (h *Handler) Provision(ctx caddy.Context) error {
	h.log = telemetry.NewLog(ctx.Logger())
	h.setDefaults()

	var err error
	h.exchanges = h.newExchanges()
	if h.exchanges.token, err = upstream.NewTokenSource(h.Token); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if h.exchanges.endpoint, err = upstream.ResolveEndpoint(h.Endpoint); err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	if h.origins, err = origin.New(h.AllowOrigins); err != nil {
		return fmt.Errorf("allow_origins: %w", err)
	}
	if h.rules, err = chat.NewRules(h.chatConfig()); err != nil {
		return err
	}
	if h.exchanges.client, err = h.newClient(ctx); err != nil {
		return fmt.Errorf("transport: %w", err)
	}
	if err := h.openStore(ctx); err != nil {
		return fmt.Errorf("store: %w", err)
	}
	h.limiter = limit.New(h.limiterConfig())
	h.resumer = h.newResumer()
	loadedHandlers.add(h)
	shutdown.Watch(ctx, shutdown.Options{MaxDuration: time.Duration(h.MaxDuration), EndsAtReload: h.exchanges.endsAtReload})
	sources := telemetry.Sources{OpenStreams: shutdown.Count, CoolDowns: limit.CoolDowns}
	if err := telemetry.Register(ctx.GetMetricsRegistry(), sources); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	telemetry.BeginAssistants(h.rules.Labels())
	h.warn()
	return nil
}

func (h *Handler) setDefaults() {
	if h.MaxBodySize == 0 {
		h.MaxBodySize = defaultMaxBodySize
	}
	if len(h.Roles) == 0 {
		h.Roles = []string{"user", "assistant"}
	}
	for _, d := range h.durations() {
		if *d.value == 0 {
			*d.value = d.byDefault
		}
	}
	for i := range h.Limits {
		h.Limits[i].setDefaults()
	}
	h.Retry.setDefaults()
	if h.Resume != nil {
		h.Resume.setDefaults()
	}
}

// duration is a configurable duration with its name in the config, for what applies to all of them.
type duration struct {
	name      string
	value     *caddy.Duration
	byDefault caddy.Duration
	mayBeOff  bool
}

func (h *Handler) durations() []duration {
	return []duration{
		{"body_timeout", &h.BodyTimeout, defaultBodyTimeout, false},
		{"response_timeout", &h.ResponseTimeout, defaultResponseTimeout, false},
		{"commit_after", &h.CommitAfter, defaultCommitAfter, true},
		{"idle_timeout", &h.IdleTimeout, defaultIdleTimeout, false},
		{"write_timeout", &h.WriteTimeout, defaultWriteTimeout, false},
		{"max_duration", &h.MaxDuration, defaultMaxDuration, false},
		{"heartbeat", &h.Heartbeat, defaultHeartbeat, true},
	}
}

// newExchanges has what is known of exchanges from the config alone.
func (h *Handler) newExchanges() exchanges {
	return exchanges{
		retry:           &h.Retry,
		log:             h.log,
		responseTimeout: time.Duration(h.ResponseTimeout),
		commitAfter:     orNever(h.CommitAfter),
		idleTimeout:     time.Duration(h.IdleTimeout),
		writeTimeout:    time.Duration(h.WriteTimeout),
		maxDuration:     time.Duration(h.MaxDuration),
		heartbeat:       orNever(h.Heartbeat),
		propagateTrace:  h.PropagateTrace,
	}
}

// orNever is how long to wait for what may be turned off.
func orNever(d caddy.Duration) time.Duration {
	if d == off {
		return watchdog.Never
	}
	return time.Duration(d)
}

// newClient loads the configured transport module, or Caddy's own.
func (h *Handler) newClient(ctx caddy.Context) (*upstream.Client, error) {
	var err error
	if h.TransportRaw, err = upstream.TransportDefaults(h.TransportRaw); err != nil {
		return nil, err
	}
	module, err := ctx.LoadModule(h, "TransportRaw")
	if err != nil {
		return nil, err
	}
	transport, err := upstream.CheckTransport(module)
	if err != nil {
		return nil, err
	}
	return upstream.New(h.exchanges.endpoint, transport, time.Duration(h.IdleTimeout)), nil
}

// openStore opens what keeps answers, and what instances may count together.
func (h *Handler) openStore(ctx caddy.Context) error {
	if h.Resume == nil && h.StoreRaw == nil {
		return nil
	}
	var module store.Module = new(store.Memory)
	if h.StoreRaw != nil {
		loaded, err := ctx.LoadModule(h, "StoreRaw")
		if err != nil {
			return err
		}
		module = loaded.(store.Module)
	}
	// Other instances may reach the endpoint in another way than this one.
	key := limit.NewKey(cmp.Or(h.Endpoint, upstream.DefaultEndpoint), h.Token)
	var err error
	h.store, err = module.Open(key.Scope())
	return err
}

// newResumer returns what lets visitors go on with answers, if they can.
func (h *Handler) newResumer() *resumer {
	if h.Resume == nil {
		return nil
	}
	return &resumer{
		store:     h.store,
		terms:     h.Resume.terms(),
		owner:     h.Resume.Owner,
		limiter:   h.limiter,
		exchanges: &h.exchanges,
		log:       h.log,
	}
}

// chatConfig is what the rules for chats are made of.
func (h *Handler) chatConfig() chat.Config {
	return chat.Config{
		Assistants:  h.Assistants,
		Aliases:     h.Aliases,
		MaxBodySize: h.MaxBodySize,
		MaxMessages: h.MaxMessages,
		Roles:       h.Roles,
		PassFields:  h.PassFields,
		BodyTimeout: min(time.Duration(h.BodyTimeout), time.Duration(h.MaxDuration)),
	}
}

// warn tells the operator of settings that work but should be looked at.
func (h *Handler) warn() {
	logger := h.log.Logger()
	if !values.IsPlaceholder(h.Token) {
		logger.Warn("the token is part of the config, where the admin API and debug logs show it; use {env.NAME} or {file.PATH} instead")
	}
	if !h.exchanges.token.HasDocumentedForm() {
		logger.Warn("the token is not of the documented form, ic_ and 40 letters and digits")
	}
	if h.rules.AllowsAny() {
		logger.Warn("visitors may talk to every assistant of the token's workspace; list the ones that are meant for them")
	}
	if h.exchanges.endpoint.URL.Scheme == "http" && !isLoopback(h.exchanges.endpoint.URL.Hostname()) {
		logger.Warn("the endpoint is not encrypted, so the token can be read on the way to it", zap.String("endpoint", h.exchanges.endpoint.Public))
	}
	if len(h.Limits) == 0 {
		logger.Info("no limit is set, so whoever finds the chat can spend the token's quota")
	}
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// Validate checks what cannot be right, whatever it resolves to.
func (h *Handler) Validate() error {
	if len(h.Assistants) == 0 && len(h.Aliases) == 0 {
		return chat.ErrNoAssistants
	}
	if len(h.Assistants) > 1 && slices.Contains(h.Assistants, chat.Any) {
		return chat.ErrAnyAmongOthers
	}
	if h.MaxBodySize < 0 {
		return fmt.Errorf("max_body_size: %d is negative", h.MaxBodySize)
	}
	if h.MaxMessages < 0 {
		return fmt.Errorf("max_messages: %d is negative", h.MaxMessages)
	}
	for _, role := range h.Roles {
		if err := chat.CheckRole(role); err != nil {
			return fmt.Errorf("roles: %w", err)
		}
	}
	for _, name := range h.PassFields {
		if err := chat.CheckPassField(name); err != nil {
			return fmt.Errorf("pass_fields: %w", err)
		}
	}
	if h.MaxStreams < 0 {
		return fmt.Errorf("max_streams: %d is negative", h.MaxStreams)
	}
	if h.MaxStreamsPerClient < 0 {
		return fmt.Errorf("max_streams_per_client: %d is negative", h.MaxStreamsPerClient)
	}
	for i, l := range h.Limits {
		if err := l.validate(); err != nil {
			return fmt.Errorf("limits[%d]: %w", i, err)
		}
	}
	if err := checkLimits(h.Limits); err != nil {
		return fmt.Errorf("limits: %w", err)
	}
	for _, d := range h.durations() {
		if *d.value < 0 && (*d.value != off || !d.mayBeOff) {
			return fmt.Errorf("%s: %s is negative", d.name, time.Duration(*d.value))
		}
	}
	if err := h.Retry.validate(); err != nil {
		return fmt.Errorf("retry: %w", err)
	}
	if h.Resume != nil {
		if err := h.Resume.validate(); err != nil {
			return fmt.Errorf("resume: %w", err)
		}
	}
	return nil
}

// ServeHTTP answers one chat. It writes errors itself and returns nil, because a chat page needs them in
// a shape of their own.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	if h.origins.Share(w, r) {
		return nil
	}
	c := telemetry.NewRecord(r)
	defer c.Done()
	if err := h.serve(w, r, c); err != nil {
		h.writeError(w, c, err)
	}
	return nil
}

// serve is the way of a request: may this page ask, is it a valid chat, is there room, ask upstream, relay the
// answer. An error means that nothing was sent yet.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, c *telemetry.Record) error {
	resumable := h.resumer != nil
	switch {
	case r.Method == http.MethodPost:
	case !resumable:
		return errMethod
	case r.Method != http.MethodGet && r.Method != http.MethodDelete:
		return errMethodOfResumable
	}
	if err := h.origins.Check(r); err != nil {
		return err
	}
	switch r.Method {
	case http.MethodGet:
		return h.resumer.resume(w, r, c)
	case http.MethodDelete:
		return h.resumer.stop(w, r, c)
	}
	asked, err := h.rules.Read(w, r)
	if err != nil {
		return err
	}
	noteChat(c, asked)
	owner := ""
	if resumable {
		owner, resumable = h.resumer.ownerOf(r)
	}
	request := h.requestOf(r)
	var keys [4]string // so that the keys of few limits need no allocation
	admission, err := h.limiter.Admit(w.Header(), request, h.keysOf(r, request.Client, keys[:0]))
	if err != nil {
		return err
	}
	if resumable {
		return h.resumer.serve(w, r, owner, asked, admission, c)
	}
	defer admission.Leave()
	ex := h.exchanges.open(r.Context(), h.exchanges.response(w, r, c.Start, ""), r.ProtoMajor == 3, admission, c)
	defer ex.close()
	return ex.run(asked.Body)
}

// Cleanup lets go of what the handler shares, once its open chats have ended.
func (h *Handler) Cleanup() error {
	if h.limiter == nil { // provisioning failed before
		return nil
	}
	loadedHandlers.remove(h)
	return h.limiter.Close()
}

// noteChat notes what is asked for.
func noteChat(c *telemetry.Record, asked chat.Chat) {
	c.Assistant, c.Alias, c.Label, c.Continued = asked.Assistant, asked.Alias, asked.Label, asked.Continued
}

// MarshalLogObject keeps the token out of logs that print the whole handler, as the server's `trace`
// option does.
func (h *Handler) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	token := h.Token
	if !values.IsPlaceholder(token) {
		token = "REDACTED"
	}
	enc.AddString("token", token)
	enc.AddString("endpoint", h.Endpoint)
	enc.AddString("assistants", strings.Join(h.Assistants, " "))
	return nil
}

// Interface guards
var (
	_ caddy.Provisioner           = (*Handler)(nil)
	_ caddy.Validator             = (*Handler)(nil)
	_ caddy.CleanerUpper          = (*Handler)(nil)
	_ caddyhttp.MiddlewareHandler = (*Handler)(nil)
	_ zapcore.ObjectMarshaler     = (*Handler)(nil)
)
