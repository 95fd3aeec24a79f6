package site

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
)

// All connections go to the address that was reached first, whatever the name resolves to later.
func TestPin(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "first") })
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "second") }))
	defer other.Close()
	for range 2 {
		a, err := c.client.ask(t.Context(), http1Protocol, invalidChat)
		if err != nil || a.body != "first" {
			t.Fatalf("got %+v, %v", a, err)
		}
		c.client.kept = map[protocol]*connection{}
		c.client.target = mustParse(t, other.URL)
	}
}

// A request says who sends it, and an answer to it is read no further than it must be.
func TestAsk(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != userAgent || r.Header.Get("Accept-Encoding") != "gzip" {
			t.Errorf("got the request header %v", r.Header)
		}
		_, _ = io.WriteString(w, strings.Repeat("x", 10*maxBody))
	})
	a, err := c.client.ask(t.Context(), http1Protocol, invalidChat)
	if err != nil || len(a.body) != maxBody {
		t.Errorf("got %d bytes, %v", len(a.body), err)
	}
}

// A check that is interrupted ends at once, with an error.
func TestInterrupted(t *testing.T) {
	asked := make(chan struct{})
	c, found := serve(t, func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		close(asked)
		<-r.Context().Done()
	})
	ctx, interrupt := context.WithCancel(t.Context())
	go func() {
		<-asked
		interrupt()
	}()
	begun := time.Now()
	if err := c.run(ctx); err != ErrInterrupted {
		t.Errorf("got the error %v", err)
	}
	if took := time.Since(begun); took > requestTimeout/2 {
		t.Errorf("it took %s", took)
	}
	for _, f := range *found {
		t.Errorf("the interruption is a finding: %+v", f)
	}
}

// A name below localhost is this machine, whether DNS knows it or not.
func TestNameBelowLocalhost(t *testing.T) {
	c, _ := serve(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Host) })
	port := c.target.url.Port()
	c.client.target = mustParse(t, "http://no-such-shop.localhost:"+port+"/chat")
	a, err := c.client.ask(t.Context(), http1Protocol, invalidChat)
	if err != nil || a.body != "no-such-shop.localhost:"+port {
		t.Errorf("got %+v, %v", a, err)
	}
}

// A server that answers in HTTP/1.0 is judged by its answer.
func TestHTTP10(t *testing.T) {
	c, found := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.0 400 Bad Request\r\nContent-Type: application/json\r\n\r\n"+`{"error":"messages is missing","code":"bad_request:chat"}`)
	})
	if !c.checkConnection(t.Context()) || !c.checkHandler(t.Context()) {
		t.Errorf("got %+v", *found)
	}
	if last := (*found)[len(*found)-1]; last.Found != "the chat answers over HTTP/1.0" {
		t.Errorf("got %+v", last)
	}
}

// Nothing is said about tokens if nothing has arrived.
func TestNothingArrived(t *testing.T) {
	c, found := serve(t, nil)
	c.reportToken()
	if f := (*found)[0]; f.Check != checkToken || f.Level != doctor.Skipped {
		t.Errorf("got %+v", f)
	}
}
