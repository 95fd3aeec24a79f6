package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

// The environment variables that set the token, the endpoint and the assistant of the examples.
const (
	tokenVariable     = "ILLUMICHAT_API_TOKEN"
	endpointVariable  = "ILLUMICHAT_ENDPOINT"
	assistantVariable = "ILLUMICHAT_ASSISTANT"
)

// needsSandbox reports whether the command line runs Caddy without a token in the environment or in a file of
// --envfile. ("caddy start" runs "caddy run", which is asked then.)
func needsSandbox(args []string, token string) bool {
	if len(args) < 2 || args[1] != "run" || token != "" {
		return false
	}
	for _, file := range envFiles(args) {
		// Caddy complains of a file that cannot be read.
		if content, err := os.ReadFile(file); err == nil && setsToken.Match(content) {
			return false
		}
	}
	return true
}

// setsToken finds the line of an environment file that gives a token.
var setsToken = regexp.MustCompile(`(?m)^\s*(export )?` + tokenVariable + `=["']?[^\s"'#]`)

// envFiles returns the files that --envfile names. It can be repeated, and name
// several with commas between them.
func envFiles(args []string) []string {
	var files []string
	for i, arg := range args {
		value, ok := strings.CutPrefix(arg, "--envfile=")
		if !ok && arg == "--envfile" && i+1 < len(args) {
			value, ok = args[i+1], true
		}
		if ok {
			files = append(files, strings.Split(value, ",")...)
		}
	}
	return files
}

// startSandbox serves a sandbox on a loopback port until the process exits, and points the environment to it. It
// returns the endpoint.
func startSandbox() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	endpoint := fmt.Sprintf("http://%s/api/chat", listener.Addr())
	for name, value := range map[string]string{
		tokenVariable:     sandbox.Token,
		endpointVariable:  endpoint,
		assistantVariable: sandbox.Assistant,
	} {
		if err := os.Setenv(name, value); err != nil {
			listener.Close()
			return "", fmt.Errorf("setting %s: %w", name, err)
		}
	}
	server := &http.Server{
		Handler:           sandbox.New(sandbox.Options{Pace: sandbox.DemoPace}),
		ReadHeaderTimeout: 10 * time.Second,
	}
	go func() { _ = server.Serve(listener) }() // it ends with the process
	return endpoint, nil
}
