package sitetest

import (
	"net"
	"os/exec"
	"testing"
)

// runProxy runs a proxy until the test ends. It returns when the proxy listens on address. If the proxy ends before, the test
// fails with what the proxy has printed.
func runProxy(tb testing.TB, address string, command *exec.Cmd) {
	tb.Helper()
	var output output
	command.Stdout, command.Stderr = &output, &output
	if err := command.Start(); err != nil {
		tb.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = command.Wait()
		close(ended)
	}()
	tb.Cleanup(func() {
		_ = command.Process.Kill()
		<-ended
	})
	Eventually(tb, "the proxy listens", func() bool {
		select {
		case <-ended:
			tb.Fatalf("%s ended: %s", command.Path, output.String())
		default:
		}
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}
