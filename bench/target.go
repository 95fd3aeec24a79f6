package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The token of all proxies, and the assistant that visitors ask.
const (
	token     = "ic_test000000000000000000000000000000000000"
	assistant = "asst_demo"
)

// target is a way for visitors to get to the upstream.
type target struct {
	name   string
	config string // the file below targets
	args   func(config string) []string

	// baseline is the target that this one is compared with. Empty: the one named baseline.
	baseline string

	// needs is a program that has to be installed. Caddy is built by the rig.
	needs string

	// visitors is how visitors connect to the proxy.
	visitors protocol

	// tls means that the upstream is asked over TLS, as the real one is. It supports HTTP/2.
	tls bool

	// redis means that a Redis runs with the Caddy, and that its costs count as well.
	redis bool
}

// Names of targets that the report uses.
const (
	direct      = "direct"
	module      = "illumichat"
	baseline    = "reverse_proxy"
	baselineTLS = "reverse_proxy-tls"
	baselineH3  = "reverse_proxy-h3"
)

// targets are all targets, in the order of the report. An expert would configure the programs like this.
var targets = []*target{
	{name: direct},
	{name: module, config: "illumichat.Caddyfile", args: runCaddy},
	{name: "illumichat-h2", config: "illumichat-h2.Caddyfile", args: runCaddy, tls: true},
	{name: "resume", config: "resume.Caddyfile", args: runCaddy},
	{name: "redis", config: "redis.Caddyfile", args: runCaddy, needs: "redis-server", redis: true},
	{name: baseline, config: "reverse_proxy.Caddyfile", args: runCaddy},
	{name: "reverse_proxy-h2", config: "reverse_proxy-h2.Caddyfile", args: runCaddy, tls: true},
	{name: "nginx", config: "nginx.conf", needs: "nginx", args: runNginx},
	{name: "haproxy", config: "haproxy.cfg", needs: "haproxy", args: runHAProxy},
	{name: "express", config: "express/proxy.mjs", needs: "node", args: func(config string) []string { return []string{config} }},

	{name: "illumichat-tls", config: "illumichat-tls.Caddyfile", args: runCaddy, visitors: http2TLS, tls: true, baseline: baselineTLS},
	{name: baselineTLS, config: "reverse_proxy-tls.Caddyfile", args: runCaddy, visitors: http2TLS, tls: true, baseline: baselineTLS},
	{name: "nginx-tls", config: "nginx-tls.conf", needs: "nginx", args: runNginx, visitors: http2TLS, tls: true, baseline: baselineTLS},
	{name: "haproxy-tls", config: "haproxy-tls.cfg", needs: "haproxy", args: runHAProxy, visitors: http2TLS, tls: true, baseline: baselineTLS},
	{name: "illumichat-h3", config: "illumichat-tls.Caddyfile", args: runCaddy, visitors: http3QUIC, tls: true, baseline: baselineH3},
	{name: baselineH3, config: "reverse_proxy-tls.Caddyfile", args: runCaddy, visitors: http3QUIC, tls: true, baseline: baselineH3},
}

func runNginx(config string) []string { return []string{"-c", config} }

func runHAProxy(config string) []string { return []string{"-db", "-f", config} }

func runCaddy(config string) []string {
	return []string{"run", "--adapter", "caddyfile", "--config", config}
}

// missing says what the target needs and this machine does not have.
func (t *target) missing() string {
	if t.needs == "" {
		return ""
	}
	if _, err := exec.LookPath(t.needs); err != nil {
		return t.needs + " is not installed"
	}
	if t.name == "express" {
		if _, err := os.Stat("bench/targets/express/node_modules/express"); err != nil {
			return "npm ci --prefix bench/targets/express has not been run"
		}
	}
	return ""
}

// command returns the command that serves visitors at an address and asks the upstream at another one. Caddy's admin API is
// at a third one.
func (t *target) command(dir, caddy, address, upstream, admin string) (*exec.Cmd, error) {
	config := filepath.Join("bench", "targets", t.config)
	if filepath.Ext(config) != ".mjs" { // a script finds its packages from its own folder, and reads its environment
		text, err := os.ReadFile(config)
		if err != nil {
			return nil, err
		}
		_, port, err := net.SplitHostPort(address)
		if err != nil {
			return nil, err
		}
		filled := strings.NewReplacer(
			"@ADDRESS@", address, "@PORT@", port, "@UPSTREAM@", upstream, "@TOKEN@", token, "@ASSISTANT@", assistant, "@DIRECTORY@", dir, "@ADMIN@", admin,
		).Replace(string(text))
		config = filepath.Join(dir, t.config)
		if err := os.WriteFile(config, []byte(filled), 0o600); err != nil {
			return nil, err
		}
	}
	program, args := caddy, t.args(config)
	switch {
	case t.redis:
		const both = `redis-server --port 0 --unixsocket "$0" --save "" --loglevel warning & exec "$@"`
		program, args = "sh", append([]string{"-c", both, filepath.Join(dir, "redis"), caddy}, args...)
	case t.needs != "":
		program = t.needs
	}
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), "ADDRESS="+address, "UPSTREAM="+upstream, "ILLUMICHAT_API_TOKEN="+token,
		"XDG_DATA_HOME="+dir, "XDG_CONFIG_HOME="+dir, "NODE_ENV=production")
	return cmd, nil
}
