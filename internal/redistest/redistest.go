// Package redistest runs a real Redis for tests, on a socket of its own.
package redistest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/require"
)

// Server is a Redis that runs until the test ends.
type Server struct {
	Socket string // a path
	Dir    string // where it keeps its data

	tb      testing.TB
	program string
	options []string
	process *exec.Cmd
	output  bytes.Buffer
}

// Start starts a Redis, with further options of its command line. Where there is none, the test skips.
func Start(tb testing.TB, options ...string) *Server {
	tb.Helper()
	program := require.Program(tb, "redis-server")
	if !slices.Contains(options, "--sentinel") {
		options = append([]string{"--save", ""}, options...)
	}
	dir, err := os.MkdirTemp("", "redis") // as a socket's path has to be short
	if err != nil {
		tb.Fatal(err)
	}
	s := &Server{Socket: filepath.Join(dir, "socket"), Dir: dir, tb: tb, program: program, options: options}
	tb.Cleanup(func() {
		s.Kill()
		if tb.Failed() {
			tb.Logf("Redis has said: %s", s.output.Bytes())
		}
		if err := os.RemoveAll(dir); err != nil {
			tb.Error(err)
		}
	})
	s.Run()
	return s
}

// Run runs the server again, which is not running.
func (s *Server) Run() {
	s.tb.Helper()
	// A file, which Sentinels must have, and others may.
	config := filepath.Join(s.Dir, "redis.conf")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		s.tb.Fatal(err)
	}
	s.process = exec.Command(s.program, append([]string{
		config, "--port", "0", "--unixsocket", s.Socket, "--dir", s.Dir, "--loglevel", "warning",
	}, s.options...)...)
	s.process.Stdout, s.process.Stderr = &s.output, &s.output
	if err := s.process.Start(); err != nil {
		s.tb.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if s.answers() {
			return
		}
		if time.Now().After(end) {
			s.tb.Fatal("Redis does not answer")
		}
	}
}

// answers reports whether the server has loaded its data.
func (s *Server) answers() bool {
	conn, err := net.DialTimeout("unix", s.Socket, time.Second)
	if err != nil {
		return false
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	answer := make([]byte, 64)
	n, err := conn.Read(answer)
	return err == nil && !bytes.HasPrefix(answer[:n], []byte("-LOADING"))
}

// Kill ends the server at once, if it is running.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.process.Wait() // killed
	s.process = nil
}

// Pause has the server answer nothing, until it is resumed.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume has it go on.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	s.tb.Helper()
	if err := s.process.Process.Signal(signal); err != nil {
		s.tb.Fatal(err)
	}
}

// Do sends a command, whose words hold no spaces, and returns the answer.
func (s *Server) Do(words ...string) string {
	s.tb.Helper()
	conn, err := net.DialTimeout("unix", s.Socket, time.Second)
	if err != nil {
		s.tb.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte(strings.Join(words, " ") + "\r\n")); err != nil {
		s.tb.Fatal(err)
	}
	answer := make([]byte, 1024)
	n, err := conn.Read(answer)
	if err != nil || answer[0] == '-' {
		s.tb.Fatalf("%s: %v: %s", words, err, answer[:n])
	}
	return string(answer[:n])
}

// ClusterPort is the port at which a node of a cluster listens to others, as its options say.
func (s *Server) ClusterPort() string {
	return s.options[slices.Index(s.options, "--cluster-port")+1]
}
