package illumichat

import (
	"bytes"
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	_ "github.com/illumichat/caddy-illumichat/store/redisstore"
)

// updateGoldens makes TestGoldens write the adapter's output to the golden files. Read the diff afterwards.
//
//	go test -run TestGoldens . -args -update
var updateGoldens = flag.Bool("update", false, "rewrite the golden files of the Caddyfile adapter")

// goldenSeparator separates a Caddyfile from what it adapts to, as in Caddy's own golden files.
const goldenSeparator = "----------\n"

// Each golden file holds a Caddyfile and the JSON that it adapts to, or the error. The JSON must load, too.
func TestGoldens(t *testing.T) {
	files, err := filepath.Glob("testdata/caddyfile/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("finding the golden files: %d files, %v", len(files), err)
	}
	setGoldenEnv(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".caddyfiletest"), func(t *testing.T) {
			golden, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, ok := strings.Cut(string(golden), goldenSeparator)
			if !ok {
				t.Fatalf("there is no %q in it", goldenSeparator)
			}
			got := adaptGolden(t, input)
			if *updateGoldens {
				if err := os.WriteFile(file, []byte(input+goldenSeparator+got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// setGoldenEnv sets the environment variables that the golden files name.
func setGoldenEnv(t *testing.T) {
	t.Helper()
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	t.Setenv("ILLUMICHAT_ASSISTANT", "asst_of_env")
	t.Setenv("ILLUMICHAT_ENDPOINT", "https://chat.example.com/api/chat")
	t.Setenv("ILLUMICHAT_TEST_PASSWORD", "secret")
}

// errorPlace matches the position in the Caddyfile at the end of an error.
var errorPlace = regexp.MustCompile(`, at Caddyfile:[1-9][0-9]*`)

// adaptGolden adapts a Caddyfile and returns the indented JSON, which it also validates. If adapting fails, it returns the
// error's text.
func adaptGolden(t *testing.T, input string) string {
	t.Helper()
	config, warnings, err := adaptCaddyfile(input)
	if err != nil {
		if !errorPlace.MatchString(err.Error()) {
			t.Errorf("the error does not say where it is: %v", err)
		}
		return err.Error() + "\n"
	}
	for _, warning := range warnings {
		t.Errorf("adapting warns: %s", warning)
	}
	if err := sitetest.Validate(t, config); err != nil {
		t.Errorf("loading what it adapts to: %v", err)
	}
	var indented bytes.Buffer
	if err := json.Indent(&indented, config, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return indented.String() + "\n"
}

func adaptCaddyfile(input string) ([]byte, []caddyconfig.Warning, error) {
	return caddyconfig.GetAdapter("caddyfile").Adapt([]byte(input), map[string]any{"filename": "Caddyfile"})
}

// The handlers of a route are in the order in which they run.
func TestIsOrderedBeforeReverseProxy(t *testing.T) {
	config := sitetest.Adapt(t, `:80 {
		file_server
		reverse_proxy 127.0.0.1:9000
		illumichat {
			token {env.ILLUMICHAT_API_TOKEN}
			assistants asst_demo
		}
	}`)
	var order []string
	for _, match := range regexp.MustCompile(`"handler":"(illumichat|reverse_proxy|file_server)"`).FindAllSubmatch(config, -1) {
		order = append(order, string(match[1]))
	}
	if want := []string{"illumichat", "reverse_proxy", "file_server"}; !slices.Equal(order, want) {
		t.Errorf("got the handlers %q, want %q", order, want)
	}
}

// options returns the exported fields of Handler, which are its config.
func options() []reflect.StructField {
	return slices.DeleteFunc(reflect.VisibleFields(reflect.TypeFor[Handler]()), func(field reflect.StructField) bool {
		return !field.IsExported()
	})
}

// everySubdirective has each subdirective at least once.
const everySubdirective = `illumichat {
	token {env.ILLUMICHAT_API_TOKEN}
	assistants asst_demo {env.ILLUMICHAT_ASSISTANT}
	alias help asst_help
	default_assistant help
	endpoint https://chat.example.com/api/chat
	max_body_size 2MiB
	max_messages 50
	roles user
	pass_fields temperature
	allow_origins https://www.example.com
	limit 20 1h
	limit 2000 1d site
	max_streams 100
	max_streams_per_client 3
	body_timeout 1s
	response_timeout 2s
	commit_after off
	idle_timeout 3s
	write_timeout 4s
	max_duration 5s
	heartbeat 6s
	retry {
		attempts 2
		backoff 7s 8s
		on 425 599
	}
	propagate_trace
	transport http {
		dial_timeout 7s
	}
	resume {
		grace 9s
		keep 10s
		max_size 2MiB
		max_total 20MiB
		owner {http.auth.user.id}
	}
	store memory
}`

func TestCaddyfileAndJSONSayTheSame(t *testing.T) {
	want := new(Handler)
	if err := want.UnmarshalCaddyfile(caddyfile.NewTestDispenser(everySubdirective)); err != nil {
		t.Fatal(err)
	}
	for _, option := range options() {
		if reflect.ValueOf(want).Elem().FieldByIndex(option.Index).IsZero() {
			t.Errorf("no subdirective sets %s", option.Name)
		}
	}

	var config struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Routes []struct {
						Handle []map[string]json.RawMessage
					}
				}
			}
		}
	}
	if err := json.Unmarshal(sitetest.Adapt(t, ":80 {\n"+everySubdirective+"\n}"), &config); err != nil {
		t.Fatal(err)
	}
	handle := config.Apps.HTTP.Servers["srv0"].Routes[0].Handle[0]
	if name := string(handle["handler"]); name != `"illumichat"` {
		t.Fatalf("got the handler %s", name)
	}
	delete(handle, "handler") // Caddy also deletes it before it unmarshals the module
	raw, err := json.Marshal(handle)
	if err != nil {
		t.Fatal(err)
	}
	got := new(Handler)
	if err := caddy.StrictUnmarshalJSON(raw, got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("by JSON: %+v\nby Caddyfile: %+v", got, want)
	}
}

// directiveOf returns a Caddyfile with an illumichat directive of these lines. The first of them is line 3 of the Caddyfile.
func directiveOf(lines ...string) string {
	return ":80 {\nillumichat {\n" + strings.Join(lines, "\n") + "\n}\n}\n"
}

// Every subdirective refuses the mistakes that are possible with all of them. The golden files have those of a single one.
func TestEverySubdirectiveIsStrict(t *testing.T) {
	const token, assistants = "token {env.ILLUMICHAT_API_TOKEN}", "assistants asst_demo"
	tests := []struct {
		name, example string
		takesMore     bool // a further word is valid
		takesNone     bool // the name alone is valid
		takesBlock    bool
		surplus       string // what the error about a surplus word names; "": the word
	}{
		{name: "token", example: token, surplus: "token"}, // the surplus word may be a piece of the token
		{name: "assistants", example: assistants, takesMore: true},
		{name: "alias", example: "alias help asst_help", surplus: "alias"},
		{name: "default_assistant", example: "default_assistant asst_demo"},
		{name: "endpoint", example: "endpoint https://example.com"},
		{name: "max_body_size", example: "max_body_size 1MiB"},
		{name: "max_messages", example: "max_messages 5"},
		{name: "roles", example: "roles user", takesMore: true},
		{name: "pass_fields", example: "pass_fields temperature", takesMore: true},
		{name: "allow_origins", example: "allow_origins https://www.example.com"},
		// A limit may be repeated, but not for the same window and key.
		{name: "limit", example: "limit 20 1h site", surplus: "limit"},
		{name: "max_streams", example: "max_streams 5"},
		{name: "max_streams_per_client", example: "max_streams_per_client 5"},
		{name: "body_timeout", example: "body_timeout 1s"},
		{name: "response_timeout", example: "response_timeout 1s"},
		{name: "commit_after", example: "commit_after off"},
		{name: "idle_timeout", example: "idle_timeout 1s"},
		{name: "write_timeout", example: "write_timeout 1s"},
		{name: "max_duration", example: "max_duration 1s"},
		{name: "heartbeat", example: "heartbeat 1s"},
		// A word after the block would be the next subdirective.
		{name: "retry", example: "retry {\nattempts 2\n}", takesMore: true, takesBlock: true},
		{name: "propagate_trace", example: "propagate_trace", takesNone: true},
		{name: "transport", example: "transport http", takesBlock: true},
		{name: "resume", example: "resume", takesNone: true, takesBlock: true},
		{name: "store", example: "store memory", takesBlock: true},
	}
	if want := len(options()); len(tests) != want || len(examples) != want {
		t.Errorf("%d subdirectives are looked at, and %d have an example, want %d", len(tests), len(examples), want)
	}
	for _, s := range tests {
		if !strings.HasPrefix(examples[s.name], s.name) {
			t.Errorf("%s: its example is %q", s.name, examples[s.name])
		}
		for _, test := range []struct {
			what, faulty string
			names        string // what the error names
			fine         bool
		}{
			{what: "repeated", faulty: s.example + "\n" + s.example, names: s.name},
			{what: "without a word", faulty: s.name, names: s.name, fine: s.takesNone},
			{what: "with a surplus word", faulty: s.example + " surplus", names: cmp.Or(s.surplus, "surplus"), fine: s.takesMore},
			{what: "with a block", faulty: s.example + " {\nmore\n}", names: "'{'", fine: s.takesBlock},
		} {
			if test.fine {
				continue
			}
			t.Run(s.name+" "+test.what, func(t *testing.T) {
				// The faulty line comes first, so that the error is about that line.
				lines := []string{test.faulty}
				for _, needed := range []string{token, assistants} {
					if needed != s.example {
						lines = append(lines, needed)
					}
				}
				wantAdaptError(t, directiveOf(lines...), test.names, 3+strings.Count(test.faulty[:strings.LastIndex(test.faulty, s.name)], "\n"))
			})
		}
	}
}

// wantAdaptError checks that a Caddyfile is refused with an error that names a word and a line.
func wantAdaptError(t *testing.T, input, word string, line int) {
	t.Helper()
	_, _, err := adaptCaddyfile(input)
	if err == nil {
		t.Fatalf("this is accepted:\n%s", input)
	}
	if place := fmt.Sprintf("at Caddyfile:%d", line); !strings.Contains(err.Error(), word) || !strings.HasSuffix(err.Error(), place) {
		t.Errorf("got %q, want it to name %q and to end with %q", err, word, place)
	}
}

func TestEveryDurationIsChecked(t *testing.T) {
	for _, duration := range new(Handler).durations() {
		words := []string{"0", "0s", "-1s", "-1", "1", "soon", "Off", `""`}
		if !duration.mayBeOff {
			words = append(words, "off")
		}
		for _, word := range words {
			t.Run(duration.name+" "+word, func(t *testing.T) {
				for _, named := range []string{duration.name + ": ", "'" + strings.Trim(word, `"`) + "'"} {
					wantAdaptError(t, directiveOf(duration.name+" "+word), named, 3)
				}
			})
		}
	}
}

// A mistake around a literal token must not print the token, for example in the terminal of a build.
func TestNoAdapterErrorPrintsTheToken(t *testing.T) {
	const half = "ic_sandbox0000000000000000"
	for what, lines := range map[string]string{
		"two words":             "token " + half + " " + half,
		"no token":              "token\n" + half,
		"quoted with a space":   `token "` + half + " " + half + `"`,
		"quoted with a newline": "token `" + half + "\n" + half + "`",
		"heredoc":               "token <<END\n" + half + "\n" + half + "\nEND",
		"control character":     "token " + half + "\x01",
		"not ASCII":             "token " + half + "é",
		"short":                 "token ic_sandbox00000",
		"long":                  "token " + half + strings.Repeat("0", 2048),
		"block":                 "token {\n" + half + "\n}",
		"block after it":        "token " + half + " {\n" + half + "\n}",
		"block in its line":     "token " + half + " { " + half + " }",
		"empty block after it":  "token " + half + " {\n}",
		"repeated":              "token " + half + "\ntoken " + half,
		"unknown subdirective":  "token " + half + "\nmodel gpt",
		"bad subdirective":      "token " + half + "\nheartbeat 0",
		"no assistants":         "token " + half,
	} {
		t.Run(what, func(t *testing.T) {
			_, _, err := adaptCaddyfile(directiveOf(lines))
			if err == nil {
				t.Fatal("it is accepted")
			}
			if strings.Contains(err.Error(), "ic_sandbox") {
				t.Errorf("the error prints the token, or a piece of it: %v", err)
			}
		})
	}
}
