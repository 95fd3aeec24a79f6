package illumichat

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/chat"
	"github.com/illumichat/caddy-illumichat/internal/origin"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/internal/values"
	_ "github.com/illumichat/caddy-illumichat/page" // the directive of the page
	"github.com/illumichat/caddy-illumichat/store"
)

const directive = "illumichat"

func init() {
	httpcaddyfile.RegisterHandlerDirective(directive, parseCaddyfile)
	// Each is put right before reverse_proxy, so the chat comes before its page: a page without a matcher would take its requests.
	httpcaddyfile.RegisterDirectiveOrder(directive, httpcaddyfile.Before, "reverse_proxy")
	httpcaddyfile.RegisterDirectiveOrder("illumichat_page", httpcaddyfile.Before, "reverse_proxy")
}

func parseCaddyfile(helper httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
	h := new(Handler)
	return h, h.UnmarshalCaddyfile(helper.Dispenser)
}

// UnmarshalCaddyfile sets up the handler from Caddyfile tokens. Syntax:
//
//	illumichat [<matcher>] {
//		token             <token>
//		assistants        <id...> | *
//		alias             <name> <assistant_id>
//		default_assistant <name>
//		endpoint          <url>
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
	if d.NextArg() {
		return values.Surplus(d, d.Val(), matcherInstead(d.Val()))
	}
	seen := make(specified)
	var byDefault caddyfile.Dispenser // at default_assistant, for the line in an error
	for d.NextBlock(0) {
		name := d.Val()
		if name == "default_assistant" {
			byDefault = *d
		}
		if err := seen.add(d); err != nil && name != "alias" && name != "limit" {
			return err
		}
		if err := h.unmarshalSubdirective(d, name); err != nil {
			return err
		}
	}
	if len(seen) == 0 {
		return d.Errf("%s needs a block with token and assistants", directive)
	}
	if !seen["token"] {
		return d.Errf("%s: a token is needed, such as: %s", directive, examples["token"])
	}
	if len(h.Assistants) == 0 && len(h.Aliases) == 0 {
		return d.WrapErr(chat.ErrNoAssistants)
	}
	if seen["default_assistant"] { // the assistants may follow it
		if err := chat.CheckDefault(h.DefaultAssistant, h.Assistants, h.Aliases); err != nil {
			return byDefault.Errf("default_assistant: %w", err)
		}
	}
	return nil
}

// matcherInstead says what to write instead of a word after the directive that is not a matcher.
func matcherInstead(word string) string {
	if strings.HasPrefix(word, "/") {
		return "several paths need a named matcher, such as: @chat path /chat /help"
	}
	return "a path matcher begins with a slash, such as /api/chat-proxy"
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
	case "default_assistant":
		return h.unmarshalDefaultAssistant(d)
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
		return values.NoArgs(d, "propagate_trace takes no argument; leave it out to turn it off")
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
	if block := blockOf(name); block != "" {
		return d.Errf("unrecognized subdirective '%s'; it belongs in the block of %s", name, block)
	}
	return d.Errf("unrecognized subdirective '%s'%s", name, didYouMean(name, slices.Sorted(maps.Keys(examples))))
}

// unmarshalToken must not return errors that print the current word, as d.ArgErr does: the word is part of the
// secret.
func (h *Handler) unmarshalToken(d *caddyfile.Dispenser) error {
	args := d.RemainingArgs()
	switch {
	case len(args) == 0:
		return d.Errf("token has no argument; {$NAME} leaves none if the variable NAME is not set; an example is: %s", examples["token"])
	case len(args) > 1:
		return d.Errf("token takes exactly one argument, without the word Bearer; an example is: %s", examples["token"])
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
	args, err := fewArgs(d, 2, 2)
	if err != nil {
		return err
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

func (h *Handler) unmarshalDefaultAssistant(d *caddyfile.Dispenser) error {
	name, err := oneArg(d)
	if err != nil {
		return err
	}
	if name == "" {
		return d.Err("default_assistant: the name is empty")
	}
	h.DefaultAssistant = name
	return nil
}

func checkAllowedOrigin(word string) error {
	_, err := origin.Parse(word)
	return err
}

func (h *Handler) unmarshalLimit(d *caddyfile.Dispenser) error {
	args, err := fewArgs(d, 2, 3)
	if err != nil {
		return err
	}
	var l Limit
	if l.Requests, err = strconv.Atoi(args[0]); err != nil {
		return d.Errf("limit: '%s' is not a whole number; %s", values.Printable(args[0]), exampleOf("limit"))
	}
	if err := parseDuration(d, "limit", args[1], "1h; "+exampleOf("limit"), &l.Window); err != nil {
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
	if err := values.NoArgs(d, "retry takes no argument; write attempts, backoff or on in its block"); err != nil {
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
			err = unknownIn(d, "retry")
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
		return d.Errf("attempts: '%s' is not a whole number of at least 1; %s", values.Printable(word), exampleOf("attempts"))
	}
	return nil
}

func (c *Retry) unmarshalBackoff(d *caddyfile.Dispenser) error {
	args, err := fewArgs(d, 1, 2)
	if err != nil {
		return err
	}
	for i, value := range []*caddy.Duration{&c.Backoff, &c.BackoffCap}[:len(args)] {
		if err := parseDuration(d, "backoff", args[i], "1s", value); err != nil {
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
			return d.Errf("on: '%s' is not a status; write each, such as 500 502 503", values.Printable(d.Val()))
		}
		if err := checkRetryStatus(status); err != nil {
			return d.Errf("on: %w", err)
		}
		c.On = append(c.On, status)
	}
	if len(c.On) == 0 {
		return values.Missing(d, exampleLine("on"))
	}
	return nil
}

func (c *Resume) unmarshalCaddyfile(d *caddyfile.Dispenser) error {
	if err := values.NoArgs(d, "resume takes a block or nothing; leave resume out if answers should not be resumed"); err != nil {
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
			err = unknownIn(d, "resume")
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

func (h *Handler) unmarshalStore(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return values.Missing(d, examples[d.Val()])
	}
	name := d.Val()
	if err := storeModules.checkName(name); err != nil {
		return d.WrapErr(err)
	}
	here := *d // for the line in an error: UnmarshalModule moves d to the block's end
	module, err := caddyfile.UnmarshalModule(d, storeModules.namespace+"."+name)
	if err != nil {
		return err
	}
	if _, ok := module.(store.Module); !ok {
		return here.Errf("'%s' is not a store", name)
	}
	h.StoreRaw = caddyconfig.JSONModuleObject(module, "module", name, nil)
	return nil
}

func (h *Handler) unmarshalTransport(d *caddyfile.Dispenser) error {
	if !d.NextArg() {
		return values.Missing(d, examples[d.Val()])
	}
	name := d.Val()
	if name == "http" { // its parser would skip arguments without an error; other transports may take some
		if err := values.NoArgs(d, "transport http takes a block; write its options in it"); err != nil {
			return err
		}
	}
	if err := transportModules.checkName(name); err != nil {
		return d.WrapErr(err)
	}
	here := *d // for the line in an error: UnmarshalModule moves d to the block's end
	module, err := caddyfile.UnmarshalModule(d, transportModules.namespace+"."+name)
	if err != nil {
		return err
	}
	if _, err := upstream.CheckTransport(module); err != nil {
		return here.Errf("transport '%s': %w", name, err)
	}
	h.TransportRaw = caddyconfig.JSONModuleObject(module, "protocol", name, nil)
	return nil
}

// Interface guard
var _ caddyfile.Unmarshaler = (*Handler)(nil)
