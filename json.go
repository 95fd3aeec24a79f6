package illumichat

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// This file reads the handler's JSON. It replaces the errors of encoding/json, which name Go's types, and Caddy's error
// for a bad duration, which quotes the value: that may be a secret in the wrong place.

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
		if err := h.checkField(name, fields[name]); err != nil {
			return values.PrintableError(err)
		}
	}
	return values.PrintableError(err)
}

// checkField returns an error if a field of the config is not known, or has a value of another type.
func (h *Handler) checkField(name string, value json.RawMessage) error {
	field, err := json.Marshal(map[string]json.RawMessage{name: value})
	if err != nil {
		return err
	}
	err = caddy.StrictUnmarshalJSON(field, new(plainHandler))
	otherType, isOtherType := errors.AsType[*json.UnmarshalTypeError](err)
	switch {
	case err == nil:
		return nil
	case isOtherType:
		return fmt.Errorf("%s: %s stands where %s is expected", otherType.Field, kindOfJSON(otherType.Value), expected(otherType.Type))
	case strings.Contains(err.Error(), "unknown field"):
		return fmt.Errorf("%w%s", err, values.DidYouMean(name, fieldNames()...))
	case h.mayBeOff(name):
		return fmt.Errorf("%s: a value is not a duration; write a number and a unit, such as \"30s\", or -1 to turn it off", name)
	}
	return fmt.Errorf("%s: a value is not a duration; write a number and a unit, such as \"30s\"", name)
}

// mayBeOff reports whether an option is a duration that can be turned off.
func (h *Handler) mayBeOff(name string) bool {
	return slices.ContainsFunc(h.durations(), func(d duration) bool { return d.name == name && d.mayBeOff })
}

// kindOfJSON returns what encoding/json calls a value, without the value itself.
func kindOfJSON(found string) string {
	kind, _, _ := strings.Cut(found, " ") // such as "number 1.5"
	switch kind {
	case "array":
		return "a list"
	case "object":
		return "an object"
	case "bool":
		return "true or false"
	case "string":
		return "a text"
	}
	return "another " + kind
}

// expected says what to write for a field of a type.
func expected(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Slice:
		return "a list, such as [\"…\"],"
	case reflect.Map, reflect.Struct:
		return "an object, such as {\"…\": …},"
	case reflect.Bool:
		return "true or false"
	case reflect.String:
		return "a text in quotation marks"
	}
	return "a whole number, such as 65536,"
}

// fieldNames returns the names of all fields of the handler's config.
func fieldNames() []string {
	var names []string
	for _, field := range reflect.VisibleFields(reflect.TypeFor[Handler]()) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
	}
	return names
}
