package config

import (
	"slices"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// checkOptions reports what the handler itself says of its options.
func (e *examination) checkOptions() {
	o := e.options
	const environment = "If the service has another environment than this shell, run the check with the variables of the service."
	switch {
	case o.Token != nil:
		do := "Write `token {file./etc/caddy/illumichat_token}`, or `token {env.ILLUMICHAT_API_TOKEN}` with the variable set."
		if strings.Contains(o.Token.Error(), "{env.") {
			do = environment
		} else if strings.Contains(o.Token.Error(), "{file.") {
			do = "Put the token into the file, and let the user read it that runs Caddy. Run the check as that user."
		}
		e.add(doctor.Wrong, "token", o.Token.Error(), "Without it, the upstream answers no chat.", do)
	case o.LiteralToken:
		e.add(doctor.Warning, "token", "the token is part of the config", "The admin API and debug logs show it.",
			"Write `token {file./etc/caddy/illumichat_token}` or `token {env.ILLUMICHAT_API_TOKEN}`.")
	default:
		e.add(doctor.OK, "token", "it resolves", "", "")
	}
	switch {
	case o.Assistants != nil:
		do := "Write the ids of assistants, such as `assistants asst_abc123`."
		if strings.Contains(o.Assistants.Error(), "{env.") {
			do = environment
		}
		e.add(doctor.Wrong, "assistants", o.Assistants.Error(), "Caddy refuses this config.", do)
	case o.AnyAssistant:
		e.add(doctor.Warning, "assistants", "visitors may talk to every assistant of the token's workspace",
			"Some may be meant for your staff, or cost more.", "List the ids that visitors may use, such as `assistants asst_abc123`.")
	default:
		e.add(doctor.OK, "assistants", "they resolve", "", "")
	}
	if o.Other != nil {
		e.add(doctor.Wrong, "options", o.Other.Error(), "Caddy refuses this config.", "Correct the option. `caddy validate` shows what else Caddy refuses.")
	}
}

// checkLimits reports what keeps strangers from spending the quota.
func (e *examination) checkLimits() {
	limits := e.options.Limits
	forMany := slices.ContainsFunc(limits, func(l Limit) bool { return l.ForMany })
	switch {
	case len(limits) == 0:
		e.add(e.atMostNote(doctor.Warning), "limit", "there is no limit", "Strangers who find the chat can spend the quota.",
			"Limit each client, and all of them together:\nlimit 20 1h\nlimit 2000 24h everyone")
	case !forMany:
		e.add(e.atMostNote(doctor.Warning), "limit", "no limit counts all visitors together",
			"A stranger with many addresses has as many limits.", "Add a limit with a fixed word as its key:\nlimit 2000 24h everyone")
	default:
		e.add(doctor.OK, "limit", "all visitors together have one", "", "")
	}
}
