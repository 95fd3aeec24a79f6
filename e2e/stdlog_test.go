package e2e

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/http2"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

const unsolicited = "Unsolicited response received on idle HTTP channel starting with ("

// talkativeUpstream starts an upstream that answers each request, and then sends the request's credentials and
// theirWords on the kept connection, as an answer that nobody has asked for.
func talkativeUpstream(t *testing.T) string {
	t.Helper()
	return rawUpstream(t, func(conn net.Conn) {
		defer conn.Close()
		requests := bufio.NewReader(conn)
		for {
			req, err := http.ReadRequest(requests)
			if err != nil {
				return
			}
			_, _ = io.Copy(io.Discard, req.Body)
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%s", len(sitetest.Finish), sitetest.Finish)
			_, _ = fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nX-Credentials: %s\r\nX-Words: %s\r\n\r\n", req.Header.Get("Authorization"), theirWords)
		}
	})
}

// withLogging returns a config with other logging. Caddy gives the standard logger another writer if a config has a sink
// for it, or no default log.
func withLogging(t *testing.T, config []byte, logging map[string]any) []byte {
	t.Helper()
	var fields map[string]any
	if err := json.Unmarshal(config, &fields); err != nil {
		t.Fatal(err)
	}
	for name, value := range logging {
		fields["logging"].(map[string]any)[name] = value
	}
	config, err := json.Marshal(fields)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// noDefaultLog is the logging of a config without a default log.
var noDefaultLog = map[string]any{"logs": map[string]any{}}

// net/http logs up to 4 KiB of what an upstream sends on an idle connection. The line gets into the log without these
// bytes, also after reloads, and wherever Caddy puts the lines of the standard logger.
func TestUnsolicitedBytesAreWithheld(t *testing.T) {
	s := sitetest.New(t, verbose)
	directives := oddChat(t, talkativeUpstream(t), "")
	p := sitetest.Run(t, s, directives)
	sink := filepath.Join(t.TempDir(), "sink.log")
	plain := s.Adapt(directives)
	told := 0
	ask := func(when string, log func() string) {
		t.Helper()
		sitetest.ReadAll(t, s.Send(sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, sitetest.Saying("visitors-private"))))
		told++
		sitetest.Eventually(t, "the line is logged "+when, func() bool { return strings.Count(log(), unsolicited) == told })
		wantUnspoken(t, log())
	}
	ask("at first", p.Output)
	p.Reload(t, plain)
	ask("after a reload", p.Output)
	p.Reload(t, withLogging(t, plain, map[string]any{"sink": map[string]any{"writer": map[string]any{"output": "file", "filename": sink}}}))
	outside := told
	told = 0
	ask("in the sink", func() string {
		log, err := os.ReadFile(sink)
		if err != nil {
			t.Fatal(err)
		}
		return string(log)
	})
	told = outside
	p.Reload(t, withLogging(t, plain, noDefaultLog))
	ask("without a default log", p.Output)
	wantUnspoken(t, s.Log())
}

// After a reload to a config without this module, streams of the previous config go on. The lines of net/http are still
// shortened then, although no handler of this module is left.
func TestWithheldWithoutHandler(t *testing.T) {
	s := sitetest.New(t, verbose)
	p := sitetest.Run(t, s, oddChat(t, talkativeUpstream(t), ""))
	other := s.Adapt("reverse_proxy " + strings.TrimPrefix(talkativeUpstream(t), "http://"))
	p.Reload(t, withLogging(t, other, noDefaultLog))
	sitetest.ReadAll(t, s.Send(sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, sitetest.Hello)))
	sitetest.Eventually(t, "the line is logged", func() bool { return strings.Contains(p.Output(), unsolicited) })
	wantUnspoken(t, p.Output())
}

// With GODEBUG=http2debug=2, net/http logs each header that it sends and each frame. The token is not in there.
func TestHTTP2DebugHasNoToken(t *testing.T) {
	t.Setenv("GODEBUG", "http2debug=2")
	s := sitetest.New(t, verbose)
	endpoint := framesUpstream(t, func(f *http2.Framer) { _ = f.WriteGoAway(1, http2.ErrCodeNo, []byte(oddToken+theirWords)) })
	p := sitetest.Run(t, s, oddChat(t, endpoint, "transport http {\nversions h2c\n}"))
	sitetest.ReadAll(t, s.Ask(sitetest.Saying("visitors-private")))
	sitetest.Eventually(t, "the header is logged", func() bool {
		return strings.Contains(p.Output(), "http2: Transport encoding header (")
	})
	wantUnspoken(t, p.Output())
	wantUnspoken(t, s.Log())
}
