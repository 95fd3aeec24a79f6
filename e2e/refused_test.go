package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// refuser is a handler of another module that refuses its config. First it runs whileLoading.
type refuser struct{}

// whileLoading is called while a config with a refuser loads.
var whileLoading func()

func init() {
	caddy.RegisterModule(refuser{})
	httpcaddyfile.RegisterHandlerDirective("refuse", func(httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) { return refuser{}, nil })
	httpcaddyfile.RegisterDirectiveOrder("refuse", httpcaddyfile.After, "file_server")
}

// CaddyModule returns the Caddy module information.
func (refuser) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.refuse", New: func() caddy.Module { return new(refuser) }}
}

// Provision refuses the config.
func (refuser) Provision(caddy.Context) error {
	whileLoading()
	return errors.New("the other module refuses the config")
}

func (refuser) ServeHTTP(http.ResponseWriter, *http.Request, caddyhttp.Handler) error { return nil }

// listedAssistants returns the assistants of the handlers that the admin API of this process lists.
func listedAssistants(t *testing.T) string {
	t.Helper()
	info, err := caddy.GetModule("admin.api.illumichat")
	if err != nil {
		t.Fatal(err)
	}
	recorder := httptest.NewRecorder()
	route := info.New().(caddy.AdminRouter).Routes()[0]
	if err := route.Handler.ServeHTTP(recorder, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/illumichat/", nil)); err != nil {
		t.Fatal(err)
	}
	var list []listedHandler
	if err := json.Unmarshal(recorder.Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, h := range list {
		names = append(names, h.Assistants...)
	}
	return strings.Join(names, " ")
}

// A config that does not run leaves nothing, whichever module refuses it, and whenever: no handler in the admin API, no
// series in the metrics, and the running config as it was. The admin API shows no handler while its config loads.
func TestRefusedConfigLeavesNothing(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	occupied, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { occupied.Close() })
	directives := func(assistant, more string) string {
		return "metrics /metrics\n" + strings.Replace(sitetest.ChatTo(server, more), "assistants asst_demo", "assistants asst_demo "+assistant, 1)
	}
	s := sitetest.Serve(t, directives("asst_runs", "limit 5 1h"))
	const running = "asst_demo asst_runs asst_demo asst_runs" // the site has two servers
	whileLoading = func() {
		if got := listedAssistants(t); got != running {
			t.Errorf("while the config loads, the handlers of %q are listed", got)
		}
	}
	replaced := func(config []byte, old, new string) []byte {
		if !strings.Contains(string(config), old) {
			t.Fatalf("the config has no %s", old)
		}
		return []byte(strings.ReplaceAll(string(config), old, new))
	}
	for assistant, config := range map[string][]byte{
		"asst_no_window":  replaced(s.Adapt(directives("asst_no_window", "limit 5 1h")), `,"window":3600000000000`, ""),
		"asst_no_tries":   replaced(s.Adapt(directives("asst_no_tries", "retry {\nattempts 7\n}")), `"attempts":7`, `"attempts":-7`),
		"asst_no_store":   replaced(s.Adapt(directives("asst_no_store", "resume\nstore memory")), `"module":"memory"`, `"module":"shoebox"`),
		"asst_of_another": s.Adapt(directives("asst_of_another", "resume\nlimit 5 1h") + "\nrefuse"),
		"asst_no_port":    replaced(s.Adapt(directives("asst_no_port", "resume\nlimit 5 1h")), strings.TrimPrefix(s.Plain, "http://"), occupied.Addr().String()),
	} {
		for range 2 {
			if err := caddy.Load(config, true); err == nil {
				t.Fatalf("%s: the config was loaded", assistant)
			}
			if err := sitetest.Validate(t, config); err == nil && assistant != "asst_no_port" {
				t.Fatalf("%s: the config is valid", assistant)
			}
		}
		if got := listedAssistants(t); got != running {
			t.Errorf("%s: the handlers of %q are listed", assistant, got)
		}
		for series := range sitetest.Scrape(t, s) {
			if strings.Contains(series, assistant) {
				t.Errorf("the refused config leaves %s", series)
			}
		}
	}
	if metrics := sitetest.Scrape(t, s); len(metrics) == 0 {
		t.Error("the running config has no metrics")
	} else if _, ok := metrics[`requests_total{assistant="asst_runs",outcome="answered"}`]; !ok {
		t.Error("the running config has no series for an assistant that nobody has asked yet")
	}
	sitetest.OnlyFinish(t, sitetest.ReadAll(t, s.Ask(sitetest.Hello)))
}

// The admin API answers while configs are refused, again and again.
func TestAdminWhileConfigsAreRefused(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, ""))
	config := []byte(strings.Replace(string(s.Adapt(sitetest.ChatTo(server, "limit 5 1h site"))), `,"window":3600000000000`, "", 2))
	over := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-over:
				return
			default:
				if got, want := listedAssistants(t), fmt.Sprint(sandbox.Assistant, " ", sandbox.Assistant); got != want {
					t.Errorf("the handlers of %q are listed", got)
				}
			}
		}
	})
	for range 20 {
		if err := sitetest.Validate(t, config); err == nil {
			t.Error("the config is valid")
		}
	}
	close(over)
	wg.Wait()
}
