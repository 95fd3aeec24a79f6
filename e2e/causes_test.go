package e2e

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// oddToken has the characters that a quoted text escapes, so its exact bytes are not in such a text.
const oddToken = `odd-"token"\with-all-that-quotes-escape`

// theirWords are in everything that the upstream sends in these tests, together with the token.
const theirWords = "their-private-words"

// spoken are pieces of what was said: by the visitor, by the upstream, and of the token. No piece needs an escape.
var spoken = []string{"visitors-private", theirWords, "odd-", "with-all-that-quotes"}

// verbose has the global options that make Caddy log as much as it can.
const verbose = "grace_period 1ms\ndebug\nservers {\ntrace\nlog_credentials\n}"

// oddChat returns a directive for an upstream that was asked with oddToken.
func oddChat(t *testing.T, endpoint, subdirectives string) string {
	t.Helper()
	t.Setenv("TEST_ODD_TOKEN", oddToken)
	return fmt.Sprintf(`log
	illumichat %s {
		token {env.TEST_ODD_TOKEN}
		assistants *
		endpoint %s
		retry {
			attempts 2
			backoff 1ms
		}
		%s
	}`, sitetest.ChatPath, endpoint, subdirectives)
}

// wantUnspoken checks that a text of the log has nothing of what was said.
func wantUnspoken(t *testing.T, log string) {
	t.Helper()
	for line := range strings.Lines(log) {
		for _, piece := range spoken {
			if strings.Contains(line, piece) {
				t.Errorf("the log has %q: %s", piece, line)
			}
		}
	}
}

// wantCause waits for a line of the module whose cause ends with want.
func wantCause(t *testing.T, s *sitetest.Site, want string) {
	t.Helper()
	var causes []string
	sitetest.Eventually(t, "the cause is logged", func() bool {
		causes = nil
		log := s.Log()
		if !strings.HasSuffix(log, "\n") {
			return false
		}
		for _, line := range logLines(t, log) {
			if line.Cause != "" {
				causes = append(causes, line.Cause)
			}
		}
		return len(causes) > 0 && strings.Contains(log, `"msg":"handled request"`)
	})
	for _, cause := range causes {
		if strings.HasSuffix(cause, want) {
			return
		}
	}
	t.Errorf("got the causes %q, want %q", causes, want)
}

// However an HTTP/1.1 upstream breaks its answer, the log names the kind of the fault, and quotes nothing of the answer.
func TestCausesQuoteNoAnswer(t *testing.T) {
	words := oddToken + " " + theirWords
	head := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
	chunked := head + "Transfer-Encoding: chunked\r\n\r\n"
	first := fmt.Sprintf("%x\r\n%s\r\n", len(sitetest.Delta), sitetest.Delta)
	quoted, err := json.Marshal(words)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		name, want string
		answer     http.HandlerFunc
	}{
		{"no HTTP", "malformed status line", sitetest.Raw(words + "\r\n\r\n")},
		{"a bad status", "malformed status line", sitetest.Raw("HTTP/1.1 " + words + "\r\n\r\n")},
		{"a bad version", "malformed status line", sitetest.Raw("HTTP/" + words + " 200 OK\r\n\r\n")},
		{"a header without a colon", "malformed header", sitetest.Raw(head + words + "\r\n\r\n")},
		{"a header name with a space", "malformed header", sitetest.Raw(head + words + ": x\r\n\r\n")},
		{"a continued first line", "malformed header", sitetest.Raw("HTTP/1.1 200 OK\r\n " + words + "\r\n\r\n")},
		{"a bad length", "malformed Content-Length", sitetest.Raw(head + "Content-Length: " + words + "\r\n\r\n")},
		{"two lengths", "malformed Content-Length", sitetest.Raw(head + "Content-Length: 1\r\nContent-Length: " + words + "\r\n\r\n")},
		{"a bad transfer coding", "malformed Transfer-Encoding", sitetest.Raw(head + "Transfer-Encoding: " + words + "\r\n\r\n")},
		{"a bad trailer name", "malformed trailer", sitetest.Raw(head + "Transfer-Encoding: chunked\r\nTrailer: Content-Length, " + words + "\r\n\r\n")},
		{"a bad trailer", "malformed header", sitetest.Raw(chunked + first + "0\r\n" + words + "\r\n\r\n")},
		{"a bad chunk", malformedChunks, sitetest.Raw(chunked + words + "\r\n")},
		{"a bad later chunk", malformedChunks, sitetest.Raw(chunked + first + words + "\r\n")},
		{"a chunk without an end", malformedChunks, sitetest.Raw(chunked + "2\r\n: " + words)},
		{"an endless chunk line", malformedChunks, sitetest.Raw(chunked + strings.Repeat(words, 200))},
		{"a torn event", "unexpected EOF", sitetest.Raw(chunked + first + "99\r\n" + words)},
		{"a torn header", "unexpected EOF", sitetest.Raw(head + "X-Torn: " + words)},
		{"large headers", "the response headers are too large", sitetest.Raw(head + "X: " + strings.Repeat(words, 1<<18) + "\r\n\r\n")},
		{"a type", "its type is not that of a chat's answer", sitetest.Answering(200, words, "Content-Type", theirWords+"/"+theirWords)},
		{"a type with a parameter", "its type is text/html", sitetest.Answering(200, words, "Content-Type", "text/html; words="+theirWords)},
		{"an encoding", "its content coding is unknown", sitetest.Answering(200, words, "Content-Encoding", theirWords)},
		{"an error", "status 500", sitetest.Answering(500, `{"error":`+string(quoted)+`,"code":`+string(quoted)+`}`)},
		{"an error with a code", "status 400", sitetest.Answering(400, `{"error":`+string(quoted)+`,"code":"`+theirWords+`"}`)},
	} {
		t.Run(row.name, func(t *testing.T) {
			upstream := sitetest.NewUpstream(t, row.answer)
			s := sitetest.ServeWith(t, verbose, oddChat(t, upstream.URL, ""))
			_, _ = io.Copy(io.Discard, s.Ask(sitetest.Saying("visitors-private")).Body)
			wantCause(t, s, row.want)
			wantUnspoken(t, s.Log())
		})
	}
}

const malformedChunks = "malformed chunked encoding"

// However an HTTP/2 upstream breaks its answer, the log names the kind of the fault and its code, and quotes nothing.
func TestCausesQuoteNoHTTP2(t *testing.T) {
	words := []byte(oddToken + " " + theirWords)
	for _, row := range []struct {
		name, want string
		answer     func(*http2.Framer)
	}{
		{"GOAWAY", "HTTP/2 GOAWAY: ENHANCE_YOUR_CALM", func(f *http2.Framer) { _ = f.WriteGoAway(1, http2.ErrCodeEnhanceYourCalm, words) }},
		{"GOAWAY that drops the request", "HTTP/2 GOAWAY: ENHANCE_YOUR_CALM", func(f *http2.Framer) { _ = f.WriteGoAway(0, http2.ErrCodeEnhanceYourCalm, words) }},
		{"GOAWAY with a code of its own", "HTTP/2 GOAWAY with an unknown code", func(f *http2.Framer) { _ = f.WriteGoAway(1, 99, words) }},
		{"a reset", "HTTP/2 stream error: INTERNAL_ERROR", func(f *http2.Framer) { _ = f.WriteRSTStream(1, http2.ErrCodeInternal) }},
		{"no HPACK", "HTTP/2 connection error: COMPRESSION_ERROR", func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: []byte{0xff, 0xff, 0xff}, EndHeaders: true})
		}},
		{"a field name in upper case", "HTTP/2 stream error: PROTOCOL_ERROR", func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: append([]byte{0x88, 0, byte(len(words))}, append(words, 1, 'x')...), EndHeaders: true})
		}},
		{"no status", "HTTP/2 stream error: PROTOCOL_ERROR", func(f *http2.Framer) {
			_ = f.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: append([]byte{0, 1, 'x', byte(len(words))}, words...), EndHeaders: true})
		}},
		{"no frame", "HTTP/2 protocol error", func(f *http2.Framer) {
			_ = f.WriteRawFrame('t', 0, 0, nil)
			_ = f.WriteRawFrame(0, 0, 1<<30, make([]byte, 1<<20))
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := sitetest.ServeWith(t, verbose, oddChat(t, framesUpstream(t, row.answer), "transport http {\nversions h2c\n}"))
			_, _ = io.Copy(io.Discard, s.Ask(sitetest.Saying("visitors-private")).Body)
			wantCause(t, s, row.want)
			wantUnspoken(t, s.Log())
		})
	}
}

// framesUpstream starts an upstream that speaks HTTP/2 without TLS. After it has read a request, it calls answer and
// closes the connection. It returns the upstream's URL.
func framesUpstream(t *testing.T, answer func(*http2.Framer)) string {
	t.Helper()
	return rawUpstream(t, func(conn net.Conn) {
		defer conn.Close()
		if _, err := io.ReadFull(conn, make([]byte, len(http2.ClientPreface))); err != nil {
			return
		}
		framer := http2.NewFramer(conn, conn)
		_ = framer.WriteSettings()
		for {
			frame, err := framer.ReadFrame()
			if err != nil {
				return
			}
			if data, ok := frame.(*http2.DataFrame); ok && data.StreamEnded() {
				answer(framer)
				if tcp, ok := conn.(*net.TCPConn); ok {
					_ = tcp.CloseWrite() // a reset would take back what the client has not read yet
				}
				_, _ = io.Copy(io.Discard, conn)
				return
			}
		}
	})
}

// rawUpstream starts an upstream that serves each connection with serve until the test ends. It returns the URL.
func rawUpstream(t *testing.T, serve func(net.Conn)) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
	return "http://" + listener.Addr().String()
}

// The log says why no connection came about, without the names in the upstream's certificate.
func TestCausesOfConnections(t *testing.T) {
	closed := localhost.Port(t)
	plain := sitetest.NewUpstream(t, sitetest.Raw(theirWords))
	for _, row := range []struct{ name, endpoint, want string }{
		{"refused", fmt.Sprintf("http://127.0.0.1:%d", closed), fmt.Sprintf("dial tcp 127.0.0.1:%d: connection refused", closed)},
		{"no such host", "http://private.invalid", "dial: no such host"},
		{"no TLS", strings.Replace(plain.URL, "http:", "https:", 1), "the other side does not speak TLS"},
		{"another name", tlsUpstream(t, "127.0.0.2", time.Hour), "the certificate is for another name"},
		{"expired", tlsUpstream(t, "127.0.0.1", -time.Hour), "the certificate has expired or is not yet valid"},
		{"unknown authority", tlsUpstream(t, "127.0.0.1", time.Hour), "the certificate is signed by an unknown authority"},
		{"another protocol", rawTLSUpstream(t, &tls.Config{MaxVersion: tls.VersionTLS11}), "remote error: tls: protocol version not supported"},
	} {
		t.Run(row.name, func(t *testing.T) {
			s := sitetest.ServeWith(t, verbose, oddChat(t, row.endpoint, ""))
			_, _ = io.Copy(io.Discard, s.Ask(sitetest.Saying("visitors-private")).Body)
			if row.name == "no such host" && strings.Contains(s.Log(), "DNS") {
				t.Skip("this machine has no DNS that says so")
			}
			wantCause(t, s, row.want)
			wantUnspoken(t, s.Log())
		})
	}
}

// tlsUpstream starts an upstream with a certificate of its own for ip, which expires after the given time. The
// certificate's names hold theirWords. tlsUpstream returns the upstream's URL.
func tlsUpstream(t *testing.T, ip string, expires time.Duration) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{theirWords + ".example"}, IPAddresses: []net.IP{net.ParseIP(ip)},
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(expires),
	}
	template.Subject.CommonName, template.Issuer.CommonName = theirWords, theirWords
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return rawTLSUpstream(t, &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}})
}

// rawTLSUpstream starts an upstream that makes TLS handshakes and nothing else. It returns the URL.
func rawTLSUpstream(t *testing.T, config *tls.Config) string {
	t.Helper()
	return strings.Replace(rawUpstream(t, func(conn net.Conn) {
		defer conn.Close()
		_ = tls.Server(conn, config).Handshake()
	}), "http:", "https:", 1)
}

// The access log has no words of the upstream or of a visitor: a reason, a code and an id are logged if they have the
// form of one.
func TestRecordHasNoWords(t *testing.T) {
	finish := func(reason string) http.HandlerFunc {
		return sitetest.Answering(200, `data: {"type":"finish","finishReason":`+strconv.Quote(reason)+"}\n\n", "Content-Type", eventStream)
	}
	failed := func(code string) http.HandlerFunc {
		return sitetest.Answering(400, `{"error":"x","code":`+strconv.Quote(code)+`}`)
	}
	for _, row := range []struct {
		name, assistant string
		answer          http.HandlerFunc
		field, want     string
	}{
		{"a reason", "asst_1", finish("content-filter"), "finish_reason", "content-filter"},
		{"a text as the reason", "asst_1", finish("I say: " + theirWords), "finish_reason", "other"},
		{"a long reason", "asst_1", finish(theirWords + theirWords), "finish_reason", "other"},
		{"a code", "asst_1", failed("bad_request:model"), "code", "bad_request:model"},
		{"a text as the code", "asst_1", failed("I say: " + theirWords), "code", "bad_request:upstream"},
		{"an id", "asst_1", finish("stop"), "assistant", "asst_1"},
		{"a text as the id", "I ask: visitors-private", finish("stop"), "assistant", "other"},
	} {
		t.Run(row.name, func(t *testing.T) {
			upstream := sitetest.NewUpstream(t, row.answer)
			s := sitetest.ServeWith(t, "grace_period 1ms\ndebug", "log_append told {http.illumichat."+row.field+"}\n"+oddChat(t, upstream.URL, ""))
			chat := strings.Replace(sitetest.Hello, "asst_demo", row.assistant, 1)
			sitetest.ReadAll(t, s.Ask(chat))
			line := nextRecord(t, s, 1)
			if line.Illumichat[row.field] != row.want || line.appended["told"] != row.want {
				t.Errorf("got %s", line.raw)
			}
			wantUnspoken(t, s.Log())
		})
	}
}

// Redis repeats arguments in its replies. The log has the code of a reply, and not its words.
func TestCausesQuoteNoRedis(t *testing.T) {
	store := rawUpstream(t, func(conn net.Conn) {
		defer conn.Close()
		for read := make([]byte, 4096); ; {
			if _, err := conn.Read(read); err != nil {
				return
			}
			_, _ = io.WriteString(conn, "-ERR "+oddToken+" "+theirWords+"\r\n")
		}
	})
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.ServeWith(t, verbose, oddChat(t, upstream.URL, "resume\nstore redis {\naddress "+strings.TrimPrefix(store, "http://")+"\n}"))
	sitetest.ReadAll(t, s.Ask(sitetest.Saying("visitors-private")))
	sitetest.Eventually(t, "the reply is logged", func() bool { return strings.Contains(s.Log(), "Redis replied ERR") })
	wantUnspoken(t, s.Log())
}
