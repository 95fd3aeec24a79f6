package main

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

func TestNeedsSandbox(t *testing.T) {
	dir := t.TempDir()
	file := func(name, content string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := file("plain", "# settings\nILLUMICHAT_API_TOKEN="+sandbox.Token+"\n")
	exported := file("exported", "A=b\n  export ILLUMICHAT_API_TOKEN=\""+sandbox.Token+"\"\n")
	other := file("other", "ILLUMICHAT_ENDPOINT=http://127.0.0.1:1/\n# ILLUMICHAT_API_TOKEN="+sandbox.Token+"\nMY_ILLUMICHAT_API_TOKEN=x\n")
	empty := file("empty", "ILLUMICHAT_API_TOKEN=\nNEXT=x\n")
	quoted := file("quoted", `ILLUMICHAT_API_TOKEN=""`)

	for _, tc := range []struct {
		args  string
		token string
		want  bool
	}{
		{"run", "", true},
		{"run --config example/Caddyfile", "", true},
		{"run", sandbox.Token, false},
		{"", "", false},
		{"start", "", false},
		{"validate --config run", "", false},
		{"list-modules", "", false},
		{"run --envfile " + plain, "", false},
		{"run --envfile=" + plain, "", false},
		{"run --watch --envfile " + exported + " --config x", "", false},
		{"run --envfile " + other + " --envfile " + plain, "", false},
		{"run --envfile " + other + "," + plain, "", false},
		{"run --envfile " + other, "", true},
		{"run --envfile " + empty, "", true},
		{"run --envfile " + quoted, "", true},
		{"run --envfile " + filepath.Join(dir, "missing"), "", true},
		{"run --envfile", "", true},
	} {
		if got := needsSandbox(strings.Fields("caddy "+tc.args), tc.token); got != tc.want {
			t.Errorf("%q with the token %q: got %t", tc.args, tc.token, got)
		}
	}
}

func TestStartSandbox(t *testing.T) {
	// Setenv puts back what startSandbox sets.
	for _, name := range []string{tokenVariable, endpointVariable, assistantVariable} {
		t.Setenv(name, "")
	}
	endpoint, err := startSandbox()
	if err != nil {
		t.Fatal(err)
	}
	if got := os.Getenv("ILLUMICHAT_ENDPOINT"); got != endpoint || !strings.HasPrefix(got, "http://127.0.0.1:") {
		t.Errorf("the endpoint is %s, the environment says %q", endpoint, got)
	}

	body := `{"assistantId":"` + os.Getenv("ILLUMICHAT_ASSISTANT") + `","messages":[{"role":"user","content":"/events 1"}]}`
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, endpoint, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+os.Getenv("ILLUMICHAT_API_TOKEN"))
	r.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	answer, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK || !strings.Contains(string(answer), `"type":"finish"`) {
		t.Errorf("got %s, %v: %s", res.Status, err, answer)
	}
}
