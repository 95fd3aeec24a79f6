package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// What all proxies are told, and what visitors ask for.
const (
	token     = "ic_test000000000000000000000000000000000000"
	assistant = "asst_demo"
)

// target is a way for visitors to get to the upstream.
type target struct {
	name   string
	config string // the file below targets
	args   func(config string) []string

	// needs is a program that has to be installed. The Caddy is built.
	needs string

	// h2 is whether the upstream is asked by TLS and HTTP/2, as the real one is.
	h2 bool

	// redis has a Redis run beside the Caddy, whose costs count as well.
	redis bool
}

// Names of targets that the report speaks of.
const (
	direct   = "direct"
	module   = "illumichat"
	baseline = "reverse_proxy"
)

// targets are all of them, in the order of the report. Their configurations are as somebody would have them who knows the
// program well.
var targets = []*target{
	{name: direct},
	{name: module, config: "illumichat.Caddyfile", args: runCaddy},
	{name: "illumichat-h2", config: "illumichat-h2.Caddyfile", args: runCaddy, h2: true},
	{name: "resume", config: "resume.Caddyfile", args: runCaddy},
	{name: "redis", config: "redis.Caddyfile", args: runCaddy, needs: "redis-server", redis: true},
	{name: baseline, config: "reverse_proxy.Caddyfile", args: runCaddy},
	{name: "reverse_proxy-h2", config: "reverse_proxy-h2.Caddyfile", args: runCaddy, h2: true},
	{name: "nginx", config: "nginx.conf", needs: "nginx", args: func(config string) []string { return []string{"-c", config} }},
	{name: "haproxy", config: "haproxy.cfg", needs: "haproxy", args: func(config string) []string { return []string{"-db", "-f", config} }},
	{name: "express", config: "express/proxy.mjs", needs: "node", args: func(config string) []string { return []string{config} }},
}

func runCaddy(config string) []string {
	return []string{"run", "--adapter", "caddyfile", "--config", config}
}

// missing tells what the target needs and this machine does not have.
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

// command makes the command that serves visitors at an address, and asks an upstream at another one. A Caddy has its admin
// API at a third.
func (t *target) command(dir, caddy, address, upstream, admin string) (*exec.Cmd, error) {
	config := filepath.Join("bench", "targets", t.config)
	if filepath.Ext(config) != ".mjs" { // a script finds its packages from where it lies, and is told by its environment
		text, err := os.ReadFile(config)
		if err != nil {
			return nil, err
		}
		filled := strings.NewReplacer(
			"@ADDRESS@", address, "@UPSTREAM@", upstream, "@TOKEN@", token, "@ASSISTANT@", assistant, "@DIRECTORY@", dir, "@ADMIN@", admin,
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
