package illumichat

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	caddycmd "github.com/caddyserver/caddy/v2/cmd"
)

// caddyConfig is the environment variable that tells TestCaddyProcess which config to run.
const caddyConfig = "ILLUMICHAT_TEST_CADDY_CONFIG"

// TestCaddyProcess is no test of its own but the process of runCaddy.
func TestCaddyProcess(t *testing.T) {
	if config := os.Getenv(caddyConfig); config != "" {
		os.Args = []string{"caddy", "run", "--config", config}
		caddycmd.Main()
	}
}

// caddyProcess is a Caddy that can exit, which one within the tests' own process cannot.
type caddyProcess struct {
	admin   string // the path of the admin API's socket
	process *os.Process
	output  bytes.Buffer
	exited  chan error
}

// runCaddy serves the site in a process of its own.
func runCaddy(tb testing.TB, s *site, directives string) *caddyProcess {
	tb.Helper()
	return startCaddy(tb, s.adapt(directives), func() bool {
		secure, err := tls.Dial("tcp", strings.TrimPrefix(s.secure, "https://"), &tls.Config{InsecureSkipVerify: true})
		if err != nil {
			return false
		}
		secure.Close()
		plain, err := net.Dial("tcp", strings.TrimPrefix(s.plain, "http://"))
		if err != nil {
			return false
		}
		plain.Close()
		return true
	})
}

// startCaddy runs a config in a process of its own, and waits until it is ready. The process ends with the test.
func startCaddy(tb testing.TB, config []byte, ready func() bool) *caddyProcess {
	tb.Helper()
	// A socket's path has to be short.
	dir, err := os.MkdirTemp("", "caddy")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	p := &caddyProcess{admin: filepath.Join(dir, "admin"), exited: make(chan error, 1)}
	file := filepath.Join(dir, "caddy.json")
	writeFile(tb, file, string(p.withAdmin(tb, config)))

	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	command := exec.CommandContext(tb.Context(), self, "-test.run=^TestCaddyProcess$")
	// The first handshake may come while the process still starts (see loaded), so that a race is no failure there.
	command.Env = append(os.Environ(), caddyConfig+"="+file, "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, "GORACE=exitcode=0")
	command.Stdout, command.Stderr = &p.output, &p.output
	if err := command.Start(); err != nil {
		tb.Fatal(err)
	}
	p.process = command.Process
	go func() {
		p.exited <- command.Wait()
		close(p.exited)
	}()
	tb.Cleanup(func() { <-p.exited })
	eventually(tb, "the process serves its sites", ready)
	return p
}

// withAdmin gives a config an admin API.
func (p *caddyProcess) withAdmin(tb testing.TB, config []byte) []byte {
	tb.Helper()
	var fields map[string]any
	if err := json.Unmarshal(config, &fields); err != nil {
		tb.Fatal(err)
	}
	fields["admin"] = map[string]any{"listen": "unix/" + p.admin, "config": map[string]any{"persist": false}}
	config, err := json.Marshal(fields)
	if err != nil {
		tb.Fatal(err)
	}
	return config
}

// reload replaces the config of the process.
func (p *caddyProcess) reload(tb testing.TB, config []byte) {
	tb.Helper()
	status, body, _ := p.ask(tb, http.MethodPost, "/load", p.withAdmin(tb, config))
	if status != http.StatusOK {
		tb.Fatalf("the config was not loaded: %d: %s", status, body)
	}
}

// ask sends a request to the admin API.
func (p *caddyProcess) ask(tb testing.TB, method, path string, body []byte) (status int, answer string, header http.Header) {
	tb.Helper()
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", p.admin)
		},
	}}
	defer client.CloseIdleConnections()
	req, err := http.NewRequestWithContext(tb.Context(), method, "http://caddy"+path, bytes.NewReader(body))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode, readAll(tb, resp), resp.Header
}

// exit has the process exit, as a service manager does.
func (p *caddyProcess) exit(tb testing.TB) {
	tb.Helper()
	if err := p.process.Signal(syscall.SIGTERM); err != nil {
		tb.Fatal(err)
	}
}

// wait waits for the end of the process.
func (p *caddyProcess) wait(tb testing.TB) {
	tb.Helper()
	select {
	case err := <-p.exited:
		if err != nil {
			tb.Errorf("Caddy exited with %v:\n%s", err, p.output.String())
		}
	case <-time.After(patience):
		tb.Error("Caddy did not exit")
	}
}

func TestExitTellsEveryone(t *testing.T) {
	for name, subdirectives := range map[string]func(*testing.T) string{
		"":                           func(*testing.T) string { return "" },
		"who can come back":          func(*testing.T) string { return "resume" },
		"who can come back anywhere": resumableInRedis,
	} {
		t.Run(name, func(t *testing.T) {
			u := newHandUpstream(t)
			s := newSite(t, "grace_period 1s")
			caddy := runCaddy(t, s, chatToURL(u.url, subdirectives(t)))
			streams := converseOverAll(t, s, u)
			caddy.exit(t)
			for proto, stream := range streams {
				stream.isShutDown(t, proto)
			}
			caddy.wait(t)
		})
	}
}

// Of an answer that nobody listens to, an exit does not wait for the end.
func TestExitDoesNotWaitForNobody(t *testing.T) {
	u := newHandUpstream(t)
	s := newSite(t, "grace_period 9s")
	caddy := runCaddy(t, s, chatToURL(u.url, "resume"))
	for _, stream := range converseOverAll(t, s, u) {
		stream.response.Body.Close()
	}
	eventually(t, "the visitors are gone", func() bool {
		_, answer, _ := caddy.ask(t, http.MethodGet, "/metrics", nil)
		return strings.Contains(answer, `caddy_illumichat_requests_total{assistant="asst_demo",outcome="left"} 3`)
	})
	start := time.Now()
	caddy.exit(t)
	caddy.wait(t)
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("the exit took %s", took)
	}
}

// Streams of a config that is replaced by one without this handler are told as well. The grace period is that
// of the newest config, and begins when its shutdown_delay is over.
func TestExitTellsStreamsOfReplacedConfigs(t *testing.T) {
	u := newHandUpstream(t)
	s := newSite(t, "") // with a grace period, the streams over HTTP/3 would end at the reload
	caddy := runCaddy(t, s, chatToURL(u.url, ""))
	streams := converseOverAll(t, s, u)
	s.global = "grace_period 1s\nshutdown_delay 500ms"
	caddy.reload(t, s.adapt("respond hello"))
	for _, stream := range streams {
		stream.step(t)
	}
	start := time.Now()
	caddy.exit(t)
	for proto, stream := range streams {
		stream.isShutDown(t, proto)
	}
	if took := time.Since(start); took < 1200*time.Millisecond {
		t.Errorf("the streams were ended after %s, before their time was up", took)
	}
	caddy.wait(t)
}

// Caddy does not wait at the exit for servers whose grace period after a reload is over. Their streams are told all the
// same, whether the newest config has a handler of ours or not.
func TestExitTellsStreamsThatOutlivedTheGracePeriodOfAReload(t *testing.T) {
	u := newHandUpstream(t)
	for name, directives := range map[string]string{"with a handler": chatToURL(u.url, "alias other asst_other"), "without": "respond hello"} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, "grace_period 600ms")
			caddy := runCaddy(t, s, chatToURL(u.url, ""))
			streams := converseOverAll(t, s, u)
			caddy.reload(t, s.adapt(directives))
			streams["HTTP/3.0"].isShutDown(t, "HTTP/3.0") // by the reload
			delete(streams, "HTTP/3.0")
			eventually(t, "the grace period has ended", func() bool { return strings.Contains(s.log(), `"msg":"server shutdown"`) })
			for _, stream := range streams {
				stream.step(t)
			}
			caddy.exit(t)
			for proto, stream := range streams {
				stream.isShutDown(t, proto)
			}
			caddy.wait(t)
		})
	}
}

// A chat whose body was on its way at the reload becomes a stream afterwards.
func TestExitTellsStreamsThatBeginAfterAReload(t *testing.T) {
	u := newHandUpstream(t)
	s := newSite(t, "")
	caddy := runCaddy(t, s, chatToURL(u.url, ""))
	head, body, _ := strings.Cut(rawChat(hello), "\r\n\r\n")
	conn := sendRaw(t, s, head+"\r\nExpect: 100-continue\r\n\r\n")
	in := bufio.NewReader(conn)
	read := func() *http.Response {
		resp, err := http.ReadResponse(in, nil)
		if err != nil {
			t.Fatal(err)
		}
		return resp
	}
	if resp := read(); resp.StatusCode != http.StatusContinue { // which says that the body is being read
		t.Fatalf("got %s", resp.Status)
	}
	s.global = "grace_period 1s"
	caddy.reload(t, s.adapt("respond hello"))
	time.Sleep(2 * lookoutInterval) // it must not have ended, though there was no stream yet
	if _, err := io.WriteString(conn, body); err != nil {
		t.Fatal(err)
	}
	c := &conversation{upstream: u.next(t), events: 1}
	c.upstream.say(t, numbered(1))
	c.response = read()
	c.visitor = bufio.NewReader(c.response.Body)
	c.hear(t, numbered(1))
	start := time.Now()
	caddy.exit(t)
	c.isShutDown(t, "HTTP/1.1")
	if took := time.Since(start); took > time.Second {
		t.Errorf("the finish came after %s, when the grace period was over", took)
	}
	caddy.wait(t)
}

// isShutDown checks that the stream ends with a finish that says that the proxy exits.
func (c *conversation) isShutDown(tb testing.TB, proto string) {
	tb.Helper()
	rest, err := io.ReadAll(c.visitor)
	if err != nil {
		tb.Errorf("%s: the stream ended before its end: %v", proto, err)
	}
	if finish := onlyFinish(tb, string(rest)); finish.FinishReason != "error" || finish.Code != "shutting_down:proxy" {
		tb.Errorf("%s: got the finish %+v", proto, finish)
	}
}
