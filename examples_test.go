package illumichat

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// testedExamples are the files below example/ that a test runs.
var testedExamples = map[string]func(*testing.T){
	"Caddyfile":               TestExampleServesItsPageAndAChat,
	"cluster/Caddyfile":       TestExampleOfACluster,
	"existing-site/Caddyfile": TestExampleOfAnExistingSite,
	"json/caddy.json":         TestExampleInJSON,
	"login/Caddyfile":         TestExampleOfALogin,
	"other-origin/Caddyfile":  TestExampleOfAnotherOrigin,
	"production/Caddyfile":    TestExampleOfProduction,
	"several-sites/Caddyfile": TestExampleOfSeveralSites,
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
	e.wantLimits(t, "20/1h 2000/24h:site, 3 a client")
	e.wantPrivate(t, ":8081")
	if resp := e.get(t, site+"/chat.css", "Accept-Encoding: gzip"); resp.Header.Get("Content-Encoding") != "gzip" ||
		resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the site has lost its own headers: %v", resp.Header)
	}

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
			return fmt.Sprint(resp.Status, resp.Header, sitetest.ReadAll(t, resp))
		}
		if with, without := look(e), look(before); with != without {
			t.Errorf("%s: the directive changes the answer:\nwith:    %.1000q\nwithout: %.1000q", asked, with, without)
		}
	}
	if got, want := sitetest.ReadAll(t, before.chat(t, site, anyone)), "The app got POST "+sitetest.ChatPath+"."; got != want {
		t.Errorf("without the directive, a chat is answered %q", got)
	}
}

func TestExampleOfProduction(t *testing.T) {
	const (
		site    = "https://localhost:8443"
		metrics = "http://localhost:9180/metrics"
	)
	e := runExample(t, "production/Caddyfile", sandbox.Options{})
	sitetest.Eventually(t, "there is a certificate", func() bool { return strings.Contains(e.log(), "certificate obtained successfully") })
	e.runCommands(t, finished, "caddy_illumichat_requests_total")
	transports := sitetest.Protocols(t)
	for name, transport := range transports {
		resp := roundTrip(t, transport, e.request(t, http.MethodPost, site+sitetest.ChatPath, anyone, "Content-Type: application/json", "Accept-Encoding: gzip"))
		if resp.Proto != name || resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: the answer is over %s, %q", name, resp.Proto, resp.Header.Get("Content-Encoding"))
		}
		wantAnswer(t, resp)
	}

	e.wantPage(t, site)
	e.wantPolicy(t, site, "'self'")
	style := e.get(t, site+"/chat.css", "Accept-Encoding: gzip")
	for name, want := range map[string]string{
		"Content-Encoding":          "gzip",
		"Alt-Svc":                   e.ports.Replace(`h3=":8443"; ma=2592000`),
		"Strict-Transport-Security": "max-age=300",
		"Referrer-Policy":           "same-origin",
	} {
		if got := style.Header.Get(name); got != want {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
	redirect := e.get(t, "http://localhost:8880/chat.css?n=1")
	if got, want := redirect.Header.Get("Location"), e.ports.Replace(site+"/chat.css?n=1"); redirect.StatusCode != http.StatusPermanentRedirect || got != want {
		t.Errorf("http: got %s to %q, want %q", redirect.Status, got, want)
	}

	sitetest.Eventually(t, "the chats are in the access log", func() bool {
		return strings.Count(e.log(), `"illumichat":{"outcome":"answered"`) >= len(transports)
	})
	exported := sitetest.ReadAll(t, e.get(t, metrics))
	for _, name := range []string{"caddy_illumichat_requests_total", "caddy_http_requests_total"} {
		if !strings.Contains(exported, "\n"+name+"{") {
			t.Errorf("there is no metric %s", name)
		}
	}
	if resp := e.get(t, site+"/metrics"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the public gets %s for the metrics", resp.Status)
	}

	sitetest.WantError(t, e.chat(t, site, `{"messages":[`+strings.Repeat(`{"role":"user","content":"x"},`, 50)+`{"role":"user","content":"x"}]}`),
		http.StatusRequestEntityTooLarge, "too_large:chat")
	// A connection of HTTP/1.1 that is to be closed could be reset before the answer to a large body is read.
	large := e.request(t, http.MethodPost, site+sitetest.ChatPath, sitetest.Saying(strings.Repeat("x", 64<<10)), "Content-Type: application/json")
	sitetest.WantError(t, roundTrip(t, transports["HTTP/2.0"], large), http.StatusRequestEntityTooLarge, "too_large:chat")
	e.wantLimits(t, "5/30s 20/1h 2000/24h:site, 200 open, 3 a client")

	// The header's command and the protocols have asked already. As the window slides, one more than five may be let in.
	e.untilRefused(t, 6-1-len(transports), func(int) *http.Response { return e.chat(t, site, anyone) })

	var config struct {
		Apps struct {
			HTTP struct {
				GracePeriod json.Number `json:"grace_period"`
				Servers     map[string]struct {
					WriteTimeout json.Number `json:"write_timeout"`
				}
			}
		}
	}
	if err := json.Unmarshal(e.config, &config); err != nil {
		t.Fatal(err)
	}
	if config.Apps.HTTP.GracePeriod == "" {
		t.Error("there is no grace period")
	}
	for name, server := range config.Apps.HTTP.Servers {
		if server.WriteTimeout != "" {
			t.Errorf("%s: a timeout cuts streams", name)
		}
	}
	e.wantPrivate(t, ":9180")
	if !strings.Contains(string(e.config), `"install_trust":false`) {
		t.Error("Caddy asks for a password")
	}
}

func TestExampleOfSeveralSites(t *testing.T) {
	const shop, docs, staff = "http://shop.localhost:8080", "http://docs.localhost:8080", "http://staff.localhost:8080"
	naming := func(assistant string) string { return strings.Replace(sitetest.Hello, "asst_demo", assistant, 1) }

	t.Run("as it is", func(t *testing.T) {
		e := runExample(t, "several-sites/Caddyfile", sandbox.Options{})
		e.runCommands(t, finished, "forbidden:assistant")
		for _, site := range []string{shop, docs} {
			e.wantPage(t, site)
			e.wantPolicy(t, site, "'self'")
			wantAnswer(t, e.chat(t, site, anyone))
		}
	})

	t.Setenv("ILLUMICHAT_SALES", "asst_sales")
	t.Setenv("ILLUMICHAT_GUIDE", "asst_guide")
	e := runExample(t, "several-sites/Caddyfile", sandbox.Options{Assistants: []string{"asst_sales", "asst_guide"}})
	asked := 0
	for _, test := range []struct{ site, chat, assistant string }{
		{shop, anyone, "asst_sales"},
		{shop, naming("sales"), "asst_sales"},
		{shop, naming("guide"), ""},
		{docs, anyone, "asst_guide"},
		{docs, naming("guide"), "asst_guide"},
		{docs, naming("sales"), ""},
		{staff, naming("sales"), "asst_sales"},
		{staff, naming("guide"), "asst_guide"},
	} {
		resp := e.chat(t, test.site, test.chat)
		if test.assistant == "" {
			sitetest.WantError(t, resp, http.StatusForbidden, "forbidden:assistant")
			continue
		}
		wantAnswer(t, resp)
		var upstream struct{ AssistantID string }
		if err := json.Unmarshal(e.upstream.Request(t, asked).Body, &upstream); err != nil || upstream.AssistantID != test.assistant {
			t.Errorf("%s: %s asked %q, %v, want %q", test.site, test.chat, upstream.AssistantID, err, test.assistant)
		}
		asked++
	}
	want := map[string]int{"shop": 2000 - 2, "docs": 500 - 2, "staff": 1000 - 2}
	if left := e.limitsLeft(t); !maps.Equal(left, want) {
		t.Errorf("%v chats are left, want %v", left, want)
	}

	e.wantLimits(t, "20/1h 1000/24h:staff, 3 a client", "20/1h 2000/24h:shop, 3 a client", "20/1h 500/24h:docs, 3 a client")

	// What a client asks at one site counts at all of them. As the window slides, one more than 20 may be let in.
	asked += e.untilRefused(t, 21-asked, func(n int) *http.Response { return e.chat(t, []string{shop, docs}[n%2], anyone) })
	if asked < 20 {
		t.Errorf("%d chats were let in", asked)
	}
	sitetest.WantError(t, e.chat(t, staff, naming("sales")), http.StatusTooManyRequests, "rate_limit:chat")
}

// hashInExample is a hash as it is made for a site; a cheap one begins otherwise.
var hashInExample = regexp.MustCompile(`\$2a\$14\$\S+`)

func TestExampleOfALogin(t *testing.T) {
	const byCaddy, byService = "http://localhost:8080", "http://localhost:8081"
	login := func(name, password string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
	}
	alice, bob := login("alice", "wonderland"), login("bob", "builder")
	// With the race detector, the real hashes take many seconds each. They are tried in .ci/smoke.sh.
	cheap := func(text string) string {
		for _, hash := range []string{
			"$2a$04$02taKPwyyHPh/hXdAd94/Oa8Y2pCKCHivQm/8GJPTa1CQWG8yhQ8q", // wonderland
			"$2a$04$3hHN49Dmgl0H3pd9lO0YZuQXw6/wDahKYa0bEiO.XUCBhy0KGO1Fm", // builder
		} {
			text = strings.Replace(text, hashInExample.FindString(text), hash, 1)
		}
		return text
	}
	e := runEdited(t, "login/Caddyfile", sandbox.Options{}, cheap)
	e.runCommands(t, finished, finished)
	for _, site := range []string{byCaddy, byService} {
		for _, header := range []string{"Remote-User: alice", login("alice", "builder"), login("", "")} {
			for _, resp := range []*http.Response{e.get(t, site+"/", header), e.get(t, site+"/illumichat.js", header), e.chat(t, site, anyone, header)} {
				if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: got %s with %s", site, resp.Status, header)
				}
			}
		}
		e.wantPage(t, site, alice)
		e.wantPolicy(t, site, "'self'", alice)

		// Whoever she says to be, she has 20 chats. As the window slides, one more may be let in.
		asAlice := func(n int) *http.Response {
			return e.chat(t, site, anyone, alice, fmt.Sprintf("Remote-User: bob%d", n))
		}
		if n := e.untilRefused(t, 21, asAlice); n < 19 {
			t.Errorf("%s: alice has %d chats", site, n)
		}
		wantAnswer(t, e.chat(t, site, anyone, bob, "Remote-User: alice"))
	}
	e.wantLimits(t, "20/1h:{http.auth.user.id} 2000/24h:members", "20/1h:{http.request.header.Remote-User} 2000/24h:members")
	e.wantPrivate(t, ":9091")
	for _, request := range e.upstream.Requests() {
		if request.Header.Get("Authorization") != "Bearer "+sandbox.Token {
			t.Error("a password has gone upstream")
		}
	}

	// A service that names no user leaves nobody a choice of names.
	nameless := runEdited(t, "login/Caddyfile", sandbox.Options{}, func(text string) string {
		return strings.Replace(cheap(text), "\t\theader Remote-User {http.auth.user.id}\n", "", 1)
	})
	if n := nameless.untilRefused(t, 21, func(n int) *http.Response {
		return nameless.chat(t, byService, anyone, bob, fmt.Sprintf("Remote-User: bob%d", n))
	}); n < 20 {
		t.Errorf("without a name, %d chats were let in", n)
	}
}

func TestExampleOfAnotherOrigin(t *testing.T) {
	const www, chat = "http://www.localhost:8080", "http://chat.localhost:8081"
	e := runExample(t, "other-origin/Caddyfile", sandbox.Options{})
	e.runCommands(t, finished, "forbidden:origin")
	for path, file := range map[string][2]string{
		"/":              {"other-origin/page/index.html", "text/html"},
		"/page.js":       {"other-origin/page/page.js", "text/javascript"},
		"/page.css":      {"other-origin/page/page.css", "text/css"},
		"/illumichat.js": {"site/illumichat.js", "text/javascript"},
		"/icon.svg":      {"site/icon.svg", "image/svg+xml"},
	} {
		resp := e.get(t, www+path)
		if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK || body != readExample(t, file[0]) {
			t.Errorf("%s: got %s, %.100q", path, resp.Status, body)
		}
		if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, file[1]) {
			t.Errorf("%s: got Content-Type %q", path, got)
		}
	}
	e.wantPolicy(t, www, chat)
	if page := readExample(t, "other-origin/page/page.js"); !strings.Contains(page, "'"+chat+sitetest.ChatPath+"'") {
		t.Errorf("the page does not ask %s%s", chat, sitetest.ChatPath)
	}
	inline := regexp.MustCompile(`<style|<script[^>]*>[^<]| (?:style|on[a-z]+)=`)
	if found := inline.FindString(readExample(t, "other-origin/page/index.html")); found != "" {
		t.Errorf("the page's policy forbids its %q", found)
	}

	origin := e.ports.Replace(www)
	preflight := roundTrip(t, loopback, e.request(t, http.MethodOptions, chat+sitetest.ChatPath, "",
		"Origin: "+origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"))
	if preflight.StatusCode != http.StatusNoContent || preflight.Header.Get("Access-Control-Allow-Headers") != "content-type" {
		t.Errorf("the preflight gets %s, %v", preflight.Status, preflight.Header)
	}
	asked := e.chat(t, chat, anyone, "Origin: "+origin, "Sec-Fetch-Site: same-site")
	wantAnswer(t, asked)
	for name, resp := range map[string]*http.Response{"preflight": preflight, "chat": asked} {
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != origin {
			t.Errorf("%s: got Access-Control-Allow-Origin %q", name, got)
		}
	}
	e.wantLimits(t, "20/1h 2000/24h:site, 3 a client")
	if n := strings.Count(string(e.config), `"allow_origins":["`+origin+`"]`); n != 1 {
		t.Error("pages of other origins than the one may ask")
	}
	stranger := e.chat(t, chat, anyone, "Origin: http://elsewhere.localhost", "Sec-Fetch-Site: same-site")
	sitetest.WantError(t, stranger, http.StatusForbidden, "forbidden:origin")
	if got := stranger.Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("a stranger gets Access-Control-Allow-Origin %q", got)
	}
}

func TestExampleInJSON(t *testing.T) {
	const site = "http://localhost:8080"
	e := runExample(t, "json/caddy.json", sandbox.Options{})
	e.wantPage(t, site)
	e.wantPolicy(t, site, "'self'")
	wantAnswer(t, e.chat(t, site, sitetest.Hello))
	e.runCommands(t, finished)
	sitetest.Eventually(t, "the chat is in the access log", func() bool { return strings.Contains(e.log(), `"illumichat":{"outcome":"answered"`) })
	e.wantLimits(t, "20/1h 2000/24h:site, 200 open, 3 a client")
	if !strings.Contains(string(e.config), `"grace_period": "10s"`) {
		t.Error("there is no grace period")
	}
	if left := e.limitsLeft(t)["site"]; left != 2000-len(e.upstream.Requests()) {
		t.Errorf("%d chats are left for the day", left)
	}
}

var commentedOut = regexp.MustCompile(`(?m)^(\t+)#\t(.*)$`)

// What an example suggests in its comments works, too.
func TestExamplesSuggestWhatWorks(t *testing.T) {
	suggestions := 0
	for file := range testedExamples {
		if path.Ext(file) == ".json" {
			continue
		}
		text := readExample(t, file)
		for _, match := range commentedOut.FindAllStringSubmatch(text, -1) {
			suggestions++
			option, _, _ := strings.Cut(match[2], " ")
			if option == "token" { // which there is already
				text = regexp.MustCompile(`(?m)^\t+token .*\n`).ReplaceAllString(text, "")
			}
		}
		adaptSilently(t, commentedOut.ReplaceAllString(text, "$1$2"))
	}
	if suggestions < 6 {
		t.Errorf("the examples suggest %d lines", suggestions)
	}
}
