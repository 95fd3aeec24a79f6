package illumichat

import (
	"cmp"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

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

// maxKeyLength is the length of a key in bytes; of a longer one the hash is kept.
const maxKeyLength = 256

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
func (l *Limit) rule() rule {
	return rule{
		requests: l.Requests,
		window:   time.Duration(l.Window),
		key:      l.Key,
		byClient: l.byClient(),
		forMany:  !values.HasPlaceholder(l.Key),
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
	return normalizeKey(repl.ReplaceAll(l.Key, ""))
}

// requestOf returns who sends r, and what each limit counts it under.
func (h *Handler) requestOf(r *http.Request) admissionRequest {
	request := admissionRequest{client: clientOf(r)}
	if h.store != nil {
		request.id = newStreamID()
	}
	if len(h.Limits) > 0 {
		request.keys = make([]string, len(h.Limits))
	}
	for i := range h.Limits {
		request.keys[i] = h.Limits[i].keyOf(r, request.client)
	}
	return request
}

// limiterConfig is what decides whether there is room for a chat.
func (h *Handler) limiterConfig() limiterConfig {
	config := limiterConfig{
		key:          newStateKey(h.endpoint.String(), h.Token),
		endpoint:     h.publicEndpoint(),
		maxStreams:   h.MaxStreams,
		maxPerClient: h.MaxStreamsPerClient,
		usedUp:       h.reportUsedUp,
		failed: func(err error) {
			h.logger.Debug("what a chat has shared could not be released", zap.Error(err))
		},
	}
	for _, l := range h.Limits {
		config.rules = append(config.rules, l.rule())
	}
	if h.store != nil {
		config.release = h.store.Close
		config.counter, _ = h.store.(store.Counter)
	}
	return config
}

// reportUsedUp tells the operator of a limit that many visitors have used up together.
func (h *Handler) reportUsedUp(r rule, emptyKey bool, wait time.Duration) {
	h.log.Report(zapcore.WarnLevel, fmt.Sprintf("limit %s %s", r.window, r.key), "a limit of many visitors together is used up",
		"raise the limit if the quota allows for more; where its key is empty, see whether the placeholder is right",
		zap.Int("requests", r.requests), zap.Duration("window", r.window), zap.String("key", r.key),
		zap.Bool("key_is_empty", emptyKey), zap.Duration("wait", wait))
}

// clientOf returns the key of the client that sent r.
func clientOf(r *http.Request) string {
	ip, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string)
	return normalizeKey(ip)
}

// normalizeKey gives the ways to write one address one key. Whoever has an IPv6 address has a whole /64.
func normalizeKey(key string) string {
	if ip, err := netip.ParseAddr(key); err == nil {
		ip = ip.Unmap()
		if ip.Is4() {
			return ip.String()
		}
		network, _ := ip.Prefix(64) // which an IPv6 address has, and no zone
		return network.String()
	}
	if len(key) > maxKeyLength {
		hash := sha256.Sum256([]byte(key))
		return string(hash[:])
	}
	return key
}
