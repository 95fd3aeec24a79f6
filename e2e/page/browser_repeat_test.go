package page

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/chromedp/chromedp"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// A browser sends a chat once, whatever status the upstream has for it. After some statuses, a browser that got them
// would send it again by itself: over a kept connection, Chromium does so for 408, and for 421 in any case.
func TestBrowserSendsAChatOnce(t *testing.T) {
	statuses := []int{408, 409, 417, 421, 425, 426, 429, 431, 500, 503, 511}
	answers := make(map[string]http.HandlerFunc)
	for _, status := range statuses {
		answers[fmt.Sprint(status)] = sitetest.Answering(status, sitetest.Theirs)
	}
	upstream := sitetest.NewUpstream(t, sitetest.ByMessage(answers))
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, sitetest.Once)+"\nheader /page Content-Type text/html\nrespond /page \"<!doctype html><title>A page</title>\"")
	b := openBrowser(t, chromedp.Flag("ignore-certificate-errors", true))
	for _, site := range []string{s.Plain, s.Secure} { // over HTTP/1.1, and over HTTP/2
		b.open(site + "/page")
		for _, status := range statuses {
			const fetches = 3 // the first one makes the connection
			for range fetches {
				eval[int](b, fmt.Sprintf(`fetch(%q, { method: "POST", headers: { "Content-Type": "application/json" }, body: %q })
					.then((answer) => answer.text().then(() => answer.status), () => 0)`, sitetest.ChatPath, sitetest.Saying(fmt.Sprint(status))))
			}
			if asked := len(upstream.Take()); asked != fetches {
				t.Errorf("%s, %d: %d fetches have become %d requests", site, status, fetches, asked)
			}
		}
	}
}
