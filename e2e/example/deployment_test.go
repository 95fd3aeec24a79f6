package example

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/illumichat/caddy-illumichat/internal/docstest"
	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// decodeYAML decodes one document of YAML. It fails the test if the document has a key that the value has not, so a misspelled
// key cannot be overlooked.
func decodeYAML(t *testing.T, document string, into any) {
	t.Helper()
	decoder := yaml.NewDecoder(strings.NewReader(document))
	decoder.KnownFields(true)
	if err := decoder.Decode(into); err != nil {
		t.Fatalf("%v in:\n%s", err, document)
	}
	if err := decoder.Decode(new(any)); !errors.Is(err, io.EOF) {
		t.Fatalf("there is more than one document, or %v, in:\n%s", err, document)
	}
}

// header returns the comment at the top of an example's file, which has the steps.
func header(t *testing.T, file string) string {
	t.Helper()
	text, _, ok := strings.Cut(sitetest.ReadExample(t, file), "\n\n")
	if !ok || !strings.HasPrefix(text, "# ") {
		t.Fatalf("%s does not begin with a comment", file)
	}
	return text + "\n"
}

// wantCheckOfURL checks that the steps of an example include a check of the running site from outside.
func wantCheckOfURL(t *testing.T, file, url string) {
	t.Helper()
	if want := "#      caddy illumichat check " + url + "\n"; !strings.Contains(header(t, file), want) {
		t.Errorf("the steps of %s do not include %q", file, want)
	}
}

// option returns the only argument of an option that a Caddyfile has once.
func option(t *testing.T, caddyfile, name string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^\t+`+name+` (\S+)$`).FindAllStringSubmatch(caddyfile, -1)
	if len(found) != 1 {
		t.Fatalf("there are %d of the option %s in:\n%s", len(found), name, caddyfile)
	}
	return found[0][1]
}

// duration returns the time that an option of a Caddyfile sets.
func duration(t *testing.T, caddyfile, name string) time.Duration {
	t.Helper()
	return parseDuration(t, option(t, caddyfile, name))
}

func parseDuration(t *testing.T, text string) time.Duration {
	t.Helper()
	d, err := time.ParseDuration(text)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// defaultDuration returns the default of an option, as docs/caddyfile.md states it.
func defaultDuration(t *testing.T, option string) time.Duration {
	t.Helper()
	found := docstest.Read(t, "docs/caddyfile.md").Defaults(option)
	if len(found) == 0 {
		t.Fatalf("docs/caddyfile.md has no default of %s", option)
	}
	return parseDuration(t, found[0])
}

// caddyVersion returns the version of Caddy's image in a Dockerfile.
func caddyVersion(t *testing.T, dockerfile string) string {
	t.Helper()
	found := regexp.MustCompile(`(?m)^FROM caddy:([\d.]+)$`).FindStringSubmatch(dockerfile)
	if found == nil {
		t.Fatalf("there is no image of Caddy in:\n%s", dockerfile)
	}
	return found[1]
}

// replaceEach replaces texts, which are in pairs of old and new. Each old text must occur exactly once.
func replaceEach(t *testing.T, text string, pairs ...string) string {
	t.Helper()
	for i := 0; i < len(pairs); i += 2 {
		if n := strings.Count(text, pairs[i]); n != 1 {
			t.Fatalf("%q occurs %d times in:\n%s", pairs[i], n, text)
		}
		text = strings.Replace(text, pairs[i], pairs[i+1], 1)
	}
	return text
}

// No container runs in the tests of the examples for containers. They run a Caddyfile with addresses and paths of this machine.

// toSandbox replaces the assistant of a Caddyfile by the sandbox's, and its token's file by one with the sandbox's token.
func toSandbox(t *testing.T, caddyfile, tokenFile string) string {
	t.Helper()
	token := option(t, caddyfile, "token")
	return replaceEach(t, caddyfile,
		token, "{file."+tokenFile+"}\n\t\tendpoint {env.ILLUMICHAT_ENDPOINT}",
		"assistants asst_abc123", "assistants "+sandbox.Assistant)
}

// secretFile returns the path of a file that holds a secret, as a mounted secret does.
func secretFile(t *testing.T, secret string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "secret")
	sitetest.WriteFile(t, file, secret+"\n")
	return file
}

// wantContinued checks that a chat's answer can be read again, from its second event on, at a site that shares its Redis.
func wantContinued(t *testing.T, chat *http.Response, e *sitetest.RunningExample, url string) {
	t.Helper()
	id := chat.Header.Get("Illumichat-Stream")
	sitetest.Eventually(t, "the answer is known at "+url, func() bool {
		return strings.Contains(sitetest.ReadAll(t, e.Get(t, url, "Last-Event-ID: "+id+":1")), sitetest.Finished)
	})
}

// wantLeft checks how many chats the client has left in its last limit, that of an hour.
func wantLeft(t *testing.T, chat *http.Response, left int) {
	t.Helper()
	if got := chat.Header.Get("RateLimit"); !regexp.MustCompile(fmt.Sprintf(`;r=%d;t=\d+$`, left)).MatchString(got) {
		t.Errorf("the limits say %q, want %d chats to be left", got, left)
	}
}

// The Dockerfile builds this module with the Caddy version of go.mod. A test cannot build it without a container engine, so the
// file must be as plain as in the documentation of the image.
func TestDockerfileBuildsThisModule(t *testing.T) {
	file, err := os.ReadFile("Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	_, instructions, _ := strings.Cut(string(file), "\n\n")
	path, caddy := docstest.Module(t)
	want := fmt.Sprintf("FROM caddy:%[1]s-builder AS builder\n\nARG ILLUMICHAT_VERSION=latest\nRUN xcaddy build --with %[2]s@${ILLUMICHAT_VERSION}\n\n"+
		"FROM caddy:%[1]s\n\nCOPY --from=builder /usr/bin/caddy /usr/bin/caddy\n", caddy, path)
	if instructions != want {
		t.Errorf("the Dockerfile is %q, want %q", instructions, want)
	}
}

// systemd waits for Caddy's open chats: the unit's TimeoutStopSec is longer than each grace_period.
func TestUnitWaitsForGracePeriod(t *testing.T) {
	unit := sitetest.ReadExample(t, "systemd/illumichat.conf")
	seconds := func(text, setting string) (n int) {
		match := regexp.MustCompile(`(?m)^\s*` + setting + `(\d+)s$`).FindStringSubmatch(text)
		if match == nil {
			t.Fatalf("there is no %s", setting)
		}
		n, _ = strconv.Atoi(match[1])
		return n
	}
	wait := seconds(unit, "TimeoutStopSec=")
	texts := []string{sitetest.ReadExample(t, "production/Caddyfile")}
	for _, block := range docstest.Blocks(t, "caddyfile") {
		if strings.Contains(block.Text, "grace_period ") {
			texts = append(texts, block.Text)
		}
	}
	if len(texts) < 2 {
		t.Error("no Caddyfile of the documentation has a grace_period")
	}
	for _, text := range texts {
		if grace := seconds(text, "grace_period "); wait <= grace {
			t.Errorf("the unit waits for %d s, and Caddy's grace period is %d s", wait, grace)
		}
	}
}
