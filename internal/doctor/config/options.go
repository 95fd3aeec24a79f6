package config

import (
	"errors"
	"io/fs"
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
		why, do := tokenRemedy(err)
		e.add(doctor.Wrong, "token", err.Error(), why, do)
	case e.options.LiteralToken:
		e.add(doctor.Warning, "token", "the token is part of the config", "The admin API and debug logs show it.",
			"Write `token {file./etc/caddy/illumichat_token}` or `token {env.ILLUMICHAT_API_TOKEN}`.")
	case e.options.RelativeToken:
		e.add(doctor.Warning, "token", "the path of the token's file is relative, so it depends on Caddy's working directory",
			"A service often has a different working directory from this shell's.", "Write an absolute path, such as `token {file./etc/caddy/illumichat_token}`.")
	default:
		e.add(doctor.OK, "token", "the token resolves", "", "")
	}
}

// tokenRemedy says what an error of the token leads to, and what to do. It says nothing to do if the error itself does.
func tokenRemedy(err error) (why, do string) {
	const refused = "Caddy refuses this config."
	switch text := err.Error(); {
	case errors.Is(err, fs.ErrNotExist):
		return "Until the file exists, no chat gets an answer.",
			"Put the token into the file, and let Caddy's user read it. Run the check on the machine or in the container of the service."
	case errors.Is(err, fs.ErrPermission):
		return refused, "Let Caddy's user read the file. Run the check as that user."
	case isUnset(err):
		return refused, serviceEnvironment
	case strings.Contains(text, "{env.") || strings.Contains(text, "{file."):
		return refused, ""
	}
	return refused, "Write `token {file./etc/caddy/illumichat_token}`, or `token {env.ILLUMICHAT_API_TOKEN}` with the variable set."
}

// isUnset reports whether an error may come from a variable that only the service has.
func isUnset(err error) bool {
	return strings.Contains(err.Error(), "{env.") && strings.Contains(err.Error(), "is empty or cannot be read")
}

func (e *examination) checkAssistants() {
	err := e.options.Assistants
	switch {
	case err != nil:
		do := "Write the ids of assistants, such as `assistants asst_abc123`."
		if isUnset(err) {
			do = serviceEnvironment
		}
		e.add(doctor.Wrong, "assistants", strings.TrimPrefix(err.Error(), "assistants: "), "Caddy refuses this config.", do)
	case e.options.AnyAssistant:
		e.add(doctor.Warning, "assistants", "visitors may talk to every assistant of the token's workspace",
			"Some may be meant for your staff, or cost more.", "List the ids that visitors may use, such as `assistants asst_abc123`.")
	default:
		e.add(doctor.OK, "assistants", "the assistants resolve", "", "")
	}
}
