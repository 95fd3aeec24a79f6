package illumichat

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// provision loads the handler from a JSON config with the required fields. The given fields are added and may replace those. A
// field that is null counts as left out.
func provision(t *testing.T, fields string) (*Handler, error) {
	t.Helper()
	config := map[string]any{"token": "{env.ILLUMICHAT_API_TOKEN}", "assistants": []string{"asst_demo"}}
	var own map[string]json.RawMessage
	if err := json.Unmarshal([]byte("{"+fields+"}"), &own); err != nil {
		t.Fatal(err)
	}
	for name, value := range own {
		config[name] = value
	}
	raw, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	module, err := ctx.LoadModuleByID("http.handlers.illumichat", raw)
	if err != nil {
		return nil, err
	}
	return module.(*Handler), nil
}

// setConfigEnv sets the environment variables that the tests' configs name. It returns the path of a file that does not exist.
func setConfigEnv(t *testing.T) (missing string) {
	t.Helper()
	for name, value := range map[string]string{
		"ILLUMICHAT_API_TOKEN": sandbox.Token,
		"TEST_ASSISTANT":       "asst_of_env",
		"TEST_STAR":            "*",
		"TEST_FTP":             "ftp://example.com",
		"TEST_EMPTY":           "",
		"TEST_NOT_UTF8":        "asst_\xff",
	} {
		t.Setenv(name, value)
	}
	return filepath.Join(t.TempDir(), "missing")
}

func TestConfigIsRefused(t *testing.T) {
	missing := setConfigEnv(t)
	emptyFile := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(emptyFile, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	quoted := func(path string) string { return strings.ReplaceAll(path, `\`, `\\`) }

	tests := []struct {
		fields string
		want   []string // what the error names
	}{
		{`"asistants": ["asst_demo"]`, []string{`unknown field "asistants"`}},
		{`"limit": []`, []string{`unknown field "limit"; did you mean limits?`}},
		{`"alias": {}`, []string{`unknown field "alias"; did you mean aliases?`}},

		{`"token": null`, []string{"token", "empty"}},
		{`"token": ""`, []string{"token", "empty"}},
		{`"token": "{env.NOPE}"`, []string{"token", "{env.NOPE}"}},
		{`"token": "{env.TEST_EMPTY}"`, []string{"token", "{env.TEST_EMPTY}"}},
		{`"token": "{file.` + quoted(filepath.Dir(missing)) + `}"`, []string{"token", "{file." + filepath.Dir(missing) + "}", "regular file"}},
		{`"token": "{file.` + quoted(emptyFile) + `}"`, []string{"token", "{file." + emptyFile + "}", "empty"}},
		{`"token": "{evn.ILLUMICHAT_API_TOKEN}"`, []string{"token", "{evn.ILLUMICHAT_API_TOKEN}", "{env.*}"}},
		{`"token": "{http.request.host}"`, []string{"token", "{http.request.host}"}},
		{`"token": "{time.now}"`, []string{"token", "{time.now}"}},
		{`"token": "ic_{env.NOPE}"`, []string{"token", "{env.NOPE}"}},

		{`"assistants": null`, []string{"assistants"}},
		{`"assistants": []`, []string{"assistants"}},
		{`"assistants": [""]`, []string{"assistants", "empty"}},
		{`"assistants": ["asst_demo", ""]`, []string{"assistants", "empty"}},
		{`"assistants": ["*", "asst_demo"]`, []string{"assistants", "*"}},
		{`"assistants": ["asst_demo", "*"]`, []string{"assistants", "*"}},
		{`"assistants": ["{env.NOPE}"]`, []string{"assistants", "{env.NOPE}"}},
		{`"assistants": ["{evn.TEST_ASSISTANT}"]`, []string{"assistants", "{evn.TEST_ASSISTANT}"}},
		{`"assistants": ["{http.request.host}"]`, []string{"assistants", "{http.request.host}"}},
		{`"assistants": ["asst_{env.NOPE}"]`, []string{"assistants", "{env.NOPE}"}},

		{`"assistants": ["{env.TEST_NOT_UTF8}"]`, []string{"assistants", "UTF-8"}},
		{`"aliases": {"": "asst_help"}`, []string{"aliases", "empty"}},
		{`"aliases": {"help": ""}`, []string{"aliases", "empty"}},
		{`"aliases": {"help": "{env.NOPE}"}`, []string{"aliases", "help", "{env.NOPE}"}},
		{`"aliases": {"help": "{evn.TEST_ASSISTANT}"}`, []string{"aliases", "help", "{evn.TEST_ASSISTANT}"}},
		{`"aliases": {"help": "{http.request.host}"}`, []string{"aliases", "help", "{http.request.host}"}},
		{`"aliases": {"asst_demo": "asst_help"}`, []string{"aliases", "asst_demo"}},
		{`"aliases": {"asst_of_env": "asst_help"}, "assistants": ["{env.TEST_ASSISTANT}"]`, []string{"aliases", "asst_of_env"}},

		{`"retry": {"attempts": -1}`, []string{"retry", "attempts", "-1"}},
		{`"retry": {"backoff": "-1s"}`, []string{"retry", "backoff", "-1s"}},
		{`"retry": {"backoff": "2s", "backoff_cap": "1s"}`, []string{"retry", "backoff", "2s", "1s"}},
		{`"retry": {"backoff_cap": "500ms"}`, []string{"retry", "backoff", "500ms", "1s"}},
		{`"retry": {"on": [500, 400]}`, []string{"retry", "on", "400"}},
		{`"retry": {"on": [499]}`, []string{"retry", "on", "499"}},
		{`"retry": {"tries": 2}`, []string{"tries"}},

		{`"endpoint": "{env.TEST_FTP}"`, []string{"endpoint", "{env.TEST_FTP}", "not an http or https URL"}},
		{`"endpoint": "{evn.ILLUMICHAT_ENDPOINT}"`, []string{"endpoint", "{evn.ILLUMICHAT_ENDPOINT}"}},
		{`"endpoint": "https://{http.request.host}/api/chat"`, []string{"endpoint", "{http.request.host}"}},
		{`"endpoint": "https://{env.NOPE}/api/chat"`, []string{"endpoint", "{env.NOPE}"}},
		{`"endpoint": "https://example.com:99999/"`, []string{"endpoint", "port"}},
		{`"endpoint": "https://example.com:0/"`, []string{"endpoint", "port"}},
		{`"assistants": ["asst one"]`, []string{"assistants", `"asst one"`}},
		{`"aliases": {"any": "*"}`, []string{"aliases", "*"}},
		{`"token": "{env.ILLUMICHAT_API_TOKEN"`, []string{"token", "placeholder"}},
		{`"token": "$ILLUMICHAT_API_TOKEN"`, []string{"token", "placeholder"}},
		{`"endpoint": "ftp://example.com/api"`, []string{"endpoint", "ftp://example.com:"}},
		{`"endpoint": "/api/chat"`, []string{"endpoint", "not an http or https URL"}},
		{`"endpoint": "https://user:hidden@example.com"`, []string{"endpoint", "credentials"}},
		{`"endpoint": "https://user@example.com"`, []string{"endpoint", "credentials"}},
		{`"endpoint": "https://example.com/#chat"`, []string{"endpoint", "fragment"}},
		{`"endpoint": "https://:443/api"`, []string{"endpoint", "host"}},
		{`"endpoint": "https://example.com/%zz"`, []string{"endpoint", "begins no escape"}},

		{`"max_body_size": -1`, []string{"max_body_size", "-1"}},
		{`"max_body_size": 64`, []string{"max_body_size", "64 bytes", "65536"}},
		{`"default_assistant": "sales"`, []string{"default_assistant", `"sales"`, "alias"}},
		{`"default_assistant": "{env.NOPE}"`, []string{"default_assistant", "{env.NOPE}"}},
		{`"default_assistant": "{env.TEST_ASSISTANT}"`, []string{"default_assistant", "{env.TEST_ASSISTANT}", "alias"}},
		{`"default_assistant": "*"`, []string{"default_assistant", "*"}},
		{`"max_body_size": "1MiB"`, []string{"max_body_size is a text, but must be a whole number, such as 65536"}},
		{`"max_messages": -1`, []string{"max_messages", "-1"}},
		{`"max_messages": 1.5`, []string{"max_messages is a number, but must be a whole number"}},
		{`"roles": [""]`, []string{"roles", "empty"}},
		{`"pass_fields": [""]`, []string{"pass_fields", "empty"}},
		{`"pass_fields": ["temperature", "messages"]`, []string{"pass_fields", `"messages"`}},
		{`"pass_fields": ["assistantId"]`, []string{"pass_fields", `"assistantId"`}},
		{`"pass_fields": ["chatID"]`, []string{"pass_fields", `"chatID"`}},
		{`"pass_fields": ["MESSAGES"]`, []string{"pass_fields", `"MESSAGES"`}},

		{`"allow_origins": ["*"]`, []string{"allow_origins", "*", "quota"}},
		{`"allow_origins": ["https://www.example.com", "*"]`, []string{"allow_origins", "*"}},
		{`"allow_origins": ["https://*.example.com"]`, []string{"allow_origins", "*"}},
		{`"allow_origins": ["null"]`, []string{"allow_origins", "null"}},
		{`"allow_origins": [""]`, []string{"allow_origins", "''"}},
		{`"allow_origins": ["https://"]`, []string{"allow_origins", "'https://'"}},
		{`"allow_origins": ["https://:443"]`, []string{"allow_origins", "'https://:443'"}},
		{`"allow_origins": ["//www.example.com"]`, []string{"allow_origins", "'//www.example.com'"}},
		{`"allow_origins": ["https:www.example.com"]`, []string{"allow_origins", "'https:www.example.com'"}},
		{`"allow_origins": ["https://www.example.com#"]`, []string{"allow_origins", "#"}},
		{`"allow_origins": ["https://www.example .com"]`, []string{"allow_origins", "'https://www.example .com'"}},
		{`"allow_origins": ["https://-ü-.example"]`, []string{"allow_origins", "ü"}},
		{`"allow_origins": ["{env.TEST_FTP}"]`, []string{"allow_origins", "{env.TEST_FTP}"}},
		{`"allow_origins": ["http://[fe80::1%25eth0]"]`, []string{"allow_origins", "eth0"}},
		{`"allow_origins": ["wss://www.example.com"]`, []string{"allow_origins", "wss"}},
		{`"allow_origins": "https://www.example.com"`, []string{`allow_origins is a text, but must be a list, such as ["https://www.example.com"]`}},

		{`"limits": {}`, []string{`limits is an object, but must be a list, such as [{"requests": 20, "window": "1h"}]`}},
		{`"limits": [{}]`, []string{"limits[0]", "requests, 0,"}},
		{`"limits": [{"requests": 20}]`, []string{"limits[0]", "window of 0s"}},
		{`"limits": [{"requests": 20, "window": "1h"}, {"requests": 0, "window": "1h", "key": "site"}]`, []string{"limits[1]", "requests, 0,"}},
		{`"limits": [{"requests": -1, "window": "1h"}]`, []string{"limits[0]", "requests, -1,"}},
		{`"limits": [{"requests": 1000000001, "window": "1h"}]`, []string{"limits[0]", "requests, 1000000001,"}},
		{`"limits": [{"requests": 20, "window": "999ms"}]`, []string{"limits[0]", "999ms", "1s"}},
		{`"limits": [{"requests": 20, "window": "367d"}]`, []string{"limits[0]", "8808h", "8784h"}},
		{`"limits": [{"requests": 20, "window": -1}]`, []string{"limits[0]", "window"}},
		{`"limits": [{"requests": 20, "window": "1h", "per": "client"}]`, []string{"per"}},
		{`"limits": [{"requests": 20, "window": "1h"}, {"requests": 30, "window": "1h"}]`, []string{"limits", "1h"}},
		{`"limits": [{"requests": 20, "window": "1h"}, {"requests": 30, "window": "60m", "key": "{http.vars.client_ip}"}]`, []string{"limits", "1h"}},
		{`"max_streams": -1`, []string{"max_streams", "-1"}},
		{`"max_streams_per_client": -1`, []string{"max_streams_per_client", "-1"}},

		{`"body_timeout": -1`, []string{"body_timeout"}},
		{`"response_timeout": -1`, []string{"response_timeout"}},
		{`"commit_after": -2`, []string{"commit_after"}},
		{`"idle_timeout": -1`, []string{"idle_timeout"}},
		{`"write_timeout": -1`, []string{"write_timeout"}},
		{`"max_duration": -1`, []string{"max_duration"}},
		{`"heartbeat": "-1s"`, []string{"heartbeat", "-1s"}},
		{`"heartbeat": 15`, []string{"heartbeat", "15ns", "30s"}},
		{`"idle_timeout": "999us"`, []string{"idle_timeout", "1ms"}},
		{`"max_duration": 9223372036854775807`, []string{"max_duration", "366d"}},
		{`"retry": {"backoff": "367d"}`, []string{"retry", "backoff", "366d"}},
		{`"resume": {"grace": 1}`, []string{"resume", "grace", "1ms"}},
		{`"resume": {"keep": "400d"}`, []string{"resume", "keep", "366d"}},

		{`"resume": 5`, []string{"resume is a number, but must be an object"}},
		{`"resume": {"grace": -1}`, []string{"resume", "grace"}},
		{`"resume": {"keep": -1}`, []string{"resume", "keep"}},
		{`"resume": {"max_size": -1}`, []string{"resume", "max_size", "-1"}},
		{`"resume": {"max_total": -1}`, []string{"resume", "max_total", "-1"}},
		{`"resume": {"max_size": 5}`, []string{"resume: max_size: 5 bytes is less than the minimum, 1KiB"}},
		{`"resume": {"max_total": 64}`, []string{"resume: max_total: 64 bytes is less than the minimum, 1KiB"}},
		{`"resume": {"max_size": 3000, "max_total": 2000}`, []string{"resume", "max_size", "3000", "max_total"}},
		{`"resume": {"owners": ["me"]}`, []string{"owners"}},
		{`"resume": {}, "store": {"module": "shoebox"}`, []string{"store", "shoebox"}},
		{`"resume": {}, "store": {"module": "memory", "size": 5}`, []string{"store", "size"}},

		{`"resume": {"owner": "http.auth.user.id"}`, []string{"resume", "owner", "{http.auth.user.id}"}},
		{`"limits": [{"requests": 2, "window": "1m", "key": "client"}]`, []string{"limits[0]", "'client'", "leave the key out"}},
		{`"limits": [{"requests": 2, "window": "1m", "key": "{client"}]`, []string{"limits[0]", "'{client'", "brace"}},

		// The token in the wrong place.
		{`"roles": ["user", "{token}"]`, []string{"roles", "API token"}},
		{`"pass_fields": ["{token}"]`, []string{"pass_fields", "API token"}},
		{`"allow_origins": ["https://{token}.example"]`, []string{"allow_origins", "API token"}},
		{`"limits": [{"requests": 2, "window": "1m", "key": "{token}"}]`, []string{"limits", "API token"}},
		{`"resume": {"owner": "{token}{http.auth.user.id}"}`, []string{"resume", "API token"}},
		{`"assistants": ["{token}"]`, []string{"assistants", "API token"}},
		{`"assistants": ["{env.ILLUMICHAT_API_TOKEN}"]`, []string{"assistants", "{env.ILLUMICHAT_API_TOKEN}", "API token"}},
		{`"aliases": {"{token}": "asst_help"}`, []string{"aliases", "API token"}},
		{`"aliases": {"help": "{env.ILLUMICHAT_API_TOKEN}"}`, []string{"aliases", "help", "{env.ILLUMICHAT_API_TOKEN}", "API token"}},
		{`"endpoint": "{token}"`, []string{"endpoint", "URL"}},
		{`"endpoint": "https://example.com/{token}"`, []string{"endpoint", "https://example.com: ", "form of an API token"}},
		{`"endpoint": "https://{token}.example.com"`, []string{"endpoint", "form of an API token"}},
		{`"endpoint": "https://example.com/{env.ILLUMICHAT_API_TOKEN}/chat"`, []string{"endpoint", "{env.ILLUMICHAT_API_TOKEN}", "API token"}},
		{`"store": {"module": "memory", "{token}": 5}`, []string{"store", "API token"}},
		{`"transport": {"protocol": "http", "network_proxy": {"url": "http://{env.ILLUMICHAT_API_TOKEN}.example"}}`, []string{"transport", "API token"}},
		{`"endpoint": "{env.ILLUMICHAT_API_TOKEN}"`, []string{"endpoint", "{env.ILLUMICHAT_API_TOKEN}", "URL"}},
		{`"{token}": 5`, []string{"unknown field"}},
		{`"heartbeat": "{token}"`, []string{"heartbeat", "not a duration"}},
		{`"resume": {"gracee": "1s"}`, []string{`unknown field "gracee" of resume; did you mean grace?`}},
		{`"limits": [20]`, []string{`limits[0] is a number, but must be an object, such as {"requests": 20, "window": "1h"}`}},
		{`"url": "https://example.com"`, []string{`unknown field "url"; did you mean endpoint?`}},
		{`"Heartbeat": "15s", "max_messages": "x"`, []string{"max_messages is a text"}},
		{`"limits": [{"request": 1, "window": "1h"}]`, []string{`unknown field "request" of limits[0]; did you mean requests?`}},
		{`"retry": {"attempt": 2}`, []string{`unknown field "attempt" of retry; did you mean attempts?`}},
		{`"resume": {"grace": "1x"}`, []string{`resume: grace: "1x" is not a duration`}},
		{`"limits": [{"requests": 1, "window": "1"}]`, []string{`limits[0]: window: "1" is not a duration`}},
		{`"heartbeat": true`, []string{"heartbeat: true is not a duration", `such as "30s", or -1`}},
		{`"idle_timeout": 1.5`, []string{"idle_timeout: a number is not a duration"}},
		{`"idle_timeout": ["15s"]`, []string{"idle_timeout: a list is not a duration"}},
		{`"store": "redis"`, []string{`store is a text, but must be an object, such as {"module": "memory"}`}},
		{`"transport": "http"`, []string{`transport is a text, but must be an object, such as {"protocol": "http"}`}},
		{`"assistants": [5]`, []string{"assistants[0] is a number, but must be a text in quotation marks"}},
		{`"propagate_trace": "on"`, []string{"propagate_trace is a text, but must be true or false"}},
		{`"aliases": {"support": 5}`, []string{"aliases: support is a number, but must be a text in quotation marks"}},
		{`"aliases": ["support"]`, []string{`aliases is a list, but must be an object, such as {"support": "asst_abc123"}`}},
		{`"retry": {"on": [4.5]}`, []string{"retry: on[0] is a number"}},
		{`"heartbeat": "off"`, []string{"heartbeat", "not a duration", "or -1 to turn it off"}},
		{`"max_messages": "{token}"`, []string{"max_messages"}},
		{`"retry": {"backoff": "{token}"}`, []string{"retry", "not a duration"}},
		{`"idle_timeout": "hidden.k3J9xQ2mZ7pL4wRt"`, []string{"idle_timeout", "not a duration"}},
		{`"transport": {"protocol": "{token}"}`, []string{"transport"}},
		{`"transport": {"protocol": "http", "dial_timeout": "{token}"}`, []string{"transport"}},
		{`"store": {"module": "{token}"}`, []string{"store"}},
		{`"store": {"module": "hidden.k3J9xQ2mZ7pL4wRt"}`, []string{"store", "module"}},
		{`"transport": {"protocol": "hidden.k3J9xQ2mZ7pL4wRt"}`, []string{"transport", "protocol"}},

		{`"transport": 5`, []string{"transport"}},
		{`"transport": {"protocol": "carrier_pigeon"}`, []string{"transport", "carrier_pigeon"}},
		{`"transport": {"protocol": 5}`, []string{"transport"}},
		{`"transport": {"protocol": "http", "dial_patience": "2s"}`, []string{"transport", "dial_patience"}},
		{`"transport": {"protocol": "http", "keep_alive": 5}`, []string{"transport", "keep_alive"}},
		{`"transport": {"protocol": "http", "proxy_protocol": "v1"}`, []string{"transport", "proxy_protocol"}},
		{`"transport": {"protocol": "http", "versions": ["3"]}`, []string{"transport", "HTTP/3"}},
		{`"transport": {"protocol": "fastcgi"}`, []string{"transport", "fastcgi"}},
	}
	for _, test := range tests {
		t.Run(test.fields, func(t *testing.T) {
			_, err := provision(t, strings.ReplaceAll(test.fields, "{token}", sandbox.Token))
			if err == nil {
				t.Fatal("it is accepted")
			}
			for _, want := range test.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("got %q, want it to name %q", err, want)
				}
			}
			for _, secret := range []string{sandbox.Token, "hidden"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error prints a secret: %v", err)
				}
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	setConfigEnv(t)
	want := map[string]any{
		"MaxBodySize":         int64(1048576),
		"MaxMessages":         0,
		"MaxStreams":          0,
		"MaxStreamsPerClient": 0,
		"Roles":               []string{"user", "assistant"},
		"BodyTimeout":         caddy.Duration(30 * time.Second),
		"ResponseTimeout":     caddy.Duration(60 * time.Second),
		"CommitAfter":         caddy.Duration(5 * time.Second),
		"IdleTimeout":         caddy.Duration(60 * time.Second),
		"WriteTimeout":        caddy.Duration(30 * time.Second),
		"MaxDuration":         caddy.Duration(2 * time.Minute),
		"Heartbeat":           caddy.Duration(15 * time.Second),
	}
	for what, fields := range map[string]string{
		"left out": ``,
		"zero": `"max_body_size": 0, "max_messages": 0, "max_streams": 0, "max_streams_per_client": 0, "roles": [], "body_timeout": 0, "response_timeout": 0, "commit_after": 0,
			"idle_timeout": 0, "write_timeout": 0, "max_duration": 0, "heartbeat": 0`,
	} {
		t.Run(what, func(t *testing.T) {
			h, err := provision(t, fields)
			if err != nil {
				t.Fatal(err)
			}
			for name, want := range want {
				if got := reflect.ValueOf(h).Elem().FieldByName(name).Interface(); !reflect.DeepEqual(got, want) {
					t.Errorf("got %s: %v, want %v", name, got, want)
				}
			}
		})
	}
}

func TestConfigIsTakenAsItIs(t *testing.T) {
	setConfigEnv(t)
	h, err := provision(t, `"commit_after": -1, "heartbeat": -1, "idle_timeout": "1ms", "max_duration": "1d", "roles": ["system"],
		"max_body_size": 1024, "max_messages": 7`)
	if err != nil {
		t.Fatal(err)
	}
	if h.CommitAfter != off || h.Heartbeat != off {
		t.Errorf("commit_after is %d and heartbeat %d, want both off", h.CommitAfter, h.Heartbeat)
	}
	if h.IdleTimeout != caddy.Duration(time.Millisecond) || h.MaxDuration != caddy.Duration(24*time.Hour) {
		t.Errorf("got idle_timeout %d and max_duration %d", h.IdleTimeout, h.MaxDuration)
	}
	if len(h.Roles) != 1 || h.MaxBodySize != 1024 || h.MaxMessages != 7 {
		t.Errorf("got roles %q, max_body_size %d, max_messages %d", h.Roles, h.MaxBodySize, h.MaxMessages)
	}
}

func TestEndpointIsResolved(t *testing.T) {
	missing := setConfigEnv(t)
	t.Setenv("TEST_HOST", "chat.example.com")
	file := filepath.Join(t.TempDir(), "endpoint")
	if err := os.WriteFile(file, []byte("https://file.example.com/api\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for configured, want := range map[string]string{
		"":                             "https://beta.illumichat.com/api/chat",
		"{env.NOPE}":                   "https://beta.illumichat.com/api/chat",
		"{env.TEST_EMPTY}":             "https://beta.illumichat.com/api/chat",
		"{file." + missing + "}":       "https://beta.illumichat.com/api/chat",
		"{env.NOPE}{env.TEST_EMPTY}":   "https://beta.illumichat.com/api/chat",
		"https://{env.TEST_HOST}/api":  "https://chat.example.com/api",
		"{file." + file + "}":          "https://file.example.com/api",
		"http://[::1]:8081/api?eu=1":   "http://[::1]:8081/api?eu=1",
		"HTTPS://chat.example.com/api": "https://chat.example.com/api",
	} {
		t.Run(configured, func(t *testing.T) {
			field, err := json.Marshal(configured)
			if err != nil {
				t.Fatal(err)
			}
			h, err := provision(t, `"endpoint": `+string(field))
			if err != nil {
				t.Fatal(err)
			}
			if got := h.exchanges.endpoint.URL.String(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		})
	}
}

func TestAssistantsAreResolved(t *testing.T) {
	setConfigEnv(t)
	h, err := provision(t, `"assistants": ["asst_demo", "{env.TEST_ASSISTANT}"], "aliases": {"help": "{env.TEST_ASSISTANT}", "other": "asst_other"}`)
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"asst_demo": "asst_demo", "asst_of_env": "asst_of_env", "help": "asst_of_env", "other": "asst_other"}
	if got := h.rules.Assistants(); !maps.Equal(got, want) || h.rules.AllowsAny() {
		t.Errorf("got %v (any: %v), want %v", got, h.rules.AllowsAny(), want)
	}
	if reflect.DeepEqual(h.Assistants, []string{"asst_demo", "asst_of_env"}) {
		t.Error("the resolved id is in a field of the config")
	}

	// The value of a placeholder is always an id, so an environment variable cannot allow all assistants.
	if _, err = provision(t, `"assistants": ["{env.TEST_STAR}"]`); err == nil || !strings.Contains(err.Error(), "*") {
		t.Errorf("a placeholder that holds * gave the error %v", err)
	}
}

// A config that fails is cleaned up, whichever step failed.
func TestFailedConfigIsCleanedUp(t *testing.T) {
	setConfigEnv(t)
	for what, line := range map[string]string{
		"token":      "token {env.NOPE}\nassistants asst_demo",
		"endpoint":   "token {env.ILLUMICHAT_API_TOKEN}\nassistants asst_demo\nendpoint {env.TEST_FTP}",
		"assistants": "token {env.ILLUMICHAT_API_TOKEN}\nassistants {env.NOPE}",
		"aliases":    "token {env.ILLUMICHAT_API_TOKEN}\nassistants {env.TEST_ASSISTANT}\nalias asst_of_env asst_help",
	} {
		t.Run(what, func(t *testing.T) {
			err := sitetest.Validate(t, sitetest.Adapt(t, directiveOf(line)))
			if err == nil || !strings.Contains(err.Error(), what) {
				t.Errorf("got %v, want an error that names %s", err, what)
			}
		})
	}
}

// extremes are JSON values that break what is not checked.
var extremes = []string{
	"-9223372036854775808", "-2", "-1", "0", "1", "9223372036854775807", "9223372036854775808", "1e308", "-0.0", "1.5", "null", "[]", "{}", `""`, `"NaN"`, `"-1"`,
	`"1e400s"`, `"9223372036854775807ns"`,
}

// No number in a config makes loading, listing or using the handler panic.
func TestExtremeNumbers(t *testing.T) {
	setConfigEnv(t)
	for _, field := range []string{
		`"max_body_size": %s`, `"max_messages": %s`, `"max_streams": %s`, `"max_streams_per_client": %s`, `"body_timeout": %s`, `"response_timeout": %s`,
		`"commit_after": %s`, `"idle_timeout": %s`, `"write_timeout": %s`, `"max_duration": %s`, `"heartbeat": %s`, `"limits": %s`, `"limits": [%s]`,
		`"limits": [{"requests": %s, "window": "1h"}]`, `"limits": [{"requests": 5, "window": %s}]`, `"limits": [{"requests": 5}, {"requests": 5, "window": %s}]`,
		`"retry": %s`, `"retry": {"attempts": %s}`, `"retry": {"backoff": %s}`, `"retry": {"backoff_cap": %s}`, `"retry": {"on": %s}`, `"retry": {"on": [%s]}`,
		`"resume": %s`, `"resume": {"grace": %s}`, `"resume": {"keep": %s}`, `"resume": {"max_size": %s}`, `"resume": {"max_total": %s}`,
		`"resume": {"max_size": 1, "max_total": %s}`, `"store": %s`, `"transport": %s`, `"assistants": %s`, `"aliases": %s`, `"token": %s`, `"endpoint": %s`,
	} {
		for _, value := range extremes {
			fields := fmt.Sprintf(field, value)
			if !json.Valid([]byte("{" + fields + "}")) {
				t.Fatalf("%s is not JSON", fields)
			}
			h, err := provision(t, fields)
			if err != nil {
				continue
			}
			h.status()
			h.exchanges.client = upstream.New(h.exchanges.endpoint, fakeChatKey{}, 0)
			c := fakeChat{handler: h, answers: []fakeAnswer{accepted(step{data: sitetest.Finish})}}
			c.run(t)
		}
	}
}
