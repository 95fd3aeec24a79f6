package sitetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"testing"
)

// caddyArgs is the environment variable that makes Main run a command of Caddy. Its value is the command's arguments in
// JSON.
const caddyArgs = "ILLUMICHAT_TEST_CADDY_ARGS"

// Command runs a command of Caddy in a process of its own, with further environment variables, such as "NAME=value". It
// returns what the command has written to its standard output and its standard error, and its exit status.
func Command(tb testing.TB, env []string, args ...string) (stdout, stderr string, status int) {
	tb.Helper()
	self, err := os.Executable()
	if err != nil {
		tb.Fatal(err)
	}
	encoded, err := json.Marshal(args)
	if err != nil {
		tb.Fatal(err)
	}
	dir := tb.TempDir()
	command := exec.CommandContext(tb.Context(), self)
	command.Env = append(os.Environ(), caddyArgs+"="+string(encoded), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir)
	command.Env = append(command.Env, env...)
	var out, errOut bytes.Buffer
	command.Stdout, command.Stderr = &out, &errOut
	err = command.Run()
	if exited, ok := errors.AsType[*exec.ExitError](err); ok {
		return out.String(), errOut.String(), exited.ExitCode()
	}
	if err != nil {
		tb.Fatal(err)
	}
	return out.String(), errOut.String(), 0
}

// runCommand runs the command of Caddy that Command has asked for.
func runCommand(encoded string, run func()) {
	var args []string
	if err := json.Unmarshal([]byte(encoded), &args); err != nil {
		panic(err)
	}
	os.Args = append([]string{"caddy"}, args...)
	run()
}
