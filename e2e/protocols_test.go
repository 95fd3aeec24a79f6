package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/httpcaddyfile"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/internal/sse/ssetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// Over each protocol, an event reaches the visitor before the upstream sends the next one.
func TestEventsArriveOneByOneOverEachProtocol(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	s := sitetest.Serve(t, sitetest.ChatToURL(u.URL, ""))
	for proto, visitor := range sitetest.Protocols(t) {
		t.Run(proto, func(t *testing.T) {
			c := sitetest.Converse(t, u, visitor, sitetest.ChatRequest(t, s.Secure, sitetest.Hello))
			if c.Response.Proto != proto {
				t.Errorf("the answer came over %s", c.Response.Proto)
			}
			for range 20 {
				c.Step(t)
			}
			c.Finish(t)
		})
	}
}

// Over each protocol, an event reaches the visitor at most 250 ms after the upstream has written it.
func TestEventsArriveSoon(t *testing.T) {
	const bound = 250 * time.Millisecond
	server := sandboxtest.NewServer(t, sandbox.Options{Pace: 5 * time.Millisecond})
	s := sitetest.Serve(t, sitetest.ChatTo(server, ""))
	asked := 0
	for proto, visitor := range sitetest.Protocols(t) {
		t.Run(proto, func(t *testing.T) {
			resp := s.Send(visitor, sitetest.ChatRequest(t, s.Secure, sitetest.Saying("/events 30")))
			stream := bufio.NewReader(resp.Body)
			var heard []time.Time
			for range 31 {
				sitetest.NextEvent(t, stream)
				heard = append(heard, time.Now())
			}
			request := server.Request(t, asked)
			asked++
			request.Wait(t)
			for i, written := range request.EventTimes() {
				if took := heard[i].Sub(written); took > bound {
					t.Errorf("event %d took %s, want at most %s", i, took, bound)
				}
			}
		})
	}
}

// The response headers wait for the first event, and reach the visitor together with it.
func TestTheHeadWaitsForTheFirstEvent(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, ""))
	asked := 0
	for proto, visitor := range sitetest.Protocols(t) {
		t.Run(proto, func(t *testing.T) {
			resp := s.Send(visitor, sitetest.ChatRequest(t, s.Secure, sitetest.Saying("/slow-first 50ms /events 1")))
			head := time.Now()
			sitetest.ReadAll(t, resp)
			request := server.Request(t, asked)
			asked++
			if first := request.EventTimes()[0]; head.Before(first) {
				t.Errorf("the head came %s before the first event", first.Sub(head))
			}
		})
	}

	// Headers and event come in one packet, so a page that reads once sees the event.
	u := sitetest.NewHandUpstream(t)
	s.Reload(sitetest.ChatToURL(u.URL, ""))
	conn := sitetest.SendRaw(t, s, sitetest.RawChat(sitetest.Hello))
	u.Next(t).Say(t, sitetest.Numbered(1))
	first := make([]byte, 4<<10)
	n, err := conn.Read(first)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(first[:n]); !strings.HasPrefix(got, "HTTP/1.1 200") || !strings.Contains(got, sitetest.Numbered(1)) {
		t.Errorf("the first packet is %q", got)
	}
}

// If commit_after passes without an event, the visitor gets the response headers without one.
func TestTheHeadComesAfterCommitAfter(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, "commit_after 50ms"))
	asked := 0
	for proto, visitor := range sitetest.Protocols(t) {
		for _, command := range []string{"/hang", "/slow-first 1h"} {
			t.Run(proto+command, func(t *testing.T) {
				ctx, leave := context.WithTimeout(t.Context(), sitetest.Patience)
				defer leave()
				resp := s.Send(visitor, sitetest.ChatRequest(t, s.Secure, sitetest.Saying(command)).WithContext(ctx))
				request := server.Request(t, asked)
				asked++
				if resp.StatusCode != http.StatusOK || resp.Header.Get("Content-Type") != "text/event-stream" {
					t.Errorf("got %s, %q", resp.Status, resp.Header.Get("Content-Type"))
				}
				if n := len(request.EventTimes()); n != 0 {
					t.Errorf("the head came after %d events", n)
				}
			})
		}
	}
}

// When a visitor leaves, in whatever phase of the exchange, the upstream request is canceled within a second. The log
// has no error.
func TestTheUpstreamIsCanceledWhenTheVisitorLeaves(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, `
		log
		@committed header X-Commit early
		handle @committed {
			`+sitetest.ChatTo(server, "commit_after 1ms")+`
		}
		handle {
			`+sitetest.ChatTo(server, "commit_after off")+`
		}`)
	asked := 0
	for proto, visitor := range sitetest.Protocols(t) {
		for _, tc := range []struct {
			phase, command, commit string
			events                 int // that the visitor reads before leaving
			status                 int
		}{
			{"before the head", "/silent", "", 0, 499},
			{"before the first event", "/hang", "", 0, 499},
			{"after the committed head", "/hang", "early", 0, http.StatusOK},
			{"in the middle of a silent stream", "/stall 3", "", 3, http.StatusOK},
			{"in the middle of a busy stream", "/endless", "", 3, http.StatusOK},
			{"in the middle of an event", "/endless-event", "early", 0, http.StatusOK},
		} {
			name := proto + " " + tc.phase
			t.Run(name, func(t *testing.T) {
				ctx, leave := context.WithCancel(t.Context())
				defer leave()
				req := sitetest.ChatRequest(t, s.Secure, sitetest.Saying(tc.command)).WithContext(ctx)
				req.Header.Set("X-Test", name)
				req.Header.Set("X-Commit", tc.commit)

				seen := make(chan string, 1) // all of the answer that the visitor saw
				inPhase := make(chan struct{})
				go func() {
					var answer strings.Builder
					defer func() { seen <- answer.String() }()
					if tc.status == 499 {
						close(inPhase)
					}
					resp, err := visitor.RoundTrip(req)
					if err != nil {
						return
					}
					defer resp.Body.Close()
					stream := bufio.NewReader(io.TeeReader(resp.Body, &answer))
					for range 2 * tc.events { // an event and its blank line
						if _, err := stream.ReadString('\n'); err != nil {
							return
						}
					}
					if tc.status == http.StatusOK {
						close(inPhase)
					}
					_, _ = io.Copy(io.Discard, stream) // until the visitor leaves
				}()

				request := server.Request(t, asked)
				asked++
				select {
				case <-inPhase:
				case answer := <-seen:
					t.Fatalf("the exchange ended by itself, with %q", answer)
				case <-time.After(sitetest.Patience):
					t.Fatal("the visitor does not get so far")
				}
				if request.Canceled() {
					t.Error("canceled before the visitor left")
				}
				left := time.Now()
				leave()
				// The connection may end in order: over TLS the visitor sends a close_notify, and Caddy may answer it
				// before the connection is closed. Only an answer with a finish is complete.
				if answer := <-seen; strings.Contains(answer, `"type":"finish"`) {
					t.Errorf("the visitor saw a whole answer: %q", answer)
				}
				request.Wait(t)
				if !request.Canceled() {
					t.Fatal("the upstream's request was not canceled")
				}
				if took := request.CanceledAt().Sub(left); took > time.Second {
					t.Errorf("it took %s to cancel the upstream's request", took)
				}
				sitetest.Eventually(t, "the access log has the request", func() bool {
					status, ok := loggedStatus(t, s, name)
					if ok && status != tc.status {
						t.Fatalf("the access log has status %d, want %d", status, tc.status)
					}
					return ok
				})
			})
		}
	}
	for line := range strings.Lines(s.Log()) {
		if strings.Contains(line, `"level":"error"`) {
			t.Errorf("a visitor who leaves is no error, but this was logged: %s", line)
		}
	}
}

// loggedStatus returns the status that the access log has for the request whose X-Test is name.
func loggedStatus(tb testing.TB, s *sitetest.Site, name string) (status int, ok bool) {
	tb.Helper()
	for line := range strings.Lines(s.Log()) {
		if !strings.Contains(line, `"logger":"http.log.access`) || !strings.HasSuffix(line, "\n") {
			continue // of another logger, or being written
		}
		var access struct {
			Status  int
			Request struct{ Headers http.Header }
		}
		if err := json.Unmarshal([]byte(line), &access); err != nil {
			tb.Fatalf("reading the log: %v: %s", err, line)
		}
		if access.Request.Headers.Get("X-Test") == name {
			return access.Status, true
		}
	}
	return 0, false
}

// bodyTap is a Caddy handler that reports to a test how much of a request's body has been read.
type bodyTap struct{}

// tapped receives the number of bytes of each read of a body.
var tapped = make(chan int, 100)

func init() {
	caddy.RegisterModule(new(bodyTap))
	httpcaddyfile.RegisterHandlerDirective("body_tap", func(h httpcaddyfile.Helper) (caddyhttp.MiddlewareHandler, error) {
		return new(bodyTap), nil
	})
}

func (*bodyTap) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.body_tap", New: func() caddy.Module { return new(bodyTap) }}
}

func (*bodyTap) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	r.Body = &tappedBody{r.Body}
	return next.ServeHTTP(w, r)
}

type tappedBody struct{ io.ReadCloser }

func (b *tappedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if n > 0 {
		tapped <- n
	}
	return n, err
}

// A visitor who leaves is noticed even if the end of the body came in a packet of its own. net/http watches an HTTP/1.1
// connection only once the body has been read to its end, and a JSON decoder that stops at the closing brace does not
// read that far.
func TestTheUpstreamIsCanceledWhereTheBodyEndsInAPacketOfItsOwn(t *testing.T) {
	for name, tc := range map[string]struct{ framing, before, last string }{
		"the last byte":       {"Content-Length: " + strconv.Itoa(len(sitetest.Saying("/silent"))), sitetest.Saying("/silent")[:len(sitetest.Saying("/silent"))-1], "}"},
		"a trailing newline":  {"Content-Length: " + strconv.Itoa(len(sitetest.Saying("/silent"))+1), sitetest.Saying("/silent"), "\n"},
		"the terminating one": {"Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n", len(sitetest.Saying("/silent")), sitetest.Saying("/silent")), "0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			server := sandboxtest.NewServer(t, sandbox.Options{})
			s := sitetest.Serve(t, "route {\nbody_tap\n"+sitetest.ChatTo(server, "")+"\n}")
			conn := sitetest.SendRaw(t, s, "POST "+sitetest.ChatPath+" HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"+tc.framing+"\r\n\r\n"+tc.before)
			want := len(sitetest.Saying("/silent"))
			if tc.last == "}" {
				want--
			}
			for read := 0; read < want; {
				select {
				case n := <-tapped:
					read += n
				case <-time.After(sitetest.Patience):
					t.Fatalf("%d bytes of the body were read", read)
				}
			}
			if _, err := io.WriteString(conn, tc.last); err != nil {
				t.Fatal(err)
			}
			request := server.Request(t, 0)
			conn.Close()
			request.Wait(t)
			if !request.Canceled() {
				t.Error("the upstream's request was not canceled")
			}
			for len(tapped) > 0 {
				<-tapped
			}
		})
	}
}

// readChunks reads an answer over HTTP/1.1 and returns the chunks of its body.
func readChunks(tb testing.TB, conn net.Conn) []string {
	tb.Helper()
	r := bufio.NewReader(conn)
	text := textproto.NewReader(r)
	line, err := text.ReadLine()
	if err != nil || line != "HTTP/1.1 200 OK" {
		tb.Fatalf("got the status line %q, %v", line, err)
	}
	header, err := text.ReadMIMEHeader()
	if err != nil {
		tb.Fatal(err)
	}
	if length, err := strconv.Atoi(header.Get("Content-Length")); err == nil { // the upstream's answer came in one piece
		all := make([]byte, length)
		if _, err := io.ReadFull(r, all); err != nil {
			tb.Fatal(err)
		}
		return []string{string(all)}
	}
	if header.Get("Transfer-Encoding") != "chunked" {
		tb.Fatalf("got the header %v", header)
	}
	var chunks []string
	for {
		line, err := text.ReadLine()
		if err != nil {
			tb.Fatalf("reading the size of chunk %d: %v", len(chunks), err)
		}
		size, err := strconv.ParseUint(line, 16, 31)
		if err != nil {
			tb.Fatalf("reading the size of chunk %d: %v", len(chunks), err)
		}
		if size == 0 {
			return chunks
		}
		chunk := make([]byte, size+2)
		if _, err := io.ReadFull(r, chunk); err != nil {
			tb.Fatalf("reading chunk %d: %v", len(chunks), err)
		}
		chunks = append(chunks, string(chunk[:size]))
	}
}

// endsEvent reports whether stream ends with a blank line. The last line ends decide that; a chunk may end between the
// CR and the LF of the blank line.
func endsEvent(stream string) bool {
	return strings.HasSuffix(ssetest.OneLineEnd.Replace(stream[max(0, len(stream)-4):]), "\n\n")
}

// Over HTTP/1.1, every chunk ends with an event, unless the event is too large to buffer. The answer is byte for byte
// the upstream's.
func TestChunksEndWithEvents(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, sitetest.ChatTo(server, ""))
	// All requests continue the chat of the first answer, so that their finishes have the same id.
	resp := s.Ask(sitetest.Hello)
	id := resp.Header.Get("X-Chat-Id")
	sitetest.ReadAll(t, resp)

	for _, tc := range []struct {
		command  string
		inPieces bool
	}{
		{"/events 50", false},
		{"/burst 10 /events 95", false},
		{"/comments 2 /events 20", false},
		{"/chunk 7 /events 50", false},
		{"/chunk 7 /comments 2 /crlf /events 20", false},
		{"/chunk 4096 /events 500", false},
		{"/crlf /events 20", false},
		{"/crlf /burst 10 /events 95", false},
		{"/cr /events 20", false},
		{"/chunk 7 /cr /events 20", false},
		{"/large 4000", false},
		{"/large 60000", false},
		{"/chunk 1000 /large 60000", false},
		{"/large 65400", false},
		{"/large 300000", true},
		{"/chunk 1000 /crlf /large 300000", true},
		// A thousand events that are cut at every byte.
		{"/chunk 1 /events 1000", false},
	} {
		t.Run(tc.command, func(t *testing.T) {
			chat := strings.Replace(sitetest.Saying(tc.command), "{", `{"chatId":"`+id+`",`, 1)
			want := askSandbox(t, server, chat)
			chunks := readChunks(t, sitetest.SendRaw(t, s, sitetest.RawChat(chat)))
			got := strings.Join(chunks, "")
			if got != want {
				t.Fatalf("the answer differs from the upstream's: %s", sitetest.FirstDifference(got, want))
			}
			if tc.inPieces {
				if len(chunks) < 3 {
					t.Errorf("the large event came in %d chunks", len(chunks))
				}
				return
			}
			at := 0
			for i, chunk := range chunks {
				at += len(chunk)
				if !endsEvent(got[:at]) {
					t.Fatalf("chunk %d of %d ends within an event: %.200q", i, len(chunks), chunk)
				}
			}
		})
	}
}

// askSandbox sends a chat to the sandbox without the module in between, and returns the answer.
func askSandbox(tb testing.TB, server *sandboxtest.Server, chat string) string {
	tb.Helper()
	req, err := http.NewRequestWithContext(tb.Context(), http.MethodPost, server.URL, strings.NewReader(chat))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+sandbox.Token)
	req.Header.Set("Content-Type", "application/json")
	resp, err := server.Client().Do(req)
	if err != nil {
		tb.Fatal(err)
	}
	defer resp.Body.Close()
	return sitetest.ReadAll(tb, resp)
}
