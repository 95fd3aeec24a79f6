package illumichat

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// plainHandler is a Handler without UnmarshalJSON.
type plainHandler Handler

// UnmarshalJSON reads the handler's config. It returns an error for a field that is not known, and names the field whose
// value is wrong.
func (h *Handler) UnmarshalJSON(config []byte) error {
	err := caddy.StrictUnmarshalJSON(config, (*plainHandler)(h))
	if err == nil {
		return nil
	}
	var fields map[string]json.RawMessage
	if json.Unmarshal(config, &fields) != nil {
		return values.PrintableError(err)
	}
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if err := checkField(name, fields[name]); err != nil {
			return values.PrintableError(err)
		}
	}
	return values.PrintableError(err)
}

// checkField returns an error if a field of the config is not known, or has a value of another type. Caddy's error for a
// bad duration quotes the value, which may be a secret in the wrong place. So checkField replaces that error.
func checkField(name string, value json.RawMessage) error {
	field, err := json.Marshal(map[string]json.RawMessage{name: value})
	if err != nil {
		return err
	}
	err = caddy.StrictUnmarshalJSON(field, new(plainHandler))
	_, otherType := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case err == nil, otherType, strings.Contains(err.Error(), "unknown field"):
		return err
	}
	return fmt.Errorf("%s: there is a text that is no duration; write a number and a unit, such as \"30s\"", name)
}

var errTokenHere = errors.New("this is the API token, which others could read here; the option token is its only place")

// checkTokenIsNowhereElse returns an error if an option that is not secret holds the API token. Ids and aliases are checked
// with their placeholders replaced, by chat.NewRules.
func (h *Handler) checkTokenIsNowhereElse() error {
	holdsToken := func(text string) bool { return values.HoldsToken(text) || h.exchanges.token.OccursIn(text) }
	for _, option := range []struct {
		name  string
		texts []string
	}{
		{"roles", h.Roles}, {"pass_fields", h.PassFields}, {"allow_origins", h.AllowOrigins}, {"limits: key", h.limitKeys()}, {"resume: owner", h.owners()},
	} {
		for _, text := range option.texts {
			if holdsToken(text) {
				return fmt.Errorf("%s: %w", option.name, errTokenHere)
			}
		}
	}
	return nil
}

func (h *Handler) limitKeys() []string {
	keys := make([]string, len(h.Limits))
	for i, l := range h.Limits {
		keys[i] = l.Key
	}
	return keys
}

func (h *Handler) owners() []string {
	if h.Resume == nil {
		return nil
	}
	return []string{h.Resume.Owner}
}
