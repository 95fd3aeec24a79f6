package chat

import (
	"strings"
	"testing"
)

// fakeToken has the documented form of a token, and its text shows that it is not a real one.
const fakeToken = "ic_sandbox000000000000000000000000000000000"

func TestAssistantIDs(t *testing.T) {
	for _, id := range []string{"asst_demo", "3fa85f64-5717-4562-b3fc-2c963f66afa6", "demo.v2:latest/x", "Ü", "ic_chat", "{env.NOT_EXPANDED_YET} x"} {
		if err := CheckAssistant(id); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	for id, reason := range map[string]string{
		"": "empty", "*": "allows any", "a b": `"a b"`, "a\tb": "control character", "\xff": "UTF-8",
		"asst_demo,asst_other": "comma", `"asst_demo"`: "quotation marks", "'asst_demo'": "quotation marks", "“asst_demo”": "quotation marks",
		fakeToken: "API token", "asst_" + "wsk_live_sandbox00": "API token", "x " + fakeToken: "API token",
	} {
		if err := CheckAssistant(id); err == nil || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), "ic_sandbox") {
			t.Errorf("%q: got %v, want %q in the error", id, err, reason)
		}
	}
}

// An error about the value of a placeholder names the placeholder.
func TestRulesNameThePlaceholder(t *testing.T) {
	for value, reason := range map[string]string{
		"hidden id": "holds a space", "hidden,id": "comma", `"hidden"`: "quotation marks", "hidden\xff": "UTF-8", "*": "* is not an assistant's id",
		fakeToken: "API token", "hidden-token-of-another-form": "API token",
	} {
		t.Setenv("TEST_ID", value)
		for what, config := range map[string]Config{
			"an assistant":            {Assistants: []string{"{env.TEST_ID}"}},
			"an alias":                {Aliases: map[string]string{"help": "{env.TEST_ID}"}},
			"an assistant, in part":   {Assistants: []string{"{env.TEST_ID}{env.TEST_ID}"}},
			"an alias beside another": {Assistants: []string{"asst_demo"}, Aliases: map[string]string{"help": "{env.TEST_ID}"}},
		} {
			if what == "an assistant, in part" && value == "*" {
				continue // ** is an id
			}
			config.HoldsToken = func(text string) bool { return strings.Contains(text, "hidden-token-of-another-form") }
			_, err := NewRules(config)
			if err == nil || !strings.Contains(err.Error(), "{env.TEST_ID}") || !strings.Contains(err.Error(), reason) {
				t.Errorf("%s with %q: got %v", what, value, err)
			} else if strings.Contains(err.Error(), "hidden") || strings.Contains(err.Error(), "ic_sandbox") {
				t.Errorf("%s: the error shows the value: %v", what, err)
			}
		}
	}
}

// A name that everybody can see is neither the token nor a placeholder.
func TestNamesAreNoSecrets(t *testing.T) {
	for name, reason := range map[string]string{fakeToken: "API token", "{env.TEST_ID}": "placeholder"} {
		if err := CheckAlias(name, "asst_demo", nil); err == nil || !strings.Contains(err.Error(), reason) || strings.Contains(err.Error(), "ic_sandbox") {
			t.Errorf("an alias: got %v, want %q in the error", err, reason)
		}
	}
	for what, err := range map[string]error{"a role": CheckRole("{env.TEST_ID}"), "a field": CheckPassField("{env.TEST_ID}")} {
		if err == nil || !strings.Contains(err.Error(), "placeholder") {
			t.Errorf("%s that is a placeholder: got %v", what, err)
		}
	}
	holdsToken := func(text string) bool { return text == "hidden-token" }
	if _, err := NewRules(Config{Aliases: map[string]string{"hidden-token": "asst_demo"}, HoldsToken: holdsToken}); err == nil || strings.Contains(err.Error(), "hidden") {
		t.Errorf("an alias that is the token: got %v", err)
	}
}
