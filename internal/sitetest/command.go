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
	return StartCommand(tb, env, args...).Wait(tb)
}

// RunningCommand is a command of Caddy in a process of its own.
type RunningCommand struct {
	*exec.Cmd
	stdout, stderr bytes.Buffer
}

// StartCommand is like Command, but does not wait for the command's end.
func StartCommand(tb testing.TB, env []string, args ...string) *RunningCommand {
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
	c := &RunningCommand{Cmd: exec.CommandContext(tb.Context(), self)}
	// Before it exits, the race detector waits for a second by default, for other goroutines to find a race.
	c.Env = append(os.Environ(), caddyArgs+"="+string(encoded), "HOME="+dir, "XDG_CONFIG_HOME="+dir, "XDG_DATA_HOME="+dir, "GORACE=atexit_sleep_ms=0")
	c.Env = append(c.Env, env...)
	c.Stdout, c.Stderr = &c.stdout, &c.stderr
	if err := c.Start(); err != nil {
		tb.Fatal(err)
	}
	return c
}

// Wait waits for the command's end. It returns the same as Command.
func (c *RunningCommand) Wait(tb testing.TB) (stdout, stderr string, status int) {
	tb.Helper()
	err := c.Cmd.Wait()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		tb.Fatal(err)
	}
	return c.stdout.String(), c.stderr.String(), c.ProcessState.ExitCode()
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
