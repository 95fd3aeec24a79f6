package doctor

import (
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/doctor/site"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// Faults that keep a visitor from continuing or stopping an answer are found.
func TestResume(t *testing.T) {
	server := paced(t)
	other := strings.Replace(sitetest.ChatToURL(server.URL+"?other", everything), sitetest.ChatPath, "/other", 1)
	for name, tc := range map[string]struct {
		nginx    string
		words    []string
		expected string // other checks that find this
	}{
		"only POST passes":     {"if ($request_method != POST) { return 403; }", []string{"a GET does not reach the chat"}, ""},
		"no DELETE passes":     {"if ($request_method = DELETE) { return 405; }", []string{"DELETE", "405 with an HTML page from nginx"}, ""},
		"a page cannot choose": {`proxy_set_header Illumichat-Stream ""; proxy_set_header Host $http_host;`, []string{"the page chose"}, ""},
		"another instance":     {"if ($request_method = GET) { rewrite ^ /other; }", []string{"cannot be found again", "store redis"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.Serve(t, sitetest.ChatTo(server, everything)+"\n"+other)
			found := check(t, behindNginx(t, s, tc.nginx)+sitetest.ChatPath, site.Options{})
			found.want(t, "resume", doctor.Wrong, tc.words...)
			found.wantNothingElse(t, "resume", tc.expected)
		})
	}
	for _, r := range server.Requests() {
		r.Wait(t) // no answer goes on
	}
}

// Without resume, the check says so. An answer that is too short to be cut is no fault.
func TestNoResume(t *testing.T) {
	server := paced(t)
	s := sitetest.Serve(t, sitetest.ChatTo(server, "limit 20 1h"))
	found := check(t, s.Secure+sitetest.ChatPath, site.Options{})
	found.want(t, "resume", doctor.Note, "no resume")

	s.Reload(sitetest.ChatTo(server, everything))
	found = check(t, s.Secure+sitetest.ChatPath, site.Options{Question: "/events 1"})
	found.want(t, "resume", doctor.Skipped, "too short")
	found.wantNothingElse(t)
}
