package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
)

// The files in which a folder has the certificate of the upstream, and its key.
const (
	certFile = "cert.pem"
	keyFile  = "key.pem"
)

func writeCertificate(dir string) error {
	cert, key := localhost.PEM()
	if err := os.WriteFile(filepath.Join(dir, certFile), cert, 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, keyFile), key, 0o600)
}

// serveHTTP2Upstream answers as serveUpstream does, but by TLS with the certificate in a folder, and in HTTP/2. It is net/http's,
// which takes more of the machine, and from all targets alike.
func serveHTTP2Upstream(l net.Listener, dir string) error {
	server := &http.Server{Handler: http.HandlerFunc(answerRequest)}
	return server.ServeTLS(l, filepath.Join(dir, certFile), filepath.Join(dir, keyFile))
}

func answerRequest(w http.ResponseWriter, r *http.Request) {
	p, err := planOf(r)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := http.NewResponseController(w)
	if flusher.Flush() != nil {
		return
	}
	err = p.answer(func(events []byte, _ bool) error {
		if _, err := w.Write(events); err != nil {
			return err
		}
		return flusher.Flush()
	})
	if err == nil && p.Hold {
		<-r.Context().Done()
	}
}
