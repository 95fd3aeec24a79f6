package stdlog

import (
	"bytes"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// private stands for what the other side of a connection sent.
const private = "private words"

var token = "ic_" + strings.Repeat("0", 40)

// lines is a writer of the standard logger that keeps what it gets.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// capture makes the standard logger write to the returned lines until the test ends.
func capture(t *testing.T) *lines {
	t.Helper()
	writer, flags := log.Writer(), log.Flags()
	t.Cleanup(func() {
		log.SetOutput(writer)
		log.SetFlags(flags)
	})
	got := new(lines)
	log.SetOutput(got)
	log.SetFlags(0)
	return got
}

// One filter lies over the writer, however often Guard is called. After a reload it lies over the new writer.
func TestGuardIsNotStacked(t *testing.T) {
	first := capture(t)
	for range 3 {
		Guard()
	}
	if f, ok := log.Writer().(*filter); !ok || f.next != io.Writer(first) {
		t.Fatalf("the writer is %#v", log.Writer())
	}
	second := new(lines)
	log.SetOutput(second)
	Guard()
	if f, ok := log.Writer().(*filter); !ok || f.next != io.Writer(second) {
		t.Fatalf("after a reload, the writer is %#v", log.Writer())
	}
}

// Lines of other packages pass unchanged, through packages log and log/slog. Only a token is removed.
func TestOtherLines(t *testing.T) {
	got := capture(t)
	Guard()
	log.Print("Unsolicited response received on idle HTTP channel starting with \"x\"")
	log.New(log.Writer(), "prefix: ", 0).Print("a line")
	slog.Info("a structured line", "key", "value")
	log.Printf("a token: %q", token)
	const want = "Unsolicited response received on idle HTTP channel starting with \"x\"\nprefix: a line\nINFO a structured line key=value\na token: \"REDACTED\"\n"
	if got.String() != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

// net/http logs that an upstream has sent something on an idle connection. The line gets through, and the upstream's
// bytes do not.
func TestUnsolicitedResponse(t *testing.T) {
	for what, wrap := range map[string]func(){
		"alone":                              func() {},
		"with another module's writer above": func() { log.SetOutput(struct{ io.Writer }{log.Writer()}) },
		"with another module's writer between two filters": func() {
			log.SetOutput(struct{ io.Writer }{log.Writer()})
			Guard()
		},
	} {
		t.Run(what, func(t *testing.T) {
			got := capture(t)
			Guard()
			wrap()
			askUnsolicited(t, `HTTP/1.1 200 OK`+"\r\n\r\n"+private+` "`+token)
			deadline := time.Now().Add(10 * time.Second)
			for got.String() == "" && time.Now().Before(deadline) {
				time.Sleep(time.Millisecond)
			}
			line := got.String()
			if !strings.HasPrefix(line, "Unsolicited response received on idle HTTP channel starting with (") ||
				!strings.HasSuffix(line, " bytes withheld: the other side may have sent them)\n") {
				t.Errorf("got %q", line)
			}
			if strings.Contains(line, private) || strings.Contains(line, "ic_") || strings.Count(line, "withheld") != 1 {
				t.Errorf("got %q", line)
			}
		})
	}
}

// askUnsolicited sends one request to a server that sends unsolicited bytes after its answer.
func askUnsolicited(t *testing.T, unsolicited string) {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	idle := make(chan struct{})
	go func() {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = conn.Read(make([]byte, 4096))
		_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		<-idle
		_, _ = io.WriteString(conn, unsolicited)
	}()
	transport := new(http.Transport)
	t.Cleanup(transport.CloseIdleConnections)
	resp, err := (&http.Client{Transport: transport}).Get("http://" + listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	_, _ = io.Copy(io.Discard, resp.Body)
	resp.Body.Close()
	close(idle)
}

// What is constant in a line stays, and the rest is withheld.
func TestShorten(t *testing.T) {
	const end = " bytes withheld: the other side may have sent them)\n"
	for line, want := range map[string]string{
		`Unsolicited response received on idle HTTP channel starting with "private"; err=<nil>` + "\n": "Unsolicited response received on idle HTTP channel starting with (20" + end,
		`http2: Transport encoding header "authorization" = "Bearer private"`:                          "http2: Transport encoding header (34" + end,
		`http2: decoded hpack field header field "x" = "private"`:                                      "http2: decoded hpack field (28" + end,
		`http2: header list too large`:                                                                 "http2: header list too large\n",
		`private`:                                                                                      "net/http logs a line (7" + end,
		`private 9 bytes withheld: the other side may have sent them)`:                                 "net/http logs a line (60" + end,
		"failed to sufficiently increase receive buffer size (was: 208 kiB, wanted: 7168 kiB, got: 416 kiB). See …": "failed to sufficiently increase receive buffer size (was: 208 kiB, wanted: 7168 kiB, got: 416 kiB). See …\n",
	} {
		if got := shorten("net/http", line); got != want {
			t.Errorf("%q: got %q, want %q", line, got, want)
		}
	}
}

// Only clients of HTTP and the libraries below them may quote the other side.
func TestMayQuote(t *testing.T) {
	for function, want := range map[string]bool{
		"net/http.(*persistConn).readLoopPeekFailLocked transport.go":                  true,
		"net/http.(*http2Transport).logf h2_bundle.go":                                 true,
		"net/http/internal/http2.(*Transport).logf transport.go":                       true,
		"golang.org/x/net/http2.(*Framer).readMetaFrame.func1 frame.go":                true,
		"github.com/quic-go/quic-go/internal/utils.(*defaultLogger).logMessage log.go": true,
		"github.com/redis/go-redis/v9/internal.(*DefaultLogger).Printf log.go":         true,

		"net/http.(*Server).logf server.go":                         false,
		"net/http.(*http2serverConn).logf h2_bundle.go":             false,
		"golang.org/x/net/http2.(*serverConn).logf server.go":       false,
		"net/http.sanitizeOrWarn cookie.go":                         false,
		"net/http/httputil.(*ReverseProxy).logf reverseproxy.go":    false,
		"github.com/caddyserver/caddy/v2.(*Logging).closeLogs l.go": false,
		"github.com/quic-gopher/x.Log l.go":                         false,
		"main.main main.go":                                         false,
	} {
		name, file, _ := strings.Cut(function, " ")
		if got := mayQuote(packageOf(name), runtime.Frame{Function: name, File: "/src/" + file}); got != want {
			t.Errorf("%s: got %v", function, got)
		}
	}
}
