package example

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/require"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// The example of a cluster works as users run it, by its script, which starts several Caddys and a Redis. The test changes
// only its ports.
func TestExampleOfACluster(t *testing.T) {
	require.Program(t, "redis-server")
	top := t.TempDir()
	if err := os.CopyFS(filepath.Join(top, "example"), os.DirFS("example")); err != nil {
		t.Fatal(err)
	}
	// Symbolic links of the page lead there.
	client, err := filepath.Abs("client")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(client, filepath.Join(top, "client")); err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	files := make(map[string]string)
	for _, file := range []string{"Caddyfile", "balancer.Caddyfile", "sandbox.Caddyfile", "run.sh"} {
		files[file] = sitetest.ReadExample(t, "cluster/"+file)
		text.WriteString(files[file])
	}
	ports := sitetest.FreePortsFor(t, text.String())
	script := strings.NewReplacer("8081 8082 8083", strings.ReplaceAll(ports.Replace(":8081 :8082 :8083"), ":", ""))
	for file, text := range files {
		sitetest.WriteFile(t, filepath.Join(top, "example/cluster", file), script.Replace(ports.Replace(text)))
	}
	program := filepath.Join(top, "caddy")
	if output, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, "./cmd/caddy").CombinedOutput(); err != nil {
		t.Fatalf("building Caddy: %v: %s", err, output)
	}

	// The script gets a process group of its own, so that the test's end can kill all of its processes.
	run := exec.Command("sh", "example/cluster/run.sh")
	run.Dir = top
	run.Env = append(os.Environ(), "CADDY="+program, "REDIS=", "ILLUMICHAT_API_TOKEN=", "HOME="+top, "XDG_DATA_HOME="+top, "XDG_CONFIG_HOME="+top)
	run.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	var output bytes.Buffer
	run.Stdout, run.Stderr = &output, &output
	if err := run.Start(); err != nil {
		t.Fatal(err)
	}
	exited := make(chan error, 1)
	go func() { exited <- run.Wait() }()
	t.Cleanup(func() {
		_ = syscall.Kill(-run.Process.Pid, syscall.SIGKILL)
		if t.Failed() {
			t.Log(output.String())
		}
	})
	e := &sitetest.RunningExample{Ports: ports}
	const balancer = "http://localhost:8080"
	instances := []string{"http://localhost:8081", "http://localhost:8082", "http://localhost:8083"}
	for _, origin := range append(instances, balancer) {
		sitetest.Within(t, 3*sitetest.Patience, origin+" serves", func() bool {
			resp, err := sitetest.Loopback.RoundTrip(e.Request(t, http.MethodGet, origin+"/", ""))
			if err == nil {
				resp.Body.Close()
			}
			return err == nil && resp.StatusCode == http.StatusOK
		})
	}
	e.WantPage(t, balancer+"/", sitetest.ChatPath)

	// Every instance can resume every answer, and the limits count the chats of all instances.
	left := 20
	for _, origin := range append(instances, balancer) {
		resp := e.Chat(t, origin, sitetest.Anyone)
		left--
		if got := resp.Header.Get("RateLimit"); !strings.Contains(got, fmt.Sprintf("r=%d;", left)) {
			t.Errorf("%s says %q, want %d to be left", origin, got, left)
		}
		sitetest.WantAnswer(t, resp)
		last := resp.Header.Get("Illumichat-Stream") + ":1"
		for _, other := range instances {
			sitetest.Eventually(t, "the answer is known at "+other, func() bool {
				return strings.Contains(sitetest.ReadAll(t, e.Get(t, other+"/api/chat-proxy", "Last-Event-ID: "+last)), "finish")
			})
		}
	}

	if err := run.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	select {
	case err := <-exited:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(sitetest.Patience):
		t.Fatal("the script goes on")
	}
	for _, origin := range append(instances, balancer) {
		if resp, err := sitetest.Loopback.RoundTrip(e.Request(t, http.MethodGet, origin+"/", "")); err == nil {
			resp.Body.Close()
			t.Errorf("%s still serves", origin)
		}
	}
}
