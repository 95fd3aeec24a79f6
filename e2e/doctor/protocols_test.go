package doctor

import (
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/doctor/site"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// A version of HTTP that is missing is found, if visitors miss it.
func TestProtocols(t *testing.T) {
	server := paced(t)
	for name, tc := range map[string]struct {
		protocols, directives string
		levels                map[string]doctor.Level
	}{
		"no HTTP/2": {"h1", "", map[string]doctor.Level{"http/1.1": doctor.OK, "http/2": doctor.Warning, "http/3": doctor.Note}},
		"no HTTP/3": {"h1 h2", "", map[string]doctor.Level{"http/1.1": doctor.OK, "http/2": doctor.OK, "http/3": doctor.Note}},
		"HTTP/3 is blocked": {
			"h1 h2", "header Alt-Svc `h3=\":{http.request.port}\"; ma=60`\n",
			map[string]doctor.Level{"http/1.1": doctor.OK, "http/2": doctor.OK, "http/3": doctor.Warning},
		},
		"HTTP/3 is elsewhere": {
			"h1 h2", "header Alt-Svc `h3=\":1\"; ma=60`\n",
			map[string]doctor.Level{"http/1.1": doctor.OK, "http/2": doctor.OK, "http/3": doctor.Note},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := sitetest.ServeWith(t, "grace_period 1ms\nservers {\nprotocols "+tc.protocols+"\n}", tc.directives+sitetest.ChatTo(server, everything))
			found := check(t, s.Secure+sitetest.ChatPath, site.Options{NoChat: true})
			for check, level := range tc.levels {
				found.want(t, check, level)
			}
			if f := found.get(t, "http/3"); f.Level == doctor.Warning {
				_, servers, _ := strings.Cut(f.Do, "\n")
				sitetest.Adapt(t, "{\n"+servers+"\n}\n:80")
			}
			found.want(t, "handler", doctor.OK)
			found.wantNothingElse(t, "http/2", "http/3")
		})
	}
}
