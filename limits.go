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
	"github.com/illumichat/caddy-illumichat/internal/values"
	"github.com/illumichat/caddy-illumichat/store"
)

// clientPlaceholder is the default key of a limit. Its value honours `trusted_proxies`.
const clientPlaceholder = "{http.vars." + caddyhttp.ClientIPVarKey + "}"

const (
	maxLimit  = 1_000_000_000 // requests
	minWindow = caddy.Duration(time.Second)
	maxWindow = caddy.Duration(366 * 24 * time.Hour)
)

// Limit bounds how many chats are sent upstream for one key in a window of time. The window slides: the previous fixed
// window counts in proportion to the part that the sliding window still covers. The chats of a fixed window count as if
// they had been spread evenly. A chat counts once, just before its first attempt, however many attempts it takes. A
// chat that never reaches the upstream does not count.
//
// Each instance counts alone, unless instances share a `store`. An instance remembers at most 131072 keys and forgets
// the least recently used. A client with many addresses has many keys. A public site should therefore also have a limit
// with one key for all chats.
type Limit struct {
	// The maximum number of chats per window and key, from 1 to 1000000000. Required.
	Requests int `json:"requests,omitempty"`

	// The length of the window, from `1s` to `366d`. Required.
	Window caddy.Duration `json:"window,omitempty"`

	// The key that chats are counted by: a text with placeholders, or a fixed word for one count of all chats, such as
	// `everyone`. A word that looks like a client, such as `ip` or `per-user`, is an error. So is a placeholder that has
	// another value for each request, such as `{time.now}`. An IP address counts without its zone. An IPv4-mapped one counts
	// as IPv4, and any other IPv6 address as its /64 network. Chats for which any placeholder is empty share one count. A key
	// over 256 bytes is replaced by its hash. Default: `{http.vars.client_ip}`, the client's address as the server's
	// `trusted_proxies` determine it.
	Key string `json:"key,omitempty"`

	key values.Template // the parsed Key
}

func (l *Limit) setDefaults() {
	l.Key = l.keyOrDefault()
	l.key, _ = values.ParseTemplate(l.Key) // validate returns the error
}

func (l *Limit) keyOrDefault() string { return cmp.Or(l.Key, clientPlaceholder) }

func (l *Limit) validate() error {
	switch {
	case l.Requests < 1 || l.Requests > maxLimit:
		return fmt.Errorf("the number of requests, %d, is not from 1 to %d", l.Requests, maxLimit)
	case l.Window < minWindow:
		return fmt.Errorf("a window of %s is shorter than %s; write a window such as 1h (in JSON \"1h\")", time.Duration(l.Window), time.Duration(minWindow))
	case l.Window > maxWindow:
		return fmt.Errorf("a window of %s is longer than %s", time.Duration(l.Window), time.Duration(maxWindow))
	}
	return checkKey(l.keyOrDefault())
}

// checkLimits returns an error if two limits have the same window and key.
func checkLimits(limits []Limit) error {
	for i, l := range limits {
		if slices.ContainsFunc(limits[:i], l.same) {
			return fmt.Errorf("there are two for a window of %s and the same key", time.Duration(l.Window))
		}
	}
	return nil
}

// same reports whether both limits have the same window and key, so that they would share one count.
func (l *Limit) same(other Limit) bool {
	return other.Window == l.Window && other.keyOrDefault() == l.keyOrDefault()
}

// byClient reports whether the limit counts each client separately. Only then may a client see its count.
func (l *Limit) byClient() bool { return l.Key == clientPlaceholder }

// rule returns the limit in the form that the limiter takes.
func (l *Limit) rule() limit.Rule {
	return limit.Rule{
		Requests: l.Requests,
		Window:   time.Duration(l.Window),
		Key:      l.Key,
		ByClient: l.byClient(),
		ForMany:  l.forMany(),
	}
}

// forMany reports whether many visitors share one count, because the key does not tell them apart.
func (l *Limit) forMany() bool { return !l.key.Varies() }

// keyOf returns the key that r is counted under. client is the key of the client that sent r. It returns "" if any
// placeholder of the key is empty.
func (l *Limit) keyOf(r *http.Request, client string) string {
	switch {
	case l.byClient():
		return client
	case len(l.key.Names()) == 0:
		return l.Key
	}
	repl := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	key, _ := l.key.Expand(repl, limit.NormalizeAddress)
	return limit.ShortenKey(key)
}

// admit asks the limiter to let r in, a chat with an assistant. id is unique; it is the stream's if the answer becomes
// one. The limiter sets fields in header that say how much is left of the client's limits.
func (h *Handler) admit(header http.Header, r *http.Request, assistant, id string) (*limit.Admission, error) {
	request := limit.Request{ID: id, Client: clientOf(r), Assistant: assistant}
	var memory [4]string // so that the keys of up to four limits need no allocation
	keys := memory[:0]
	for i := range h.Limits {
		keys = append(keys, h.Limits[i].keyOf(r, request.Client))
	}
	return h.limiter.Admit(header, request, keys)
}

// limiterConfig returns the config of the limiter, which decides whether there is room for a chat.
func (h *Handler) limiterConfig() limit.Config {
	config := limit.Config{
		Key:          limit.NewKey(h.exchanges.endpoint.URL.String(), h.Token),
		MaxStreams:   h.MaxStreams,
		MaxPerClient: h.MaxStreamsPerClient,
		UsedUp:       h.reportUsedUp,
		NoClient:     h.reportNoClient,
		Failed: func(err error) {
			h.log.Logger().Debug("the shared counts of a chat could not be released", zap.Error(err))
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

// reportUsedUp warns the operator that many visitors together have used up a limit.
func (h *Handler) reportUsedUp(r limit.Rule, emptyKey bool, wait time.Duration) {
	hint := "raise the limit if the quota allows for more"
	switch {
	case emptyKey && r.ByClient:
		hint = hintNoClient
	case emptyKey:
		hint = "all visitors for whom the key is empty share one count; check whether its placeholders are right, " +
			"and whether the directive that sets them comes before this handler"
	}
	h.log.Report(zapcore.WarnLevel, fmt.Sprintf("limit %s %s %t", r.Window, r.Key, emptyKey), "a limit of many visitors together is used up", hint,
		zap.Int("requests", r.Requests), zap.Duration("window", r.Window), zap.String("key", r.Key),
		zap.Bool("key_is_empty", emptyKey), zap.Duration("wait", wait))
}

// hintNoClient says why a client can be empty.
const hintNoClient = "Caddy does not know these clients' addresses, so all of them count as one client; behind a proxy, set trusted_proxies " +
	"and client_ip_headers in the servers option, and for a Unix socket trusted_proxies_unix"

// reportNoClient warns the operator that clients without an address have used up max_streams_per_client together.
func (h *Handler) reportNoClient() {
	h.log.Report(zapcore.WarnLevel, "no client", "max_streams_per_client is reached by all clients without an address together", hintNoClient,
		zap.Int("max_streams_per_client", h.MaxStreamsPerClient), zap.Bool("key_is_empty", true))
}

// clientOf returns the key of the client that sent r.
func clientOf(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return limit.ClientKey(ip)
}
