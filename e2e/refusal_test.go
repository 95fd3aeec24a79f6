package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// aLot is more than the sockets' buffers hold, in bytes. So a visitor can send it only if the server reads it.
const aLot = 3 << 20

// refusals are requests that are refused before their body is read to its end. Their heads lack the body's framing.
var refusals = []struct {
	name, method, path, header string
	status                     int
	code                       string
}{
	{"too large", "POST", "/api/chat-proxy", "Content-Type: application/json\r\n", 413, "too_large:chat"},
	{"not JSON", "POST", "/api/chat-proxy", "Content-Type: text/plain\r\n", 415, "unsupported_media_type:chat"},
	{"another origin", "POST", "/api/chat-proxy", "Content-Type: application/json\r\nSec-Fetch-Site: cross-site\r\n", 403, "forbidden:origin"},
	{"another method", "PUT", "/api/chat-proxy", "Content-Type: application/json\r\n", 405, "method_not_allowed:chat"},
}

// sender is a visitor who sends a whole request before they read the response, as Firefox and many proxies do.
type sender struct {
	net.Conn
	tb testing.TB
}

// newSender connects to the site. Its buffer is small, so it sends little before the server reads.
func newSender(tb testing.TB, url string) sender {
	tb.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	if err := conn.(*net.TCPConn).SetWriteBuffer(64 << 10); err != nil {
		tb.Fatal(err)
	}
	if err := conn.SetDeadline(time.Now().Add(sitetest.Patience)); err != nil {
		tb.Fatal(err)
	}
	return sender{conn, tb}
}

func (s sender) send(text string) {
	s.tb.Helper()
	if _, err := io.WriteString(s.Conn, text); err != nil {
		s.tb.Fatalf("sending the request: %v", err)
	}
}

func (s sender) response() *http.Response {
	s.tb.Helper()
	return readResponse(s.tb, s.Conn)
}

// requestHead returns the head of a request with further fields.
func requestHead(method, path, header string) string {
	return fmt.Sprintf("%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\n%s\r\n", method, path, header)
}

// inChunks returns a body of the given size in chunks of 64 KiB.
func inChunks(size int) string {
	const chunk = 64 << 10
	return strings.Repeat(fmt.Sprintf("%x\r\n%s\r\n", chunk, strings.Repeat("x", chunk)), size/chunk) + "0\r\n\r\n"
}

// largeBodies are the two ways to send a body of the given size over HTTP/1.1.
func largeBodies(size int) map[string]struct{ header, body string } {
	return map[string]struct{ header, body string }{
		"with a length": {fmt.Sprintf("Content-Length: %d\r\n", size), strings.Repeat("x", size)},
		"in chunks":     {"Transfer-Encoding: chunked\r\n", inChunks(size)},
	}
}

// Over HTTP/1.1, each refusal arrives at a visitor who reads it only after they have sent a large body.
func TestRefusalArrivesAfterALargeBody(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	for _, name := range []string{"Caddy's defaults", "no idle timeouts"} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.ServeWith(t, withTimeouts(serverTimeouts[name]), sitetest.ChatToURL(upstream.URL, "max_body_size 64KiB"))
			for _, row := range refusals {
				for way, framing := range largeBodies(aLot) {
					t.Run(row.name+"/"+way, func(t *testing.T) {
						visitor := newSender(t, s.Plain)
						visitor.send(requestHead(row.method, row.path, row.header+framing.header))
						visitor.send(framing.body)
						sitetest.WantError(t, visitor.response(), row.status, row.code)
					})
				}
			}
		})
	}
	if asked := upstream.Take(); len(asked) != 0 {
		t.Errorf("the upstream got %d requests", len(asked))
	}
}

// The limit of request_body is noticed while the module reads. Its 413 arrives, too.
func TestRefusalByRequestBodyArrives(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, "request_body {\n max_size 64KiB\n}\n"+sitetest.ChatToURL(upstream.URL, ""))
	visitor := newSender(t, s.Plain)
	visitor.send(requestHead("POST", sitetest.ChatPath, "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n"))
	visitor.send(inChunks(aLot))
	sitetest.WantError(t, visitor.response(), http.StatusRequestEntityTooLarge, "too_large:chat")
}

// An error that intercept replaces arrives as well, with a body of another length.
func TestReplacedRefusalArrives(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	text := strings.Repeat("The chat is too long. ", 20)
	s := sitetest.Serve(t, "intercept {\n @large status 413\n handle_response @large {\n respond `"+text+"` 400\n }\n}\n"+
		sitetest.ChatToURL(upstream.URL, "max_body_size 64KiB"))
	for way, framing := range largeBodies(aLot) {
		visitor := newSender(t, s.Plain)
		visitor.send(requestHead("POST", sitetest.ChatPath, "Content-Type: application/json\r\n"+framing.header))
		visitor.send(framing.body)
		resp := visitor.response()
		if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusBadRequest || body != text {
			t.Errorf("%s: got status %d, %q", way, resp.StatusCode, body)
		}
	}
}

// On a slow uplink, the body takes longer than net/http waits for a visitor to read the response.
func TestRefusalArrivesOnASlowUplink(t *testing.T) {
	const size, piece = 1 << 20, 32 << 10
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "max_body_size 64KiB"))
	for way, framing := range largeBodies(size) {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			visitor := newSender(t, s.Plain)
			visitor.send(requestHead("POST", sitetest.ChatPath, "Content-Type: application/json\r\n"+framing.header))
			uplink := time.NewTicker(40 * time.Millisecond) // 0.8 MB/s: 1.3 s in all
			defer uplink.Stop()
			for rest := framing.body; rest != ""; <-uplink.C {
				n := min(piece, len(rest))
				visitor.send(rest[:n])
				rest = rest[n:]
			}
			sitetest.WantError(t, visitor.response(), http.StatusRequestEntityTooLarge, "too_large:chat")
		})
	}
}

// A visitor who reads early gets the refusal at once, and whole: one who waits for a 100 before they send, and one who
// reads while they send.
func TestRefusalComesAtOnce(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "max_body_size 64KiB"))
	large := fmt.Sprintf("Content-Length: %d\r\n", aLot)
	for _, row := range refusals {
		for name, sent := range map[string]struct{ header, body string }{
			"waiting with a large body":   {large + "Expect: 100-continue\r\n", ""},
			"waiting with a smaller body": {"Content-Length: 100000\r\nExpect: 100-continue\r\n", ""},
			"sending a large body":        {large, "{"},
			"sending in chunks":           {"Transfer-Encoding: chunked\r\n", strings.TrimSuffix(inChunks(128<<10), "0\r\n\r\n")},
		} {
			t.Run(row.name+"/"+name, func(t *testing.T) {
				visitor := newSender(t, s.Plain)
				visitor.send(requestHead(row.method, row.path, row.header+sent.header) + sent.body)
				sitetest.WantError(t, visitor.response(), row.status, row.code) // nothing more is sent until it has come
			})
		}
	}
}

// A visitor who trickles, or who stops, is cut off.
func TestRefusedVisitorIsCutOff(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "max_body_size 64KiB\n body_timeout 300ms"))
	for _, row := range refusals {
		for _, framing := range []string{fmt.Sprintf("Content-Length: %d\r\n", aLot), "Content-Length: 100000\r\n", "Transfer-Encoding: chunked\r\n"} {
			for name, text := range map[string]string{"trickling": "1\r\nx\r\n", "stopping": ""} {
				t.Run(row.name+"/"+strings.TrimSpace(framing)+"/"+name, func(t *testing.T) {
					t.Parallel()
					visitor := newSender(t, s.Plain)
					visitor.send(requestHead(row.method, row.path, row.header+framing))
					closed := make(chan struct{})
					go func() {
						defer close(closed)
						_, _ = io.Copy(io.Discard, visitor) // a reset is an end, too
					}()
					for tick := time.NewTicker(10 * time.Millisecond); ; {
						select {
						case <-closed:
							return
						case <-tick.C:
							_, _ = io.WriteString(visitor, text)
						}
					}
				})
			}
		}
	}
}

// A visitor who still sends when body_timeout has passed reads the 408, and no reset.
func TestSlowVisitorReadsTheTimeout(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	for _, name := range []string{"Caddy's defaults", "no idle timeouts"} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.ServeWith(t, withTimeouts(serverTimeouts[name]), sitetest.ChatToURL(upstream.URL, "body_timeout 200ms"))
			visitor := newSender(t, s.Plain)
			visitor.send(requestHead("POST", sitetest.ChatPath, "Content-Type: application/json\r\nContent-Length: 100000\r\n"))
			uplink := time.NewTicker(10 * time.Millisecond)
			defer uplink.Stop()
			for range 60 {
				visitor.send("x")
				<-uplink.C
			}
			sitetest.WantError(t, visitor.response(), http.StatusRequestTimeout, "timeout:chat")
		})
	}
}

// Over HTTP/2 and HTTP/3, a refusal ends only its own stream: the connection serves the next chat.
func TestRefusalKeepsTheConnection(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "max_body_size 64KiB"))
	for proto, visitor := range sitetest.Protocols(t) {
		if proto == "HTTP/1.1" {
			continue
		}
		req := sitetest.ChatRequest(t, s.Secure, strings.Repeat("x", aLot))
		sitetest.WantError(t, s.Send(visitor, req), http.StatusRequestEntityTooLarge, "too_large:chat")

		reused := proto == "HTTP/3.0" // which reports nothing to httptrace
		req = sitetest.ChatRequest(t, s.Secure, sitetest.Hello)
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
			GotConn: func(conn httptrace.GotConnInfo) { reused = conn.Reused },
		}))
		if body := sitetest.ReadAll(t, s.Send(visitor, req)); body != sitetest.Finish || !reused {
			t.Errorf("%s: got %q, on the same connection: %v", proto, body, reused)
		}
	}
}

// Over HTTP/1.1, the connection serves the next chat if the body that was refused is small. Nothing of the refusal is left
// on it, such as a deadline, whoever has read the body and however long another handler took.
func TestSmallRefusalKeepsTheConnection(t *testing.T) {
	u := sitetest.NewHandUpstream(t)
	slow := sitetest.NewUpstream(t, func(http.ResponseWriter, *http.Request) {
		time.Sleep(150 * time.Millisecond) // longer than read_body
	})
	for name, timeouts := range map[string]string{
		"Caddy's defaults": "", "no idle timeouts": serverTimeouts["no idle timeouts"],
		"a read timeout": "read_body 100ms", "a read timeout and no idle timeout": "read_body 100ms\n read_body_idle -1s\n write_idle -1s",
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.ServeWith(t, withTimeouts(timeouts), fmt.Sprintf("route {\n %s\n @slow header X-Slow yes\n forward_auth @slow %s {\n uri /\n }\n %s\n}",
				readBefore, slow.URL, sitetest.ChatToURL(u.URL, "body_timeout 100ms")))
			for _, header := range []string{"", "X-Read-Before: yes\r\n", "X-Slow: yes\r\n", "X-Read-Before: yes\r\nX-Slow: yes\r\n"} {
				visitor := newSender(t, s.Plain)
				in := bufio.NewReader(visitor)
				visitor.send(requestHead("POST", sitetest.ChatPath, header+"Content-Type: text/plain\r\nContent-Length: 2\r\n") + "Hi")
				resp, err := http.ReadResponse(in, nil)
				if err != nil {
					t.Fatal(err)
				}
				sitetest.WantError(t, resp, http.StatusUnsupportedMediaType, "unsupported_media_type:chat")
				if resp.Close {
					t.Errorf("%q: the connection is closed", header)
					continue
				}
				visitor.send(sitetest.RawChat(sitetest.Hello))
				answer := u.Next(t)
				answer.Say(t, sitetest.Delta)
				select {
				case <-answer.Over:
					t.Errorf("%q: the next chat on the connection is canceled", header)
					continue
				case <-time.After(200 * time.Millisecond): // longer than each deadline
				}
				answer.Say(t, sitetest.Finish)
				answer.End()
				if resp, err = http.ReadResponse(in, nil); err != nil {
					t.Fatal(err)
				}
				if body := sitetest.ReadAll(t, resp); body != sitetest.Delta+sitetest.Finish {
					t.Errorf("%q: got %q", header, body)
				}
			}
		})
	}
}

// A refusal arrives through nginx, whether nginx buffers requests or not.
func TestRefusalArrivesThroughNginx(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "max_body_size 64KiB"))
	for _, buffering := range []string{"on", "off"} {
		url := sitetest.ServeNginx(t, fmt.Sprintf("location / { proxy_pass %s; proxy_request_buffering %s; }", s.Plain, buffering))
		for _, size := range []int{100 << 10, 300 << 10, 1500 << 10, 6 << 20} {
			for range 4 {
				resp := s.Send(sitetest.OneShot, sitetest.ChatRequest(t, url, strings.Repeat("x", size)))
				sitetest.WantError(t, resp, http.StatusRequestEntityTooLarge, "too_large:chat")
			}
		}
	}
}
