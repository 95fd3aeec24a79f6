package doctor

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/illumichat/caddy-illumichat/internal/doctor"
	"github.com/illumichat/caddy-illumichat/internal/doctor/site"
	"github.com/illumichat/caddy-illumichat/internal/localhost"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// findings collects the findings of a check.
type findings []doctor.Finding

func (f *findings) Add(found doctor.Finding) { *f = append(*f, found) }
func (*findings) Progress(string)            {}

// trustLocalhost makes this process, and those that it starts, trust the certificate of the tests' sites. crypto/x509 reads
// the file once.
func trustLocalhost(t *testing.T) {
	t.Helper()
	certificate, _ := localhost.Certificate(t)
	t.Setenv("SSL_CERT_FILE", certificate)
}

// check checks a site and returns the findings.
func check(t *testing.T, url string, options site.Options) findings {
	t.Helper()
	trustLocalhost(t)
	var found findings
	if options.Question == "" {
		options.Question = "/events 30"
	}
	if err := site.Check(t.Context(), url, options, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

// String returns the findings, a line each.
func (f findings) String() string {
	var text strings.Builder
	for _, found := range f {
		text.WriteString(string(found.Level) + " " + found.Check + ": " + found.Found + "\n")
	}
	return text.String()
}

// get returns the finding of a check, which must be the only one.
func (f findings) get(t *testing.T, name string) doctor.Finding {
	t.Helper()
	var got []doctor.Finding
	for _, found := range f {
		if found.Check == name {
			got = append(got, found)
		}
	}
	if len(got) != 1 {
		t.Fatalf("there are %d findings of %s:\n%s", len(got), name, f)
	}
	return got[0]
}

// want checks that the check name has found something of this level, with these words in its Found or Do.
func (f findings) want(t *testing.T, name string, level doctor.Level, words ...string) {
	t.Helper()
	got := f.get(t, name)
	if got.Level != level {
		t.Errorf("%s is %s, want %s:\n%s", name, got.Level, level, f)
	}
	for _, word := range words {
		if !strings.Contains(got.Found+"\n"+got.Do, word) {
			t.Errorf("%s does not say %q: %+v", name, word, got)
		}
	}
}

// wantNothingElse checks that no other check has found anything wrong, nor warns.
func (f findings) wantNothingElse(t *testing.T, names ...string) {
	t.Helper()
	for _, found := range f {
		if (found.Level == doctor.Wrong || found.Level == doctor.Warning) && !slices.Contains(names, found.Check) {
			t.Errorf("this should be well: %+v", found)
		}
	}
}

// wantOK checks that all of these checks have found nothing wrong.
func (f findings) wantOK(t *testing.T, names string) {
	t.Helper()
	for _, name := range strings.Fields(names) {
		f.want(t, name, doctor.OK)
	}
}

// paced returns a sandbox that writes its events with pauses, so that an answer takes half a second.
func paced(t *testing.T) *sandboxtest.Server {
	return sandboxtest.NewServer(t, sandbox.Options{Pace: 15 * time.Millisecond})
}

// slow returns a sandbox whose answers take more than a second. An answer that arrives at once after so long was held back.
func slow(t *testing.T) *sandboxtest.Server {
	return sandboxtest.NewServer(t, sandbox.Options{Pace: 40 * time.Millisecond})
}

// everything has all options that the check looks at.
const everything = "limit 20 1h\nallow_origins https://www.example.com\nresume"

// A site without a fault gives no warning, over TLS with HTTP/1.1, 2 and 3.
func TestHealthySite(t *testing.T) {
	s := sitetest.Serve(t, sitetest.ChatTo(paced(t), everything))
	found := check(t, s.Secure+sitetest.ChatPath, site.Options{Origin: "https://www.example.com"})
	found.wantNothingElse(t)
	found.want(t, "error_pages", doctor.Skipped, "no chat has failed with 502 or 504")
	found.wantOK(t, healthy+" limit certificate http/1.1 http/2 http/3")
}
