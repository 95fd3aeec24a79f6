package e2e

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// configTroubles reproduce the rows about a config that does not load.
var configTroubles = map[string]func(*testing.T, *symptom){
	"no-module":   builtWithoutTheModule,
	"no-variable": variableOfAnotherProcess,
	"dollar":      refusedBlock("token {$ILLUMICHAT_UNSET_TOKEN}\n"+goodAssistants, good),
	"quotes": func(t *testing.T, row *symptom) {
		t.Setenv("TEST_QUOTED", `"`+sandbox.Token+`"`)
		refusedBlock("token {env.TEST_QUOTED}\n"+goodAssistants, good)(t, row)
	},
	"path-as-token": func(t *testing.T, row *symptom) {
		file := filepath.Join(t.TempDir(), "token")
		sitetest.WriteFile(t, file, sandbox.Token)
		refusedBlock("token "+file+"\n"+goodAssistants, "token {file."+file+"}\n"+goodAssistants)(t, row)
	},
	"folder": func(t *testing.T, row *symptom) {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.Mkdir(path, 0o700); err != nil {
			t.Fatal(err)
		}
		block := "token {file." + path + "}\n" + goodAssistants
		row.wantIn(t, refusalOf(t, block))
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		sitetest.WriteFile(t, path, sandbox.Token)
		wantAccepted(t, block)
	},
	"permission": func(t *testing.T, row *symptom) {
		path := filepath.Join(t.TempDir(), "token")
		if err := os.WriteFile(path, []byte(sandbox.Token), 0); err != nil {
			t.Fatal(err)
		}
		block := "token {file." + path + "}\n" + goodAssistants
		unprivileged(t, func() { row.wantIn(t, refusalOf(t, block)) })
		if err := os.Chmod(path, 0o400); err != nil {
			t.Fatal(err)
		}
		wantAccepted(t, block)
	},
	"comma":      refusedBlock(goodToken+"assistants asst_abc123, asst_def456", goodToken+"assistants asst_abc123 asst_def456"),
	"misspelled": refusedBlock(goodToken+"assistant asst_abc123", goodToken+"assistants asst_abc123"),
	"unit":       refusedBlock(good+"heartbeat 30", good+"heartbeat 30s"),
	"origin":     refusedBlock(good+"allow_origins https://www.example.com/", good+"allow_origins https://www.example.com"),
	"fixed-key":  refusedBlock(good+"limit 20 1h ip", good+"limit 20 1h"),
}

// refusedBlock returns the reproduction of a row about a config that is refused. The blocks are those of the illumichat
// directive.
func refusedBlock(wrong, right string) func(*testing.T, *symptom) {
	return func(t *testing.T, row *symptom) {
		row.wantIn(t, refusalOf(t, wrong))
		wantAccepted(t, right)
	}
}

// refusalOf returns why the config with a block is refused.
func refusalOf(t *testing.T, block string) string {
	t.Helper()
	err := validated(t, block)
	if err == nil {
		t.Fatal("the config is accepted")
	}
	return err.Error()
}

func wantAccepted(t *testing.T, block string) {
	t.Helper()
	if err := validated(t, block); err != nil {
		t.Errorf("with the remedy, the config is refused: %v", err)
	}
}

func validated(t *testing.T, block string) error {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(":80 {\nillumichat /chat {\n"+block+"\n}\n}"), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	return sitetest.Validate(t, config)
}

// builtWithoutTheModule reads a Caddyfile with Caddy's own program, and with this one.
func builtWithoutTheModule(t *testing.T, row *symptom) {
	if testing.Short() {
		t.Skip("building Caddy takes long")
	}
	stock := filepath.Join(t.TempDir(), "caddy")
	build := exec.CommandContext(t.Context(), require.Program(t, "go"), "build", "-ldflags=-s -w", "-o", stock, "github.com/caddyserver/caddy/v2/cmd/caddy")
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building Caddy: %v\n%s", err, output)
	}
	file := filepath.Join(t.TempDir(), "Caddyfile")
	sitetest.WriteFile(t, file, ":80 {\nillumichat /chat {\n"+good+"\n}\n}")
	output, err := exec.CommandContext(t.Context(), stock, "validate", "--config", file, "--adapter", "caddyfile").CombinedOutput()
	if err == nil {
		t.Error("Caddy accepts the config")
	}
	row.wantIn(t, string(output))
	if _, stderr, status := sitetest.Command(t, nil, "validate", "--config", file); status != 0 {
		t.Errorf("with the remedy, the config is refused: %s", stderr)
	}
}

// variableOfAnotherProcess validates a config without the environment of the service, and with a file in place of the
// variable.
func variableOfAnotherProcess(t *testing.T, row *symptom) {
	t.Setenv("ILLUMICHAT_API_TOKEN", "")
	row.wantIn(t, refusalOf(t, good))
	wantAccepted(t, "token {file."+filepath.Join(t.TempDir(), "missing")+"}\n"+goodAssistants)
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	wantAccepted(t, good)
}
