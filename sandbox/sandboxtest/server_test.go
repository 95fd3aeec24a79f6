package sandboxtest_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// ask sends a message to the server.
func ask(ctx context.Context, client *http.Client, url, message string) (*http.Response, error) {
	body := `{"assistantId":"asst_demo","messages":[{"role":"user","content":"` + message + `"}]}`
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("Authorization", "Bearer "+sandbox.Token)
	r.Header.Set("Content-Type", "application/json")
	return client.Do(r)
}

func TestRecord(t *testing.T) {
	hooked := 0
	srv := sandboxtest.NewServer(t, sandbox.Options{
		Pace:    time.Millisecond,
		OnEvent: func(*http.Request, int) { hooked++ },
	})
	before := time.Now()
	res, err := ask(t.Context(), srv.Client(), srv.URL, "/events 5")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Fatal(err)
	}
	res.Body.Close()

	r := srv.Request(t, 0)
	r.Wait(t)
	if r.Method != "POST" || r.Path != "/api/chat" || r.Proto != "HTTP/1.1" {
		t.Errorf("recorded %s %s %s", r.Method, r.Path, r.Proto)
	}
	if got := r.Header.Get("Content-Type"); got != "application/json" {
		t.Errorf("recorded Content-Type %q", got)
	}
	if !strings.Contains(string(r.Body), "/events 5") {
		t.Errorf("recorded body %s", r.Body)
	}
	if r.Canceled() {
		t.Error("a complete answer counts as canceled")
	}
	times := r.EventTimes()
	if len(times) != 6 || hooked != 6 {
		t.Fatalf("recorded %d events, told the hook of %d, want 6", len(times), hooked)
	}
	last := before
	for i, at := range append([]time.Time{r.ReceivedAt}, times...) {
		if at.Before(last) {
			t.Errorf("time %d is before the one it follows", i)
		}
		last = at
	}
}

func TestClientLeaves(t *testing.T) {
	servers := map[string]func(testing.TB, sandbox.Options) *sandboxtest.Server{
		"HTTP/1.1": sandboxtest.NewServer,
		"HTTP/2.0": sandboxtest.NewTLSServer,
	}
	for proto, newServer := range servers {
		for _, command := range []string{
			"/silent", "/hang", "/stall", "/endless", "/endless-event",
			"/slow 1h", "/slow-first 1h", "/talk-on 1h", "/drip 1 1h",
		} {
			t.Run(proto+command, func(t *testing.T) {
				t.Parallel()
				srv := newServer(t, sandbox.Options{})
				ctx, cancel := context.WithCancel(t.Context())
				left := make(chan struct{})
				go func() {
					defer close(left)
					res, err := ask(ctx, srv.Client(), srv.URL, command)
					if err != nil {
						return
					}
					_, _ = io.Copy(io.Discard, res.Body)
					res.Body.Close()
				}()

				r := srv.Request(t, 0)
				if r.Proto != proto {
					t.Errorf("the request came over %s", r.Proto)
				}
				if srv.Open() != 1 {
					t.Errorf("%d requests are open, want 1", srv.Open())
				}
				if r.Canceled() {
					t.Error("canceled before the client left")
				}
				before := time.Now()
				cancel()
				r.Wait(t)
				<-left
				if !r.Canceled() || r.CanceledAt().Before(before) {
					t.Errorf("canceled at %v, left after %v", r.CanceledAt(), before)
				}
				if srv.Open() != 0 {
					t.Errorf("%d requests are open, want 0", srv.Open())
				}
			})
		}
	}
}

func TestCloseEndsWhatIsOpen(t *testing.T) {
	srv := sandboxtest.NewServer(t, sandbox.Options{})
	failed := make(chan error)
	go func() {
		_, err := ask(context.Background(), srv.Client(), srv.URL, "/silent")
		failed <- err
	}()
	r := srv.Request(t, 0)
	srv.Close()
	if err := <-failed; err == nil {
		t.Error("the request was answered")
	}
	r.Wait(t)
}

func TestCertificate(t *testing.T) {
	srv := sandboxtest.NewTLSServer(t, sandbox.Options{})
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(srv.CertificatePEM()) {
		t.Fatal("the certificate is not PEM")
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	res, err := ask(t.Context(), &http.Client{Transport: transport}, srv.URL, "Hello")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != http.StatusOK {
		t.Errorf("got %s %s", res.Proto, res.Status)
	}
	if _, err := io.Copy(io.Discard, res.Body); err != nil {
		t.Error(err)
	}
}
