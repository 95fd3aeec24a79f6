package illumichat

import (
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dustin/go-humanize"

	"github.com/caddyserver/caddy/v2"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/internal/upstream"
)

// The README's table of options has the defaults of the code. Its module path and Caddy version are those of go.mod.
func TestReadmeTellsDefaults(t *testing.T) {
	text := sitetest.Readme(t)
	short := strings.NewReplacer("m0s", "m")
	for option, value := range map[string]any{
		"endpoint":         upstream.DefaultEndpoint,
		"max_body_size":    strings.ReplaceAll(humanize.IBytes(defaultMaxBodySize), ".0 ", ""),
		"body_timeout":     defaultBodyTimeout,
		"response_timeout": defaultResponseTimeout,
		"commit_after":     defaultCommitAfter,
		"idle_timeout":     defaultIdleTimeout,
		"write_timeout":    defaultWriteTimeout,
		"max_duration":     defaultMaxDuration,
		"heartbeat":        defaultHeartbeat,
		"— grace":          defaultGrace,
		"— keep":           defaultKeep,
		"— max_size":       strings.ReplaceAll(humanize.IBytes(defaultMaxSize), ".0 ", ""),
		"— max_total":      strings.ReplaceAll(humanize.IBytes(defaultMaxTotal), " ", ""),
		"— attempts":       defaultAttempts,
		"— backoff":        fmt.Sprint(time.Duration(defaultBackoff), " ", time.Duration(defaultBackoffCap)),
	} {
		if d, ok := value.(caddy.Duration); ok {
			value = short.Replace(time.Duration(d).String())
		}
		name := strings.Replace("`"+option+"`", "`— ", "— `", 1)
		if row := fmt.Sprintf("\n| %s | `%v` |", name, value); !strings.Contains(text, row) {
			t.Errorf("the README has no row %s", strings.TrimSpace(row))
		}
	}
	module, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	path := regexp.MustCompile(`(?m)^module (\S+)$`).FindSubmatch(module)
	caddy := regexp.MustCompile(`(?m)^\tgithub.com/caddyserver/caddy/v2 (\S+)$`).FindSubmatch(module)
	for _, part := range []string{
		"\nxcaddy build --with " + string(path[1]) + "\n",
		"\nBuild Caddy " + string(caddy[1]) + " or newer ",
		"\ngo run ./cmd/caddy run --config example/Caddyfile\n",
		"\ngo test ./...\n",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the README does not say %q", part)
		}
	}
}
