// Package illumichat provides http.handlers.illumichat, a Caddy handler through which web pages chat with an IllumiChat
// assistant. The pages talk to the site's own server, and the API token stays there. The handler checks the pages'
// requests and streams the answers back event by event.
//
// It is not a general proxy for language models: it speaks IllumiChat's chat API and nothing else.
package illumichat

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/origin"
	"github.com/illumichat/caddy-illumichat/internal/recording"
	"github.com/illumichat/caddy-illumichat/internal/stdlog"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/internal/values"
	"github.com/illumichat/caddy-illumichat/internal/visitor"
	"github.com/illumichat/caddy-illumichat/internal/watchdog"
	"github.com/illumichat/caddy-illumichat/store"
)

func init() {
	caddy.RegisterModule(new(Handler))
}

// Defaults of options that the operator left out.
const (
	defaultMaxBodySize     = 1 << 20
	defaultBodyTimeout     = caddy.Duration(30 * time.Second)
	defaultResponseTimeout = caddy.Duration(60 * time.Second) // the API's own bound of an answer
	defaultCommitAfter     = caddy.Duration(5 * time.Second)
	defaultIdleTimeout     = caddy.Duration(60 * time.Second) // as above
	defaultWriteTimeout    = caddy.Duration(30 * time.Second)
	defaultMaxDuration     = caddy.Duration(2 * time.Minute)
	defaultHeartbeat       = caddy.Duration(15 * time.Second)
)

// off, as the value of a duration, turns its feature off.
const off caddy.Duration = -1

// Handler lets a web page chat with an IllumiChat assistant. A page posts
// `{"messages": [{"role": "user", "content": "Hello"}]}` to the handler's path. The answer is an event stream
// (`text/event-stream`), which always has exactly one `finish`.
//
// Errors are JSON, `{"error": "<text>", "code": "<type>:<context>"}`. The handler writes them itself, so
// `handle_errors` does not see them; `intercept` does.
//
// Placeholders that the handler sets:
//
// Placeholder | Description
// ------------|------------
// `{http.illumichat.outcome}` | `refused` (not sent upstream), `failed` (no answer), `answered`, `broken` (an answer without the upstream's finish) or `left` (the visitor left)
// `{http.illumichat.assistant}` | The assistant's id, if the page may use it
// `{http.illumichat.alias}` | The name under which the page knows the assistant
// `{http.illumichat.chat}` | `new` or `continued`
// `{http.illumichat.tries}` | How many times the upstream was asked
// `{http.illumichat.upstream_status}` | The status of the upstream's last answer
// `{http.illumichat.first_event_ms}` | Milliseconds from the request to the first event
// `{http.illumichat.events}` | Events sent to the visitor, including the upstream's finish
// `{http.illumichat.bytes}` | Bytes of the answer sent to the visitor
// `{http.illumichat.finish_reason}` | The `finishReason` of the finish sent to the visitor
// `{http.illumichat.dropped}` | Events that were not sent to the visitor, because they followed the finish
// `{http.illumichat.after_finish}` | `cut` if the upstream's stream went on for more than 2 s after its finish; what came later is unknown
// `{http.illumichat.cause}` | Why the answer has no finish from the upstream, such as `closed:upstream` or `left:visitor`
// `{http.illumichat.code}` | The code of a refusal or error, such as `forbidden:assistant`
//
// They are set when the request is over. A placeholder without a value is empty.
type Handler struct {
	// The API token. It should be a placeholder, `{env.NAME}` or `{file.PATH}`. A literal token is visible in the
	// config, and the handler logs a warning. A placeholder together with other text is an error.
	// A token that is exactly one `{file.PATH}` is read again for each request, so a rotated secret needs no reload. Required.
	Token string `json:"token,omitempty"`

	// The chat API's URL, `http` or `https`, without credentials. It may contain `{env.*}` and `{file.*}` placeholders. An
	// `@` is written `%40`. If the result is empty, the default is used. Default: `https://beta.illumichat.com/api/chat`.
	Endpoint string `json:"endpoint,omitempty"`

	// The ids of the assistants that pages may talk to. A single `*` allows any assistant, and the handler logs
	// a warning. Ids may be `{env.*}` and `{file.*}` placeholders. If exactly one assistant is configured, ids and
	// aliases together, or if there is a `default_assistant`, a page may omit `assistantId`. An id with a comma, quotation
	// marks, `;`, `=`, square brackets or `://` is an error. So is the API token, an id of its form, and `other`.
	// Required, unless there are aliases.
	Assistants []string `json:"assistants,omitempty"`

	// Names that pages may use for assistants, so that they need not know the ids: name → assistant id.
	// The ids may be `{env.*}` and `{file.*}` placeholders. A name may not equal a listed id, or hold a space, a comma or
	// quotation marks. With `*`, no name may be `other`, the metrics label of all assistants that are not listed.
	Aliases map[string]string `json:"aliases,omitempty"`

	// The assistant for pages that name none: an alias or a listed id, or with `*` any id. It may be a placeholder.
	// Default: the only assistant. If there are several, a page must name one.
	DefaultAssistant string `json:"default_assistant,omitempty"`

	// The largest request body, in bytes; at least 1024. Default: 1048576 (1 MiB).
	MaxBodySize int64 `json:"max_body_size,omitempty"`

	// The maximum number of messages in one request. Default: 0, no limit except the body's size.
	MaxMessages int `json:"max_messages,omitempty"`

	// The roles that a message may have. Default: `user` and `assistant`.
	Roles []string `json:"roles,omitempty"`

	// Further top-level fields of the body to forward unchanged. All others are dropped. Default: none.
	PassFields []string `json:"pass_fields,omitempty"`

	// Other origins whose pages may send chats and read the answers. An origin is a scheme, a host and optionally a
	// port, such as `https://www.example.com`. Pages of the site itself always may, and so may clients that are not
	// browsers. There is no wildcard, and requests from these origins cannot use cookies. Default: none.
	AllowOrigins []string `json:"allow_origins,omitempty"`

	// Limits on how many chats are sent upstream in a window of time. A chat must be within all of them; otherwise it is
	// answered 429. Without limits, anyone who finds the chat can spend the token's quota, and the handler logs that when
	// the config loads. Default: none.
	Limits []Limit `json:"limits,omitempty"`

	// The maximum number of chats open at once; each further one is answered 503. Default: 0, no limit.
	MaxStreams int `json:"max_streams,omitempty"`

	// The maximum number of chats that one client may have open at once; each further one is answered 429. The
	// default key of `limits` identifies the client. Default: 0, no limit.
	MaxStreamsPerClient int `json:"max_streams_per_client,omitempty"`

	// How long the visitor may take to send the whole request body. Default: `30s`.
	BodyTimeout caddy.Duration `json:"body_timeout,omitempty"`

	// The longest silence of the upstream before the first event of its answer. A comment ends a silence, as any byte of
	// the upstream does. An attempt that is over for this reason is not repeated. Default: `60s`, the API's own bound.
	ResponseTimeout caddy.Duration `json:"response_timeout,omitempty"`

	// How long to wait for the first event of an accepted answer before sending the response headers to the
	// visitor. Until the headers are sent, a failing upstream still results in a real error status. -1 waits for
	// the first event however long it takes. Default: `5s`.
	CommitAfter caddy.Duration `json:"commit_after,omitempty"`

	// The longest silence of the upstream after the first event. A comment ends a silence, as any byte of the upstream
	// does. Default: `60s`, the API's own bound.
	IdleTimeout caddy.Duration `json:"idle_timeout,omitempty"`

	// How long one write to the visitor may block before the handler gives up on the visitor. Default: `30s`.
	WriteTimeout caddy.Duration `json:"write_timeout,omitempty"`

	// How long a whole exchange may take, from the request to the end of its answer, including all attempts. With
	// `resume`, it also bounds how long a visitor may listen, from the visitor's own request on. Default: `2m`.
	MaxDuration caddy.Duration `json:"max_duration,omitempty"`

	// How long the stream to the visitor may be silent before a comment is sent. The comment keeps proxies from
	// closing an idle connection. -1 turns heartbeats off. Default: `15s`.
	Heartbeat caddy.Duration `json:"heartbeat,omitempty"`

	// When to retry a failed request to the upstream. A retry is possible as long as nothing has been sent to the visitor.
	Retry Retry `json:"retry,omitzero"`

	// Whether to send the upstream a `traceparent` header (W3C Trace Context) with the trace that the `tracing`
	// directive has begun. Default: false, because another company operates the upstream.
	PropagateTrace bool `json:"propagate_trace,omitempty"`

	// How to reach the endpoint: a transport of `reverse_proxy`. For `http`, the defaults are 1024 idle connections per host
	// and a write buffer of 1 KiB. `fastcgi`, `proxy_protocol` and HTTP/3 are errors. Default: `http`.
	TransportRaw json.RawMessage `json:"transport,omitempty" caddy:"namespace=http.reverse_proxy.transport inline_key=protocol"`

	// Lets visitors resume an answer after its connection is lost. Default: answers cannot be resumed.
	Resume *Resume `json:"resume,omitempty"`

	// Where answers are kept for `resume`. Instances that share a store, as they can with `redis`, count `limits`
	// and `max_streams_per_client` together, and share cool-downs. Default: `memory`.
	StoreRaw json.RawMessage `json:"store,omitempty" caddy:"namespace=http.handlers.illumichat.stores inline_key=module"`

	log       *telemetry.Log
	origins   *origin.Policy
	rules     *chat.Rules
	store     store.Store // nil if neither resume nor a store is configured
	limiter   *limit.Limiter
	exchanges exchanges
	resumer   *resumer  // nil without resume
	running   sync.Once // runs announce, or noteValidation
	places    *placeMap // of the handler's config; nil if no HTTP app provisions the handler
	place     place     // known once running is done
	endCause  func() error
}

// CaddyModule returns the Caddy module information.
func (*Handler) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{
		ID:  "http.handlers.illumichat",
		New: func() caddy.Module { return new(Handler) },
	}
}

// Provision fills in defaults, checks the config, resolves placeholders and loads the transport. Only if all of that
// succeeds does the handler join what handlers share.
func (h *Handler) Provision(ctx caddy.Context) error {
	stdlog.Guard()
	h.log = telemetry.NewLog(ctx.Logger())
	h.log.AddFields(zap.String("token", string(newTokenOrigin(h.Token))))
	h.setDefaults()
	if err := h.provision(ctx); err != nil {
		return h.ofThisChat(err)
	}
	return nil
}

func (h *Handler) provision(ctx caddy.Context) error {
	if err := h.Validate(); err != nil { // Caddy calls it later, when the handler has joined
		return err
	}
	if err := h.resolve(ctx); err != nil {
		return err
	}
	return h.join(ctx)
}

// ofThisChat returns an error that names the handler's assistants, because Caddy does not say which of its sites is wrong.
func (h *Handler) ofThisChat(err error) error {
	if names := h.shownAssistants(); names != "" {
		err = fmt.Errorf("the chat with %s: %w", names, err)
	}
	return values.PrintableError(err)
}

// resolve replaces the placeholders of the config, and creates the parts of the handler that it shares with no other.
func (h *Handler) resolve(ctx caddy.Context) error {
	var err error
	h.exchanges = h.newExchanges()
	if h.exchanges.token, err = upstream.NewTokenSource(h.Token); err != nil {
		return fmt.Errorf("token: %w", err)
	}
	if h.exchanges.endpoint, err = upstream.ResolveEndpoint(h.Endpoint); err != nil {
		return fmt.Errorf("endpoint: %w", err)
	}
	if err := h.checkTokenIsNowhereElse(); err != nil {
		return err
	}
	h.log.AddFields(zap.String("endpoint", h.exchanges.endpoint.Public))
	if h.origins, err = origin.New(h.AllowOrigins); err != nil {
		return fmt.Errorf("allow_origins: %w", err)
	}
	if h.rules, err = chat.NewRules(h.chatConfig()); err != nil {
		return err
	}
	if h.exchanges.client, err = h.newClient(ctx); err != nil {
		return fmt.Errorf("transport: %w", err)
	}
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

// duration describes a duration option, so that defaults, parsing and validation can loop over all of them.
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

// The shortest and the longest duration of an option. A shorter one is a number of another unit. A longer one could
// overflow when it is added to the time.
const (
	minDuration = caddy.Duration(time.Millisecond)
	maxDuration = caddy.Duration(366 * 24 * time.Hour)
)

// checkDuration returns an error for a duration that is negative, or that cannot be meant.
func checkDuration(d caddy.Duration) error {
	switch {
	case d < 0:
		return fmt.Errorf("%s is negative; write a number and a unit, such as 30s (in JSON, -1 turns heartbeat and commit_after off)", time.Duration(d))
	case d < minDuration:
		return fmt.Errorf("%s is shorter than 1ms; write a number and a unit, such as 30s (in JSON \"30s\")", time.Duration(d))
	case d > maxDuration:
		return fmt.Errorf("%s is longer than 366d", time.Duration(d))
	}
	return nil
}

// minSize is the smallest size of an option, in bytes. A smaller one is a number of another unit.
const minSize = 1 << 10

// checkSize returns an error for a size that cannot be meant.
func checkSize(size int64) error {
	switch {
	case size < 0:
		return fmt.Errorf("%d is negative", size)
	case size < minSize:
		return fmt.Errorf("%d bytes is less than the minimum, 1KiB; write a number and a unit, such as 64KiB, or in JSON the number of bytes, such as 65536", size)
	}
	return nil
}

// newExchanges returns the settings of exchanges that come from the config alone. Provision adds the token, the
// endpoint and the client.
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

// orNever returns d as a time to wait, which is watchdog.Never if d is off.
func orNever(d caddy.Duration) time.Duration {
	if d == off {
		return watchdog.Never
	}
	return time.Duration(d)
}

// newClient loads the configured transport module, or Caddy's own, and returns a client that uses it.
func (h *Handler) newClient(ctx caddy.Context) (*upstream.Client, error) {
	var err error
	if h.TransportRaw, err = upstream.TransportDefaults(h.TransportRaw); err != nil {
		return nil, err
	}
	if err := transportModules.check(h.TransportRaw); err != nil {
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

// newResumer returns the handler's resumer, or nil without resume.
func (h *Handler) newResumer() *resumer {
	if h.Resume == nil {
		return nil
	}
	return &resumer{
		store:     h.store,
		terms:     h.Resume.terms(),
		owner:     h.Resume.ownerTemplate(),
		limiter:   h.limiter,
		admit:     h.admit,
		exchanges: &h.exchanges,
		log:       h.log,
	}
}

// chatConfig returns the config of the rules for chats.
func (h *Handler) chatConfig() chat.Config {
	return chat.Config{
		Assistants:  h.Assistants,
		Aliases:     h.Aliases,
		Default:     h.DefaultAssistant,
		MaxBodySize: h.MaxBodySize,
		MaxMessages: h.MaxMessages,
		Roles:       h.Roles,
		PassFields:  h.PassFields,
		HoldsToken:  h.exchanges.token.OccursIn,
	}
}

// longestBody returns how long a body may take: no longer than the whole exchange.
func (h *Handler) longestBody() time.Duration {
	return time.Duration(min(h.BodyTimeout, h.MaxDuration))
}

// Validate returns an error for settings that are wrong whatever their placeholders resolve to.
func (h *Handler) Validate() error {
	if err := h.validateAssistants(); err != nil {
		return err
	}
	return h.validateOptions()
}

func (h *Handler) validateAssistants() error {
	if len(h.Assistants) == 0 && len(h.Aliases) == 0 {
		return chat.ErrNoAssistants
	}
	if len(h.Assistants) > 1 && slices.Contains(h.Assistants, chat.Any) {
		return chat.ErrAnyAmongOthers
	}
	return nil
}

// validateOptions is Validate for all options but the assistants.
func (h *Handler) validateOptions() error {
	if err := checkSize(h.MaxBodySize); err != nil {
		return fmt.Errorf("max_body_size: %w", err)
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
		if *d.value == off && d.mayBeOff {
			continue
		}
		if err := checkDuration(*d.value); err != nil {
			return fmt.Errorf("%s: %w", d.name, err)
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

// ServeHTTP answers one request. It writes errors itself and returns nil, because a chat page needs errors in a
// shape of their own.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request, _ caddyhttp.Handler) error {
	h.running.Do(h.announce) // a server can get requests before Caddy has started all of the config
	shared := h.origins.Share(w.Header(), r)
	defer func() { h.checkShared(w.Header(), shared) }()
	if origin.IsPreflight(r) {
		h.answerPreflight(w, r)
		return nil
	}
	body := visitor.NewBody(w, r, h.longestBody())
	if refused := h.answer(w, r, body); refused {
		body.Discard()
	}
	return nil
}

// answer sends an answer or an error, and records the request. It reports whether it sent an error.
func (h *Handler) answer(w http.ResponseWriter, r *http.Request, body *visitor.Body) (refused bool) {
	c := telemetry.NewRecord(r)
	defer c.Done()
	err := h.serve(w, r, body, c)
	if err != nil {
		body.PrepareError(w.Header())
		writeError(w, h.log, c, err)
	}
	return err != nil
}

// serve checks whether the page may send chats, whether the chat is valid, and whether there is room. Then it asks the
// upstream and relays the answer. It returns an error only if nothing was sent to the visitor yet.
func (h *Handler) serve(w http.ResponseWriter, r *http.Request, body *visitor.Body, c *telemetry.Record) error {
	if upstream.IsOwn(r, h.exchanges.token) {
		return errLoop
	}
	resumable := h.resumer != nil
	switch {
	case r.Method == http.MethodPost:
	case !resumable:
		return errMethod
	case r.Method != http.MethodGet && r.Method != http.MethodDelete:
		return errMethodOfResumable
	}
	if err := h.checkOrigin(r); err != nil {
		return err
	}
	switch r.Method {
	case http.MethodGet:
		return h.resumer.resume(w, r, c)
	case http.MethodDelete:
		return h.resumer.stop(w, r, c)
	}
	asked, err := h.rules.Read(r, body)
	if err != nil {
		return err
	}
	noteChat(c, asked)
	if resumable {
		if owner, ok := h.resumer.ownerOf(r); ok {
			return h.resumer.post(w, r, owner, asked, c)
		}
	}
	admission, err := h.admit(w.Header(), r, asked.Assistant, recording.NewID())
	if err != nil {
		return err
	}
	defer admission.Leave()
	ex := h.exchanges.open(r.Context(), h.exchanges.response(w, r, c.Start, ""), r.ProtoMajor == 3, admission, c)
	defer ex.close()
	return ex.run(asked.Body)
}

// MarshalLogObject is for logs that print the whole handler, as the server's `trace` option does. It leaves out a
// literal token, and a key in the endpoint's query.
func (h *Handler) MarshalLogObject(enc zapcore.ObjectEncoder) error {
	token := h.Token
	if !values.IsPlaceholder(token) {
		token = "REDACTED"
	}
	enc.AddString("token", token)
	if h.exchanges.endpoint != nil {
		enc.AddString("endpoint", h.exchanges.endpoint.Public)
	}
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
