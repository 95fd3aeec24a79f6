package illumichat

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/sandbox"
)

// testedExamples are the files below example/ that a test runs.
var testedExamples = map[string]func(*testing.T){
	"Caddyfile":               TestExampleServesItsPageAndAChat,
	"existing-site/Caddyfile": TestExampleOfAnExistingSite,
}

func TestExamplesAreTestedAndListed(t *testing.T) {
	index, err := os.ReadFile("example/README.md")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	err = fs.WalkDir(os.DirFS("example"), ".", func(file string, _ fs.DirEntry, err error) error {
		if base := path.Base(file); base != "Caddyfile" && base != "caddy.json" {
			return err
		}
		found++
		if testedExamples[file] == nil {
			t.Errorf("no test runs example/%s", file)
		}
		if row := fmt.Sprintf("\n| [`example/%s`](%[1]s) |", file); !strings.Contains(string(index), row) {
			t.Errorf("example/README.md has no row for example/%s", file)
		}
		return err
	})
	if err != nil || found != len(testedExamples) {
		t.Errorf("there are %d examples, %v, and tests of %d", found, err, len(testedExamples))
	}
}

func TestExampleOfAnExistingSite(t *testing.T) {
	const site = "http://localhost:8080"
	e := runExample(t, "existing-site/Caddyfile", sandbox.Options{})
	e.wantPage(t, site)
	wantAnswer(t, e.chat(t, site, anyone))
	e.runCommands(t, "The app got GET /api/orders.", finished)

	before := runEdited(t, "existing-site/Caddyfile", sandbox.Options{}, func(text string) string {
		return regexp.MustCompile(`(?ms)^\tillumichat .*?^\t}\n`).ReplaceAllString(text, "")
	})
	for _, asked := range []string{
		"GET /", "GET /chat.css", "HEAD /chat.js", "GET /nothing", "POST /", "GET /api/orders", "POST /api/orders?n=1", "PUT /api/chat-proxy/",
	} {
		method, path, _ := strings.Cut(asked, " ")
		look := func(e *runningExample) string {
			resp := roundTrip(t, loopback, e.request(t, method, site+path, "", "Accept-Encoding: gzip"))
			resp.Header.Del("Date")
			return fmt.Sprint(resp.Status, resp.Header, readAll(t, resp))
		}
		if with, without := look(e), look(before); with != without {
			t.Errorf("%s: the directive changes the answer:\nwith:    %.1000q\nwithout: %.1000q", asked, with, without)
		}
	}
	if got, want := readAll(t, before.chat(t, site, anyone)), "The app got POST "+chatPath+"."; got != want {
		t.Errorf("without the directive, a chat is answered %q", got)
	}
}
