// Package redistest runs real Redis servers for tests: one, a Redis Cluster, or a master with a Sentinel. It can also put
// a relay in front of a server, which delays or loses what passes.
package redistest

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/require"
)

// Server is a Redis that runs until the test ends.
type Server struct {
	Socket  string // the path of its Unix socket
	Address string // host:port; empty unless the server listens to TCP or TLS, too

	dir string // its data directory
	env []string

	tb      testing.TB
	program string
	options []string
	process *exec.Cmd
	output  bytes.Buffer
}

// Start starts a Redis with further command-line options. If redis-server is not installed, require.Program
// ends the test. Without the option --sentinel, the server writes no snapshots unless options turn them on.
func Start(tb testing.TB, options ...string) *Server {
	tb.Helper()
	s := newServer(tb, require.Program(tb, "redis-server"), options)
	s.start()
	return s
}

// StartValkey is like Start, but the server is a Valkey.
func StartValkey(tb testing.TB, options ...string) *Server {
	tb.Helper()
	s := newServer(tb, require.Program(tb, "valkey-server"), options)
	s.start()
	return s
}

func newServer(tb testing.TB, program string, options []string) *Server {
	tb.Helper()
	if !slices.Contains(options, "--sentinel") {
		options = append([]string{"--save", ""}, options...)
	}
	dir, err := os.MkdirTemp("", "redis") // because a socket's path has to be short
	if err != nil {
		tb.Fatal(err)
	}
	return &Server{Socket: filepath.Join(dir, "socket"), dir: dir, tb: tb, program: program, options: options}
}

// StartTCP is like Start, but the server listens to a port, too.
func StartTCP(tb testing.TB, options ...string) *Server {
	tb.Helper()
	port := localhost.Port(tb)
	s := Start(tb, append([]string{"--port", strconv.Itoa(port), "--bind", "127.0.0.1"}, options...)...)
	s.Address = net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
	return s
}

// StartTLS is like Start, but the server also listens to a port with TLS. It has the certificate of localhost.PEM, whose
// file StartTLS returns.
func StartTLS(tb testing.TB, options ...string) (s *Server, certFile string) {
	tb.Helper()
	certFile, keyFile := localhost.Certificate(tb)
	port := localhost.Port(tb)
	s = Start(tb, append([]string{
		"--tls-port", strconv.Itoa(port), "--tls-cert-file", certFile, "--tls-key-file", keyFile,
		"--tls-ca-cert-file", certFile, "--tls-auth-clients", "optional",
	}, options...)...)
	s.Address = net.JoinHostPort("localhost", strconv.Itoa(port))
	return s, certFile
}

func (s *Server) start() {
	s.tb.Helper()
	tb, dir := s.tb, s.dir
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
}

// Run starts the server, again after Kill, and waits until it answers, for at most 10 seconds. The server must not be running.
func (s *Server) Run() {
	s.tb.Helper()
	// A Sentinel needs a config file. Other servers accept one.
	config := filepath.Join(s.dir, "redis.conf")
	if err := os.WriteFile(config, nil, 0o600); err != nil {
		s.tb.Fatal(err)
	}
	s.process = exec.Command(s.program, append([]string{
		config, "--port", "0", "--unixsocket", s.Socket, "--dir", s.dir, "--loglevel", "warning",
	}, s.options...)...)
	s.process.Env = append(os.Environ(), s.env...)
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

// answers reports whether the server answers and has loaded its data.
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

// Kill kills the server if it is running.
func (s *Server) Kill() {
	if s.process == nil {
		return
	}
	_ = s.process.Process.Kill()
	_ = s.process.Wait() // killed
	s.process = nil
}

// Pause stops the server, so that it answers nothing until Resume.
func (s *Server) Pause() { s.signal(syscall.SIGSTOP) }

// Resume lets a paused server continue.
func (s *Server) Resume() { s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) {
	s.tb.Helper()
	if err := s.process.Process.Signal(signal); err != nil {
		s.tb.Fatal(err)
	}
}

// Do sends a command and returns the answer as Redis sent it. The words of the command must not contain spaces. If the answer
// is an error, the test fails.
func (s *Server) Do(words ...string) string {
	s.tb.Helper()
	answer, err := s.ask(words...)
	if err != nil || answer[0] == '-' {
		s.tb.Fatalf("%s: %v: %s", words, err, answer)
	}
	return answer
}

// ask sends a command and returns the answer, which may be an error of Redis.
func (s *Server) ask(words ...string) (string, error) {
	conn, err := net.DialTimeout("unix", s.Socket, time.Second)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write([]byte(strings.Join(words, " ") + "\r\n")); err != nil {
		return "", err
	}
	answer := make([]byte, 64<<10)
	n, err := conn.Read(answer)
	return string(answer[:n]), err
}
