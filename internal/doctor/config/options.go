package config

import (
	"slices"
	"strings"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// serviceEnvironment is what to do about a variable that is not set. It may be set where the service runs.
const serviceEnvironment = "If the service has another environment than this shell, run the check with the variables of the service."

// checkOptions reports what the handler itself says of its options.
func (e *examination) checkOptions() {
	e.checkToken()
	e.checkAssistants()
	if err := e.options.Other; err != nil {
		e.addRefused(err)
	}
	for _, w := range e.options.Warnings {
		e.add(doctor.Warning, "options", w.Found, "", w.Do)
	}
}

// addRefused reports an option that the handler refuses.
func (e *examination) addRefused(err error) {
	e.add(doctor.Wrong, "options", err.Error(), "Caddy refuses this config.", "Correct the option. `caddy validate` shows what else Caddy refuses.")
}

func (e *examination) checkToken() {
	err := e.options.Token
	switch {
	case err != nil:
		e.add(doctor.Wrong, "token", err.Error(), "Without a token, no chat gets an answer.", tokenRemedy(err))
	case e.options.LiteralToken:
		e.add(doctor.Warning, "token", "the token is part of the config", "The admin API and debug logs show it.",
			"Write `token {file./etc/caddy/illumichat_token}` or `token {env.ILLUMICHAT_API_TOKEN}`.")
	default:
		e.add(doctor.OK, "token", "it resolves", "", "")
	}
}

// tokenRemedy says what to do about an error of the token. The error names the placeholder, if there is one.
func tokenRemedy(err error) string {
	switch text := err.Error(); {
	case strings.Contains(text, "{env."):
		return serviceEnvironment
	case strings.Contains(text, "{file."):
		return "Put the token into the file, and let Caddy's user read it. Run the check as that user, on the machine or in the container of the service."
	}
	return "Write `token {file./etc/caddy/illumichat_token}`, or `token {env.ILLUMICHAT_API_TOKEN}` with the variable set."
}

func (e *examination) checkAssistants() {
	err := e.options.Assistants
	switch {
	case err != nil:
		do := "Write the ids of assistants, such as `assistants asst_abc123`."
		if strings.Contains(err.Error(), "{env.") {
			do = serviceEnvironment
		}
		e.add(doctor.Wrong, "assistants", err.Error(), "Caddy refuses this config.", do)
	case e.options.AnyAssistant:
		e.add(doctor.Warning, "assistants", "visitors may talk to every assistant of the token's workspace",
			"Some may be meant for your staff, or cost more.", "List the ids that visitors may use, such as `assistants asst_abc123`.")
	default:
		e.add(doctor.OK, "assistants", "they resolve", "", "")
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
