package illumichat

import (
	"math"
	"strconv"

	"github.com/dustin/go-humanize"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/origin"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/internal/values"
	"github.com/illumichat/caddy-illumichat/store"
)

const directive = "illumichat"

func init() {
	httpcaddyfile.RegisterHandlerDirective(directive, parseCaddyfile)
	httpcaddyfile.RegisterDirectiveOrder(directive, httpcaddyfile.Before, "reverse_proxy")
}

func parseCaddyfile(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h := new(Handler)
	return h, h.UnmarshalCaddyfile(helper.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	illumichat [<matcher>] {
//		token            <token>
//		assistants       <id...> | *
//		alias            <name> <assistant_id>
//		endpoint         <url>
//
//		max_body_size    <size>
//		max_messages     <n>
//		roles            <role...>
//		pass_fields      <field...>
//		allow_origins    <origin...>
//
//		limit                  <n> <window> [<key>]
//		max_streams            <n>
//		max_streams_per_client <n>
//
//		body_timeout     <duration>
//		response_timeout <duration>
//		commit_after     <duration> | off
//		idle_timeout     <duration>
//		write_timeout    <duration>
//		max_duration     <duration>
//		heartbeat        <interval> | off
//
//		retry {
//			attempts <n>
//			backoff  <first> [<cap>]
//			on       <status...>
//		}
//		propagate_trace
//		transport        <name> {
//			...
//		}
//
//		resume {
//			grace     <duration>
//			keep      <duration>
//			max_size  <size>
//			max_total <size>
//			owner     <placeholder>
//		}
//		store            <name> {
//			...
//		}
//	}
//
// Only `alias` and `limit` may be repeated.
func (h *Handler) UnmarshalCaddyfile(d *caddyfile.Dispenser) error {
	return values.PrintableError(h.unmarshalCaddyfile(d)) // other modules' errors print words as they are
}

func (h *Handler) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	d.Next() // the directive's name
	if err := values.NoArgs(d); err != nil {
		return err
	}
	seen := make(specified)
	for d.NextBlock(0) {
		name := d.Val()
		if err := seen.add(d); err != nil && name != "alias" && name != "limit" {
			return err
		}
		if err := h.unmarshalSubdirective(d, name); err != nil {
			return err
		}
	}
	if !seen["token"] {
		return d.Errf("%s: a token is needed", directive)
	}
	if len(h.Assistants) == 0 && len(h.Aliases) == 0 {
		return d.WrapErr(chat.ErrNoAssistants)
	}
	return nil
}

// specified is the set of subdirectives that a block has had so far.
type specified map[string]bool

// add notes the subdirective at d. It returns an error if the block has had one of that name already.
func (s specified) add(d *caddyfile.Dispenser) error {
	name := d.Val()
	if s[name] {
		return d.Errf("%s is already specified", name)
	}
	s[name] = true
	return nil
}

func (h *Handler) unmarshalSubdirective(d *caddyfile.Dispenser, name string) error {
	for _, duration := range h.durations() {
		if duration.name == name {
			return unmarshalDuration(d, duration)
		}
	}
	switch name {
	case "token":
		return h.unmarshalToken(d)
	case "endpoint":
		return h.unmarshalEndpoint(d)
	case "assistants":
		return h.unmarshalAssistants(d)
	case "alias":
		return h.unmarshalAlias(d)
	case "max_body_size":
		return unmarshalSize(d, &h.MaxBodySize)
	case "max_messages":
		return unmarshalCount(d, &h.MaxMessages)
	case "roles":
		return unmarshalWords(d, &h.Roles, chat.CheckRole)
	case "pass_fields":
		return unmarshalWords(d, &h.PassFields, chat.CheckPassField)
	case "allow_origins":
		return unmarshalWords(d, &h.AllowOrigins, checkAllowedOrigin)
	case "limit":
		return h.unmarshalLimit(d)
	case "max_streams":
		return unmarshalCount(d, &h.MaxStreams)
	case "max_streams_per_client":
		return unmarshalCount(d, &h.MaxStreamsPerClient)
	case "retry":
		return h.Retry.unmarshalCaddyfile(d)
	case "propagate_trace":
		h.PropagateTrace = true
		return values.NoArgs(d)
	case "transport":
		return h.unmarshalTransport(d)
	case "resume":
		h.Resume = new(Resume)
		return h.Resume.unmarshalCaddyfile(d)
	case "store":
		return h.unmarshalStore(d)
	}
	if values.Printable(name) != name {
		return d.Errf("unrecognized subdirective '%s'; a token is written: token {env.NAME}", values.Printable(name))
	}
	return d.Errf("unrecognized subdirective '%s'", name)
}

// unmarshalToken must not return errors that print the current word, as d.ArgErr does: the word is part of the
// secret.
func (h *Handler) unmarshalToken(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 1 {
		return d.Err("token takes exactly one argument")
	}
	h.Token = args[0]
	if err := upstream.CheckTokenOption(h.Token); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

func (h *Handler) unmarshalEndpoint(d *caddyfile.Dispenser) error {
	url, err := oneArg(d)
	if err != nil {
		return err
	}
	if err := upstream.CheckEndpoint(url); err != nil {
		return d.Errf("endpoint: %w", err)
	}
	h.Endpoint = url
	return nil
}

func (h *Handler) unmarshalAssistants(d *caddyfile.Dispenser) error {
	if err := unmarshalWords(d, &h.Assistants, chat.CheckListed); err != nil {
		return err
	}
	for _, id := range h.Assistants {
		if id == chat.Any && len(h.Assistants) > 1 {
			return d.WrapErr(chat.ErrAnyAmongOthers)
		}
		if _, ok := h.Aliases[id]; ok {
			return d.Errf("assistants: '%s' is already an alias", values.Printable(id))
		}
	}
	for name, id := range h.Aliases {
		if err := chat.CheckAlias(name, id, h.Assistants); err != nil {
			return d.Errf("alias: %w", err)
		}
	}
	return nil
}

func (h *Handler) unmarshalAlias(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) != 2 {
		return d.Err("alias takes a name and an assistant's id")
	}
	name, id := args[0], args[1]
	if _, ok := h.Aliases[name]; ok {
		return d.Errf("alias '%s' is already specified", values.Printable(name))
	}
	if err := chat.CheckAlias(name, id, h.Assistants); err != nil {
		return d.Errf("alias: %w", err)
	}
	if h.Aliases == nil {
		h.Aliases = make(map[string]string)
	}
	h.Aliases[name] = id
	return nil
}

func unmarshalSize(d *caddyfile.Dispenser, bytes *int64) error {
	name := d.Val()
	word, err := oneArg(d)
	if err != nil {
		return err
	}
	size, err := humanize.ParseBytes(word)
	if err != nil {
		return d.Errf("%s: '%s' is not a size", name, values.Printable(word))
	}
	if size == 0 || size > math.MaxInt64 {
		return d.Errf("%s: '%s' is out of range", name, values.Printable(word))
	}
	*bytes = int64(size)
	return nil
}

func checkAllowedOrigin(word string) error {
	_, err := origin.Parse(word)
	return err
}

func (h *Handler) unmarshalLimit(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 2 || len(args) > 3 {
		return d.Err("limit takes a number of requests, a window of time and optionally a key")
	}
	var l Limit
	var err error
	if l.Requests, err = strconv.Atoi(args[0]); err != nil {
		return d.Errf("limit: '%s' is not a whole number", values.Printable(args[0]))
	}
	if err := parseDuration(d, "limit", args[1], &l.Window); err != nil {
		return err
	}
	if len(args) == 3 {
		if l.Key = args[2]; l.Key == "" {
			return d.Err("limit: the key is empty")
		}
	}
	if err := l.validate(); err != nil {
		return d.Errf("limit: %w", err)
	}
	h.Limits = append(h.Limits, l)
	if err := checkLimits(h.Limits); err != nil {
		return d.Errf("limit: %w", err)
	}
	return nil
}

func (c *Retry) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := values.NoArgs(d); err != nil {
		return err
	}
	seen := make(specified)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		name := d.Val()
		if err := seen.add(d); err != nil {
			return err
		}
		var err error
		switch name {
		case "attempts":
			err = c.unmarshalAttempts(d)
		case "backoff":
			err = c.unmarshalBackoff(d)
		case "on":
			err = c.unmarshalOn(d)
		default:
			err = d.Errf("unrecognized subdirective '%s' of retry", values.Printable(name))
		}
		if err != nil {
			return err
		}
	}
	if len(seen) == 0 {
		return d.Err("retry needs a block with attempts, backoff or on")
	}
	return nil
}

func (c *Retry) unmarshalAttempts(d *caddyfile.Dispenser) error {
	word, err := oneArg(d)
	if err != nil {
		return err
	}
	if c.Attempts, err = strconv.Atoi(word); err != nil || c.Attempts < 1 {
		return d.Errf("attempts: '%s' is not a whole number from 1", values.Printable(word))
	}
	return nil
}

func (c *Retry) unmarshalBackoff(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	if len(args) < 1 || len(args) > 2 {
		return d.Err("backoff takes the first pause and optionally the longest")
	}
	for i, value := range []*caddy.Duration{&c.Backoff, &c.BackoffCap}[:len(args)] {
		if err := parseDuration(d, "backoff", args[i], value); err != nil {
			return err
		}
	}
	if len(args) == 2 {
		if err := checkBackoffCap(c.Backoff, c.BackoffCap); err != nil {
			return d.WrapErr(err)
		}
	}
	return nil
}

func (c *Retry) unmarshalOn(d *caddyfile.Dispenser) error {
	for d.NextArg() {
		status, err := strconv.Atoi(d.Val())
		if err != nil {
			return d.Errf("on: '%s' is not a status", values.Printable(d.Val()))
		}
		if err := checkRetryStatus(status); err != nil {
			return d.Errf("on: %w", err)
		}
		c.On = append(c.On, status)
	}
	if len(c.On) == 0 {
		return d.ArgErr()
	}
	return nil
}

func (c *Resume) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := values.NoArgs(d); err != nil {
		return err
	}
	seen := make(specified)
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := seen.add(d); err != nil {
			return err
		}
		var err error
		switch name := d.Val(); name {
		case "grace":
			err = unmarshalDuration(d, duration{name: name, value: &c.Grace})
		case "keep":
			err = unmarshalDuration(d, duration{name: name, value: &c.Keep})
		case "max_size":
			err = unmarshalSize(d, &c.MaxSize)
		case "max_total":
			err = unmarshalSize(d, &c.MaxTotal)
		case "owner":
			err = c.unmarshalOwner(d)
		default:
			err = d.Errf("unrecognized subdirective '%s' of resume", values.Printable(name))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (c *Resume) unmarshalOwner(d *caddyfile.Dispenser) error {
	owner, err := oneArg(d)
	if err != nil {
		return err
	}
	if err := checkOwner(owner); err != nil {
		return d.WrapErr(err)
	}
	c.Owner = owner
	return nil
}

// storeNamespace is where the modules of `store` are registered.
const storeNamespace = "http.handlers.illumichat.stores"

func (h *Handler) unmarshalStore(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	name := d.Val()
	if values.Printable(name) != name {
		return d.Err("unrecognized store")
	}
	here := *d // for the line in an error: UnmarshalModule moves d to the block's end
	module, err := caddyfile.UnmarshalModule(d, storeNamespace+"."+name)
	if err != nil {
		return err
	}
	if _, ok := module.(store.Module); !ok {
		return here.Errf("'%s' is no store", name)
	}
	h.StoreRaw = caddyconfig.JSONModuleObject(module, "module", name, nil)
	return nil
}

func (h *Handler) unmarshalTransport(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return d.ArgErr()
	}
	name := d.Val()
	if name == "http" { // its parser would skip arguments without an error; other transports may take some
		if err := values.NoArgs(d); err != nil {
			return err
		}
	}
	if values.Printable(name) != name {
		return d.Err("unrecognized transport")
	}
	here := *d // for the line in an error: UnmarshalModule moves d to the block's end
	module, err := caddyfile.UnmarshalModule(d, upstream.TransportNamespace+"."+name)
	if err != nil {
		return err
	}
	if _, err := upstream.CheckTransport(module); err != nil {
		return here.Errf("transport '%s': %w", name, err)
	}
	h.TransportRaw = caddyconfig.JSONModuleObject(module, "protocol", name, nil)
	return nil
}

// unmarshalCount reads a whole number that is not negative; 0 means no limit.
func unmarshalCount(d *caddyfile.Dispenser, count *int) error {
	name := d.Val()
	word, err := oneArg(d)
	if err != nil {
		return err
	}
	n, err := strconv.Atoi(word)
	if err != nil || n < 0 {
		return d.Errf("%s: '%s' is not a whole number from 0", name, values.Printable(word))
	}
	*count = n
	return nil
}

func unmarshalDuration(d *caddyfile.Dispenser, option duration) error {
	word, err := oneArg(d)
	if err != nil {
		return err
	}
	if word == "off" && option.mayBeOff {
		*option.value = off
		return nil
	}
	return parseDuration(d, option.name, word, option.value)
}

// parseDuration reads a positive duration. It refuses 0, because in JSON 0 means the default.
func parseDuration(d *caddyfile.Dispenser, name, word string, duration *caddy.Duration) error {
	value, err := caddy.ParseDuration(word)
	if err != nil {
		return d.Errf("%s: '%s' is not a duration", name, values.Printable(word))
	}
	if value <= 0 {
		return d.Errf("%s: '%s' is not a positive duration", name, values.Printable(word))
	}
	if err := checkDuration(caddy.Duration(value)); err != nil {
		return d.Errf("%s: %w", name, err)
	}
	*duration = caddy.Duration(value)
	return nil
}

// unmarshalWords appends one or more arguments to words. It returns an error if check rejects one of them.
func unmarshalWords(d *caddyfile.Dispenser, words *[]string, check func(string) error) error {
	name := d.Val()
	for d.NextArg() {
		if err := check(d.Val()); err != nil {
			return d.Errf("%s: %w", name, err)
		}
		*words = append(*words, d.Val())
	}
	if len(*words) == 0 {
		return d.ArgErr()
	}
	return nil
}

// oneArg reads exactly one argument.
func oneArg(d *caddyfile.Dispenser) (string, error) {
	if !d.NextArg() {
		return "", d.ArgErr()
	}
	word := d.Val()
	return word, values.NoArgs(d)
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
