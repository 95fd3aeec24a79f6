package main

import (
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"

	"github.com/illumichat/caddy-illumichat/internal/localhost"
)

// The files of a run's folder with the certificate of the upstream and the site, its key, and both in one.
const (
	certFile = "cert.pem"
	keyFile  = "key.pem"
	bothFile = "both.pem"
)

func writeCertificate(dir string) error {
	cert, key := localhost.PEM()
	for name, text := range map[string][]byte{certFile: cert, keyFile: key, bothFile: slices.Concat(cert, key)} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// serveHTTP2Upstream answers as serveUpstream does, but over TLS with the certificate in a folder, and with HTTP/2 for proxies that
// support it. It is net/http's server, which takes more of the machine, and equally from all targets.
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
