package illumichat

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/recording"
	"github.com/illumichat/caddy-illumichat/internal/telemetry"
	"github.com/illumichat/caddy-illumichat/internal/values"
	"github.com/illumichat/caddy-illumichat/store"
)

// Defaults of options that the operator left out.
const (
	defaultGrace    = caddy.Duration(30 * time.Second)
	defaultKeep     = caddy.Duration(5 * time.Minute)
	defaultMaxSize  = 1 << 20
	defaultMaxTotal = 64 << 20
)

var (
	errStreamUnknown = &apierror.Error{
		Status: http.StatusNotFound, Code: apierror.CodeNotFoundStream,
		Text: "this answer does not exist, or is no longer kept",
	}
	errStore = &apierror.Error{
		Status: http.StatusServiceUnavailable, Code: apierror.CodeUnavailableStore,
		Text: "the answer cannot be looked up; try again in a moment", Header: apierror.RetryAfterHeader(time.Second),
		Hint: "check whether the store can be reached",
	}
)

// Resume lets visitors continue an answer whose connection they have lost, or stop it. Each answer has the header
// `Illumichat-Stream: <id>`, and each of its events a line `id: <id>:<n>`. A GET of the handler's path with
// `Last-Event-ID: <id>:<n>`, or with `?stream=<id>&after=<n>`, continues after event n. A DELETE with
// `Illumichat-Stream: <id>` ends the answer. Any client that knows an id may do both, unless `owner` is set.
//
// A page may choose the id, 22 random characters of base64url, and send it as `Illumichat-Stream` with its POST. It can
// then repeat the POST after any loss: the upstream is asked once, and the visitor gets the answer from its beginning, or
// after the event in `Last-Event-ID`.
type Resume struct {
	// How long an answer goes on while no visitor listens. After that, the upstream request is cancelled. From `1ms` to
	// `366d`. Default: `30s`.
	Grace caddy.Duration `json:"grace,omitempty"`

	// How long an answer can be read again after it is complete. From `1ms` to `366d`. Default: `5m`.
	Keep caddy.Duration `json:"keep,omitempty"`

	// The maximum size of one kept answer, in bytes; at least 1024, and at most `max_total`. A longer answer goes on, but
	// can no longer be resumed. Default: 1048576 (1 MiB), or `max_total` if that is less.
	MaxSize int64 `json:"max_size,omitempty"`

	// The maximum size of all answers that this instance keeps for one endpoint and token, in bytes; at least 1024. If there
	// is no room for a new answer, the oldest complete ones are removed. An answer without room cannot be resumed. Default:
	// 67108864 (64 MiB).
	MaxTotal int64 `json:"max_total,omitempty"`

	// Restricts resuming and stopping to requests with the same owner as the chat's request. A text with at least one
	// placeholder that tells visitors apart, such as `{http.auth.user.id}`. A placeholder that changes from request to
	// request is an error. If any placeholder is empty, the answer cannot be resumed. Default: none, so any client that
	// knows an answer's id may resume or stop it.
	Owner string `json:"owner,omitempty"`
}

func (c *Resume) setDefaults() {
	if c.Grace == 0 {
		c.Grace = defaultGrace
	}
	if c.Keep == 0 {
		c.Keep = defaultKeep
	}
	if c.MaxTotal == 0 {
		c.MaxTotal = defaultMaxTotal
	}
	if c.MaxSize == 0 {
		c.MaxSize = min(defaultMaxSize, c.MaxTotal)
	}
}

func (c *Resume) validate() error {
	if err := checkDuration(c.Grace); err != nil {
		return fmt.Errorf("grace: %w", err)
	}
	if err := checkDuration(c.Keep); err != nil {
		return fmt.Errorf("keep: %w", err)
	}
	if err := checkSize(c.MaxTotal); err != nil {
		return fmt.Errorf("max_total: %w", err)
	}
	if err := checkSize(c.MaxSize); err != nil {
		return fmt.Errorf("max_size: %w", err)
	}
	if c.MaxSize > c.MaxTotal {
		return fmt.Errorf("max_size: one answer of %d bytes is more than max_total, %d", c.MaxSize, c.MaxTotal)
	}
	if c.Owner == "" {
		return nil
	}
	return checkOwner(c.Owner)
}

// checkOwner returns an error if an owner is the same for all visitors, who could then read each other's answers.
func checkOwner(owner string) error {
	template, err := values.ParseTemplate(owner)
	switch {
	case err != nil:
	case len(template.Names()) == 0:
		err = errFixedOwner
	case template.OfOneRequest() != "":
		err = fmt.Errorf("%s differs between the chat and the request that resumes its answer, so no answer could be resumed; "+
			"write the placeholder of the user, such as {http.auth.user.id}", template.OfOneRequest())
	case !template.Varies():
		err = errSharedOwner
	}
	if err != nil {
		return fmt.Errorf("owner: '%s': %w", values.Printable(owner), err)
	}
	return nil
}

var (
	errFixedOwner = errors.New("it has no placeholder, so all visitors would be one owner and could read each other's answers; " +
		"write the placeholder of the user in braces, such as {http.auth.user.id}")
	errSharedOwner = errors.New("its value is the same for all visitors, who could read each other's answers; " +
		"write the placeholder of the user, such as {http.auth.user.id}")
)

// ownerTemplate returns the parsed owner, or nil if there is none. validate returns the error of one that cannot be
// parsed.
func (c *Resume) ownerTemplate() *values.Template {
	if c.Owner == "" {
		return nil
	}
	owner, _ := values.ParseTemplate(c.Owner)
	return &owner
}

func (c *Resume) terms() store.Terms {
	return store.Terms{
		Grace: time.Duration(c.Grace), Keep: time.Duration(c.Keep),
		MaxSize: c.MaxSize, MaxTotal: c.MaxTotal,
	}
}

// resumer records answers, and lets visitors resume or stop them.
type resumer struct {
	store     store.Store
	terms     store.Terms
	owner     *values.Template // nil: none
	limiter   *limit.Limiter
	admit     func(header http.Header, r *http.Request, assistant, id string) (*limit.Admission, error)
	exchanges *exchanges
	log       *telemetry.Log
}

// ownerOf returns the owner's value for r, as a hash because the value may be a secret. It returns "" if no owner is
// configured. It returns false if any placeholder of the owner is empty: otherwise all such visitors would count as one
// owner.
func (m *resumer) ownerOf(r *http.Request) (owner string, ok bool) {
	if m.owner == nil {
		return "", true
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	value, complete := m.owner.Expand(repl, func(value string) string { return value })
	if !complete {
		// Where a login is optional, that is so for each visitor without one.
		m.log.Report(zapcore.InfoLevel, "owner", "an answer has no owner, so that it cannot be resumed",
			"this is expected for visitors who are not logged in; if it concerns others, check whether the placeholders are right, "+
				"and whether the directive that sets them comes before this handler", zap.Stringer("owner", m.owner))
		return "", false
	}
	hash := sha256.Sum256([]byte(value))
	return base64.RawURLEncoding.EncodeToString(hash[:]), true
}

// resume serves a GET: it sends the visitor the events of a stream that they do not have yet.
func (m *resumer) resume(w http.ResponseWriter, r *http.Request, c *telemetry.Record) error {
	id, after, err := recording.LastEvent(r)
	if err != nil {
		return err
	}
	release := m.limiter.Use()
	defer release()
	stream, err := m.find(r, id, m.store.Find)
	if err == nil {
		// Without no-store, a cache could keep the answer to a GET for another visitor.
		err = m.attach(w, r, c, attachment{stream: stream, id: id, after: after, cacheControl: "no-store, no-transform"})
	}
	if failure, ok := errors.AsType[*apierror.Error](err); ok && isEventSource(r) && isTemporary(failure) {
		m.sendRetry(w, c, failure)
		return nil
	}
	return countUnknown(err)
}

// countUnknown counts a visitor who came back to an answer that is not there. It returns err.
func countUnknown(err error) error {
	if err == errStreamUnknown {
		telemetry.Resumed(telemetry.ResumeUnknown)
	}
	return err
}

// attachment says what a visitor gets of an answer that is known already.
type attachment struct {
	stream       store.Stream
	id           string // of the stream
	after        int64  // the number of the last event that the visitor has
	cacheControl string // of the response; "" means that of an answer to a POST
}

// attach sends the visitor the events that they do not have yet. If the stream has ended and no event follows, it sends
// a 204.
func (m *resumer) attach(w http.ResponseWriter, r *http.Request, c *telemetry.Record, a attachment) error {
	c.Label = a.stream.Meta().Assistant
	listener, err := a.stream.Listen(a.after)
	switch {
	case err == io.EOF:
		telemetry.Resumed(telemetry.ResumeEnded)
		c.Outcome = telemetry.OutcomeAnswered
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusNoContent)
		return nil
	case err != nil:
		return storeError(r, err)
	}
	defer listener.Close()
	slot, err := m.limiter.AdmitListener(a.id, limit.Request{ID: recording.NewID(), Client: clientOf(r)})
	if err != nil {
		return err
	}
	defer slot.Leave()
	telemetry.Resumed(telemetry.ResumeGoesOn)
	response := m.exchanges.listen(w, r, c, a.cacheControl)
	defer response.close()
	response.after = a.after
	return response.follow(listener)
}

// storeError returns the error that the visitor gets for an error of the store.
func storeError(r *http.Request, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, store.ErrNotFound):
		return errStreamUnknown
	case r.Context().Err() != nil:
		return apierror.ErrVisitorGone
	}
	return errStore.Because(err)
}

// stop serves a DELETE: it ends the answer.
func (m *resumer) stop(w http.ResponseWriter, r *http.Request, c *telemetry.Record) error {
	id := r.Header.Get(recording.Header)
	if id == "" {
		return recording.ErrStreamMissing
	}
	stream, err := m.find(r, id, m.store.FindToStop)
	if err != nil {
		return err
	}
	c.Label = stream.Meta().Assistant
	if err := stream.Stop(r.Context()); err != nil {
		return storeError(r, err)
	}
	c.Outcome = telemetry.OutcomeAnswered
	w.WriteHeader(http.StatusNoContent)
	return nil
}

// look looks for a stream in the store.
type look func(ctx context.Context, id string) (store.Stream, error)

// find returns a stream, if r may resume or stop it. If not, it returns errStreamUnknown, as for a stream that does not
// exist.
func (m *resumer) find(r *http.Request, id string, in look) (store.Stream, error) {
	stream, err := lookUp(r, id, in)
	if err != nil {
		return nil, err
	}
	if owner, ok := m.ownerOf(r); !ok || owner != stream.Meta().Owner {
		return nil, errStreamUnknown
	}
	return stream, nil
}

// lookUp returns a stream without a check of its owner.
func lookUp(r *http.Request, id string, in look) (store.Stream, error) {
	if !recording.ValidID(id) {
		return nil, errStreamUnknown
	}
	stream, err := in(r.Context(), id)
	return stream, storeError(r, err)
}
