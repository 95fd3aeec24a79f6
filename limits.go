package illumichat

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/limit"
	"github.com/illumichat/caddy-illumichat/internal/recording"
	"github.com/illumichat/caddy-illumichat/internal/values"
	"github.com/illumichat/caddy-illumichat/store"
)

// clientPlaceholder is the key of a limit that has none of its own. Its value honours `trusted_proxies`.
const clientPlaceholder = "{http.vars." + caddyhttp.ClientIPVarKey + "}"

const (
	maxLimit  = 1_000_000_000 // requests
	minWindow = caddy.Duration(time.Second)
	maxWindow = caddy.Duration(366 * 24 * time.Hour)
)

// Limit bounds how many chats are sent upstream for one key in a window of time. The window slides: of the
// fixed window before the current one, what is left of it counts, as if its chats had been spread evenly. A
// chat counts once, whatever the number of its tries, just before the first one. What never reaches the
// upstream does not count.
//
// Each instance counts for itself, unless they share a `store`, and remembers at most 131072 keys; the least recently used
// are forgotten. So that whoever has many addresses is bounded, too, a public site wants a second limit with one key for all.
type Limit struct {
	// How many chats are let in per window and key. Required.
	Requests int `json:"requests,omitempty"`

	// The length of the window, from `1s` to `366d`. Required.
	Window caddy.Duration `json:"window,omitempty"`

	// What is counted apart: a placeholder, or a fixed word for one count of all chats. IP addresses are
	// taken without their zone, mapped ones as IPv4, and IPv6 as its /64 network. Default:
	// `{http.vars.client_ip}`, the client as the server's `trusted_proxies` tell it. Chats for which a
	// placeholder comes out empty have one count together; of a key over 256 bytes the hash is taken.
	Key string `json:"key,omitempty"`
}

func (l *Limit) setDefaults() { l.Key = l.keyOrDefault() }

func (l *Limit) keyOrDefault() string { return cmp.Or(l.Key, clientPlaceholder) }

func (l *Limit) validate() error {
	switch {
	case l.Requests < 1 || l.Requests > maxLimit:
		return fmt.Errorf("the number of requests, %d, is not from 1 to %d", l.Requests, maxLimit)
	case l.Window < minWindow:
		return fmt.Errorf("a window of %s is shorter than %s", time.Duration(l.Window), time.Duration(minWindow))
	case l.Window > maxWindow:
		return fmt.Errorf("a window of %s is longer than %s", time.Duration(l.Window), time.Duration(maxWindow))
	}
	return nil
}

// checkLimits refuses a limit of which there is one already.
func checkLimits(limits []Limit) error {
	for i, l := range limits {
		if slices.ContainsFunc(limits[:i], l.same) {
			return fmt.Errorf("there are two for a window of %s and the same key", time.Duration(l.Window))
		}
	}
	return nil
}

// same reports whether both count the same requests together.
func (l *Limit) same(other Limit) bool {
	return other.Window == l.Window && other.keyOrDefault() == l.keyOrDefault()
}

// byClient reports whether each client is counted apart, so that it may know its count.
func (l *Limit) byClient() bool { return l.Key == clientPlaceholder }

// rule is the limit as a limiter knows it.
func (l *Limit) rule() limit.Rule {
	return limit.Rule{
		Requests: l.Requests,
		Window:   time.Duration(l.Window),
		Key:      l.Key,
		ByClient: l.byClient(),
		ForMany:  !values.HasPlaceholder(l.Key),
	}
}

// keyOf returns what r is counted under.
func (l *Limit) keyOf(r *http.Request, client string) string {
	switch {
	case l.byClient():
		return client
	case !values.HasPlaceholder(l.Key):
		return l.Key
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	return limit.NormalizeKey(repl.ReplaceAll(l.Key, ""))
}

// requestOf returns who sends r.
func (h *Handler) requestOf(r *http.Request) limit.Request {
	request := limit.Request{Client: clientOf(r)}
	if h.store != nil {
		request.ID = recording.NewID()
	}
	return request
}

// keysOf returns what each limit counts r under, in the memory of keys if that is enough.
func (h *Handler) keysOf(r *http.Request, client string, keys []string) []string {
	for i := range h.Limits {
		keys = append(keys, h.Limits[i].keyOf(r, client))
	}
	return keys
}

// limiterConfig is what decides whether there is room for a chat.
func (h *Handler) limiterConfig() limit.Config {
	config := limit.Config{
		Key:          limit.NewKey(h.exchanges.endpoint.URL.String(), h.Token),
		Endpoint:     h.exchanges.endpoint.Public,
		MaxStreams:   h.MaxStreams,
		MaxPerClient: h.MaxStreamsPerClient,
		UsedUp:       h.reportUsedUp,
		Failed: func(err error) {
			h.log.Logger().Debug("what a chat has shared could not be released", zap.Error(err))
		},
	}
	for _, l := range h.Limits {
		config.Rules = append(config.Rules, l.rule())
	}
	if h.store != nil {
		config.Release = h.store.Close
		config.Counter, _ = h.store.(store.Counter)
	}
	return config
}

// reportUsedUp tells the operator of a limit that many visitors have used up together.
func (h *Handler) reportUsedUp(r limit.Rule, emptyKey bool, wait time.Duration) {
	h.log.Report(zapcore.WarnLevel, fmt.Sprintf("limit %s %s", r.Window, r.Key), "a limit of many visitors together is used up",
		"raise the limit if the quota allows for more; where its key is empty, see whether the placeholder is right",
		zap.Int("requests", r.Requests), zap.Duration("window", r.Window), zap.String("key", r.Key),
		zap.Bool("key_is_empty", emptyKey), zap.Duration("wait", wait))
}

// clientOf returns the key of the client that sent r.
func clientOf(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return limit.NormalizeKey(ip)
}
