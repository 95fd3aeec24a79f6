package values

import "testing"

func TestDidYouMean(t *testing.T) {
	names := []string{"token", "assistants", "alias", "max_body_size", "max_messages", "allow_origins", "limit", "retry",
		"asst_AbCdEf", "body_timeout", "response_timeout", "idle_timeout", "write_timeout"}
	for word, want := range map[string]string{
		"asst_AbCdEg":     "asst_AbCdEf",
		"assistant":       "assistants",
		"asistants":       "assistants",
		"Assistants":      "assistants",
		"allowed_origins": "allow_origins",
		"allow_origin":    "allow_origins",
		"max_body":        "max_body_size",
		"rate_limit":      "limit",
		"api_token":       "token",
		"tokne":           "token",
		"retries":         "retry",
		"max":             "", // several names begin like this
		"origins":         "allow_origins",
		"read_timeout":    "", // as like to one as to another
		"respons_timeout": "response_timeout",
		"ic":              "",
		"x":               "",
		"":                "",
		"reverse_proxy":   "",
	} {
		if want != "" {
			want = "; did you mean " + want + "?"
		}
		if got := DidYouMean(word, names...); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
}
