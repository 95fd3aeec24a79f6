package chat

import (
	"errors"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
	"github.com/illumichat/caddy-illumichat/internal/chat/chattest"
)

var fuzzRules = Rules{
	assistants:  map[string]string{"asst_demo": "asst_demo", "helper": "asst_hidden"},
	maxMessages: 3,
	roles:       []string{"user", "assistant"},
	passFields:  []string{"model", "grüße"},
}

// FuzzParseChat compares the parser with slowParse, a slow and plain implementation of the same rules.
func FuzzParseChat(f *testing.F) {
	for _, row := range chattest.Refused {
		if len(row.Body) < 10_000 {
			f.Add([]byte(row.Body))
		}
	}
	for _, row := range chattest.Accepted {
		f.Add([]byte(row.Body))
	}
	f.Add([]byte(`{"assistantId":"asst_demo","messages":[{"role":"user","content":"Hello"}]}`))
	f.Add([]byte(chattest.ChatWith(`,"assistantId":"helper","model":[1e400,{}],"chatId":"c"`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		want, ok := slowParse(&fuzzRules, body)
		chat, err := fuzzRules.parse(slices.Clone(body))
		got := chat.Body
		if err != nil {
			var refusal *apierror.Error
			if !errors.As(err, &refusal) || refusal.Code.String() != chattest.Codes[refusal.Status] && refusal.Code.String() != chattest.TooManyMessages {
				t.Errorf("got %v, which is no refusal of a body", err)
			}
			if ok {
				t.Errorf("got %v, want it accepted", err)
			}
			return
		}
		if !ok {
			t.Fatalf("got %s, want it refused", got)
		}
		if !jsontext.Value(got).IsValid() {
			t.Fatalf("%s is not what it should be: strict JSON", got)
		}
		if sent, _ := chattest.DecodeObject(got); !reflect.DeepEqual(sent, want) {
			t.Errorf("got %v, want %v", sent, want)
		}
	})
}

// slowParse decodes the whole body and then checks the values. It returns the object that goes upstream, or false if
// the body is refused.
func slowParse(rules *Rules, body []byte) (map[string]any, bool) {
	in, ok := chattest.DecodeObject(body) // it reads half of a surrogate pair as U+FFFD
	// IsValid lets invalid UTF-8 pass here, because it does not distinguish it from half of a surrogate pair.
	strict := utf8.Valid(body) && jsontext.Value(body).IsValid(jsontext.AllowInvalidUTF8(true))
	if !ok || !strict || depth(in) > 64 {
		return nil, false
	}
	messages, _ := in[fieldMessages].([]any)
	if len(messages) == 0 || len(messages) > rules.maxMessages {
		return nil, false
	}
	for _, message := range messages {
		if !slowMessage(rules, message) {
			return nil, false
		}
	}
	out := map[string]any{fieldMessages: messages}
	if value := in[fieldChat]; value != nil {
		if id, ok := value.(string); !ok || id == "" || len(id) > 256 {
			return nil, false
		}
		out[fieldChat] = value
	}
	for _, name := range rules.passFields {
		if value, ok := in[name]; ok {
			out[name] = value
		}
	}
	name, _ := in[fieldAssistant].(string)
	id, ok := rules.assistants[name]
	out[fieldAssistant] = id
	return out, ok
}

func slowMessage(rules *Rules, value any) bool {
	message, _ := value.(map[string]any)
	for name := range message {
		lower := strings.ToLower(name)
		if name != lower && (lower == fieldRole || lower == fieldContent) {
			return false
		}
	}
	role, _ := message[fieldRole].(string)
	text, _ := message[fieldContent].(string)
	parts, _ := message[fieldContent].([]any)
	return slices.Contains(rules.roles, role) && (text != "" || len(parts) > 0)
}

func depth(value any) int {
	var children []any
	switch value := value.(type) {
	case []any:
		children = value
	case map[string]any:
		children = slices.Collect(maps.Values(value))
	default:
		return 0
	}
	deepest := 0
	for _, child := range children {
		deepest = max(deepest, depth(child))
	}
	return deepest + 1
}

func BenchmarkParseChat(b *testing.B) {
	turn := `{"role":"user","content":"` + strings.Repeat("What is the weather like? ", 8) + `"}`
	small := chattest.ChatOf(turn + strings.Repeat(","+turn, 9))
	for _, bench := range []struct{ name, body string }{
		{"ten messages", small},
		{"1 MiB", chattest.ContentOf(`"` + strings.Repeat("x", 1<<20-len(chattest.ContentOf(`""`))) + `"`)},
		{"1 MiB of numbers", chattest.MessageWith(`,"x":[1` + strings.Repeat(",1", (1<<20-len(chattest.MessageWith(`,"x":[1]`)))/2) + `]`)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			rules := fuzzRules
			rules.maxMessages = 0
			rules.assistants = map[string]string{"asst_demo": "asst_demo"}
			rules.byDefault = "asst_demo"
			body := []byte(bench.body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rules.parse(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
