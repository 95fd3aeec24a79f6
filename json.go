package illumichat

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/values"
)

// This file reads the handler's JSON. It replaces the errors of encoding/json, which name Go's types, and Caddy's error
// for a bad duration, which does not name the field and quotes the value: that may be a secret in the wrong place.

// plainHandler is a Handler without UnmarshalJSON.
type plainHandler Handler

// UnmarshalJSON reads the handler's config. It returns an error for a field that is not known, and names the field whose
// value is wrong.
func (h *Handler) UnmarshalJSON(config []byte) error {
	err := caddy.StrictUnmarshalJSON(config, (*plainHandler)(h))
	for _, raw := range []*json.RawMessage{&h.TransportRaw, &h.StoreRaw} {
		if string(*raw) == "null" { // as for each other field
			*raw = nil
		}
	}
	if err == nil { // the configs of other modules are not decoded yet
		return cmp.Or(checkModuleJSON("transport", h.TransportRaw), checkModuleJSON("store", h.StoreRaw))
	}
	return values.PrintableError(cmp.Or(checkJSON("", reflect.TypeFor[plainHandler](), config), err))
}

// checkJSON returns an error for the first part of a config that does not fit its type. name is the field's; "" means the
// handler itself.
func checkJSON(name string, t reflect.Type, value json.RawMessage) error {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch {
	case string(value) == "null":
		return nil
	case t == reflect.TypeFor[caddy.Duration]():
		return checkJSONDuration(name, value)
	case t == reflect.TypeFor[json.RawMessage]():
		return checkModuleJSON(name, value)
	}
	switch t.Kind() {
	case reflect.Struct:
		return checkJSONObject(name, t, value)
	case reflect.Slice:
		return checkJSONList(name, t, value)
	case reflect.Map:
		return checkJSONMap(name, t, value)
	case reflect.Bool:
		return mustDecode(name, t, value, "true or false")
	case reflect.String:
		return mustDecode(name, t, value, "a text in quotation marks")
	}
	return mustDecode(name, t, value, "a whole number, such as 65536")
}

// checkModuleJSON returns an error unless the config of another module is an object, or missing.
func checkModuleJSON(name string, value json.RawMessage) error {
	if len(value) == 0 {
		return nil
	}
	return mustBeObject(name, value)
}

func mustBeObject(name string, value json.RawMessage) error {
	return mustBe(name, value, '{', "an object, such as "+exampleOfJSON(name))
}

func checkJSONMap(name string, t reflect.Type, value json.RawMessage) error {
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) != nil {
		return mustBeObject(name, value)
	}
	for _, key := range slices.Sorted(maps.Keys(object)) {
		if err := checkJSON(name+": "+values.Printable(key), t.Elem(), object[key]); err != nil {
			return err
		}
	}
	return nil
}

func checkJSONObject(name string, t reflect.Type, value json.RawMessage) error {
	var object map[string]json.RawMessage
	if json.Unmarshal(value, &object) != nil {
		return mustBeObject(name, value)
	}
	fields := jsonFields(t)
	for _, key := range slices.Sorted(maps.Keys(object)) {
		field, ok := fields[strings.ToLower(key)] // encoding/json ignores the letter case
		if !ok {
			of := ""
			if name != "" {
				of = " of " + name
			}
			return fmt.Errorf("unknown field %q%s%s", values.Printable(key), of, didYouMean(key, slices.Sorted(maps.Keys(fields))))
		}
		inner := key
		if name != "" {
			inner = name + ": " + key
		}
		if err := checkJSON(inner, field, object[key]); err != nil {
			return err
		}
	}
	return nil
}

func checkJSONList(name string, t reflect.Type, value json.RawMessage) error {
	var list []json.RawMessage
	if json.Unmarshal(value, &list) != nil {
		return mustBe(name, value, '[', "a list, such as "+exampleOfJSON(name))
	}
	for i, each := range list {
		if err := checkJSON(fmt.Sprintf("%s[%d]", name, i), t.Elem(), each); err != nil {
			return err
		}
	}
	return nil
}

// checkJSONDuration returns an error for a duration that Caddy cannot read. A number is a duration in nanoseconds.
func checkJSONDuration(name string, value json.RawMessage) error {
	var d caddy.Duration
	if json.Unmarshal(value, &d) == nil {
		return nil
	}
	var text string
	shown := kindOfJSON(value)
	if json.Unmarshal(value, &text) == nil {
		shown = fmt.Sprintf("%q", values.Printable(text))
	}
	orOff := ""
	if slices.ContainsFunc(new(Handler).durations(), func(d duration) bool { return d.name == name && d.mayBeOff }) {
		orOff = ", or -1 to turn it off"
	}
	return fmt.Errorf("%s: %s is not a duration; write a number and a unit, such as \"30s\"%s", name, shown, orOff)
}

// mustBe returns an error unless a value begins as it should.
func mustBe(name string, value json.RawMessage, first byte, what string) error {
	if value[0] == first {
		return nil
	}
	return fmt.Errorf("%s is %s, but must be %s", name, kindOfJSON(value), what)
}

// mustDecode returns an error unless a value is of a type.
func mustDecode(name string, t reflect.Type, value json.RawMessage, what string) error {
	if json.Unmarshal(value, reflect.New(t).Interface()) == nil {
		return nil
	}
	return fmt.Errorf("%s is %s, but must be %s", name, kindOfJSON(value), what)
}

// kindOfJSON says what a value is, without the value.
func kindOfJSON(value json.RawMessage) string {
	switch value[0] {
	case '[':
		return "a list"
	case '{':
		return "an object"
	case '"':
		return "a text"
	case 't', 'f':
		return string(value)
	}
	return "a number"
}

// exampleOfJSON returns an example of a field's list or object.
func exampleOfJSON(name string) string {
	if strings.HasPrefix(name, "limits[") {
		return `{"requests": 20, "window": "1h"}`
	}
	switch name {
	case "":
		return `{"token": "{env.NAME}", "assistants": ["asst_abc123"]}`
	case "assistants":
		return `["asst_abc123"]`
	case "roles":
		return `["user", "assistant"]`
	case "pass_fields":
		return `["temperature"]`
	case "aliases":
		return `{"support": "asst_abc123"}`
	case "limits":
		return `[{"requests": 20, "window": "1h"}]`
	case "retry":
		return `{"attempts": 3}`
	case "retry: on":
		return "[429, 503]"
	case "resume":
		return `{"grace": "30s"}`
	case "store":
		return `{"module": "memory"}`
	case "transport":
		return `{"protocol": "http"}`
	case "allow_origins":
		return `["https://www.example.com"]`
	}
	return `["…"]`
}

// jsonFields returns the types of a struct's fields by their names in JSON.
func jsonFields(t reflect.Type) map[string]reflect.Type {
	fields := make(map[string]reflect.Type)
	for _, field := range reflect.VisibleFields(t) {
		if name, _, _ := strings.Cut(field.Tag.Get("json"), ","); name != "" {
			fields[name] = field.Type
		}
	}
	return fields
}
