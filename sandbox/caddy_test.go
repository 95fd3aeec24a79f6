package sandbox_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

// adapt turns a Caddyfile into JSON and returns the handlers of its site.
func adapt(t *testing.T, caddyfile string) ([]json.RawMessage, error) {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	if err != nil {
		return nil, err
	}
	var adapted struct {
		Apps struct {
			HTTP struct {
				Servers struct {
					Srv0 struct {
						Routes []struct {
							Handle []json.RawMessage
						}
					}
				}
			}
		}
	}
	if err := json.Unmarshal(config, &adapted); err != nil {
		t.Fatal(err)
	}
	var handlers []json.RawMessage
	for _, route := range adapted.Apps.HTTP.Servers.Srv0.Routes {
		handlers = append(handlers, route.Handle...)
	}
	return handlers, nil
}

func TestCaddyfile(t *testing.T) {
	for name, tc := range map[string]struct{ caddyfile, want string }{
		"no block": {
			"illumichat_sandbox",
			`{"handler":"illumichat_sandbox"}`,
		},
		"all": {
			`illumichat_sandbox {
				token      {env.SANDBOX_TOKEN}
				assistants asst_one asst_two
				pace       1s
			}`,
			`{"handler":"illumichat_sandbox","token":"{env.SANDBOX_TOKEN}","assistants":["asst_one","asst_two"],"pace":1000000000}`,
		},
		"no pace": {
			`illumichat_sandbox {
				pace 0
			}`,
			`{"handler":"illumichat_sandbox","pace":0}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			handlers, err := adapt(t, ":80 {\n"+tc.caddyfile+"\n}")
			if err != nil {
				t.Fatal(err)
			}
			var got, want any
			if err := json.Unmarshal(handlers[0], &got); err != nil {
				t.Fatal(err)
			}
			if err := json.Unmarshal([]byte(tc.want), &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %s, want %s", handlers[0], tc.want)
			}
		})
	}
}

func TestDirectiveOrder(t *testing.T) {
	handlers, err := adapt(t, ":80 {\nreverse_proxy 127.0.0.1:1\nillumichat_sandbox\n}")
	if err != nil {
		t.Fatal(err)
	}
	if len(handlers) != 2 || !strings.Contains(string(handlers[0]), "illumichat_sandbox") {
		t.Errorf("got the handlers %s", handlers)
	}
}

func TestCaddyfileErrors(t *testing.T) {
	for block, want := range map[string]string{
		"token":                            "token takes exactly one argument, at Caddyfile:3",
		"token ic_secret ic_secret":        "token takes exactly one argument, at Caddyfile:3",
		`token ""`:                         "token must not be empty, at Caddyfile:3",
		"token ic_secret\ntoken ic_secret": "token already specified, at Caddyfile:4",
		"assistants":                       "wrong argument count or unexpected line ending after 'assistants', at Caddyfile:3",
		"assistants a\nassistants b":       "assistants already specified, at Caddyfile:4",
		"pace":                             "wrong argument count or unexpected line ending after 'pace', at Caddyfile:3",
		"pace 1s 2s":                       "wrong argument count or unexpected line ending after '1s', at Caddyfile:3",
		"pace slow":                        `parsing pace: time: invalid duration "slow", at Caddyfile:3`,
		"pace -1s":                         "pace must not be negative, at Caddyfile:3",
		"pace 1s\npace 1s":                 "pace already specified, at Caddyfile:4",
		"speed 1s":                         "unrecognized subdirective 'speed', at Caddyfile:3",
	} {
		t.Run(block, func(t *testing.T) {
			_, err := adapt(t, ":80 {\nillumichat_sandbox {\n"+block+"\n}\n}")
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Fatalf("got %v, want %s", err, want)
			}
			if strings.Contains(err.Error(), "ic_secret") {
				t.Errorf("%v tells the token", err)
			}
		})
	}
	if _, err := adapt(t, ":80 {\nillumichat_sandbox fast\n}"); err == nil || !strings.Contains(err.Error(), "'fast', at Caddyfile:2") {
		t.Errorf("got %v", err)
	}
}

// load makes the handler that the JSON describes, as Caddy does.
func load(t *testing.T, config string) (*sandbox.Handler, error) {
	t.Helper()
	ctx, cancel := caddy.NewContext(caddy.Context{Context: t.Context()})
	t.Cleanup(cancel)
	module, err := ctx.LoadModuleByID("http.handlers.illumichat_sandbox", json.RawMessage(config))
	if err != nil {
		return nil, err
	}
	return module.(*sandbox.Handler), nil
}

func TestHandler(t *testing.T) {
	const token = "ic_sandboxPlaceholder0000000000000000000000"
	t.Setenv("SANDBOX_TOKEN", token)
	for config, want := range map[string]string{
		`{"pace":0}`: sandbox.Token,
		`{"pace":"0s","token":"{env.SANDBOX_TOKEN}","assistants":["asst_demo"]}`: token,
	} {
		h, err := load(t, config)
		if err != nil {
			t.Fatal(err)
		}
		for _, sent := range []string{sandbox.Token, token} {
			r := chatRequest(t, saying("/events 2"))
			r.Header.Set("Authorization", "Bearer "+sent)
			w := &recording{header: make(http.Header)}
			if err := h.ServeHTTP(w, r, nil); err != nil {
				t.Fatal(err)
			}
			if (w.status == http.StatusOK) != (sent == want) {
				t.Errorf("%s with %s: got %d", config, sent, w.status)
			}
		}
	}
}

func TestHandlerRefusesConfig(t *testing.T) {
	for config, want := range map[string]string{
		`{"pace":"-1s"}`:                     "pace must not be negative",
		`{"token":"{env.SANDBOX_NO_TOKEN}"}`: "SANDBOX_NO_TOKEN",
		`{"speed":1}`:                        "unknown field",
	} {
		if _, err := load(t, config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %s", config, err, want)
		}
	}
}
