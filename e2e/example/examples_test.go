package example

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
)

// testedExamples are the files below example/, each with the test that runs it.
var testedExamples = map[string]func(*testing.T){
	"Caddyfile":               TestExampleServesItsPageAndAChat,
	"assistant-ui/Caddyfile":  TestExampleOfAssistantUI,
	"cluster/Caddyfile":       TestExampleOfACluster,
	composeCaddyfile:          TestExampleOfCompose,
	"deep-chat/Caddyfile":     TestExampleOfDeepChat,
	"existing-site/Caddyfile": TestExampleOfAnExistingSite,
	"json/caddy.json":         TestExampleInJSON,
	kubernetesCaddyfile:       TestExampleOfKubernetes,
	"login/Caddyfile":         TestExampleOfALogin,
	"other-origin/Caddyfile":  TestExampleOfAnotherOrigin,
	"production/Caddyfile":    TestExampleOfProduction,
	"react/Caddyfile":         TestExampleOfReact,
	"several-sites/Caddyfile": TestExampleOfSeveralSites,
}

// Each example has a test that runs it, and a row in example/README.md: for its file, or for the folder of a deployment.
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
		row := fmt.Sprintf("\n| [`example/%s`](%[1]s) |", file)
		if folder, _, _ := strings.Cut(file, "/"); file == composeCaddyfile || file == kubernetesCaddyfile {
			row = fmt.Sprintf("\n| [`%s/`](%[1]s) |", folder)
		}
		if !strings.Contains(string(index), row) {
			t.Errorf("example/README.md has no row %q", row)
		}
		return err
	})
	if err != nil || found != len(testedExamples) {
		t.Errorf("there are %d examples, %v, and tests of %d", found, err, len(testedExamples))
	}
}

// The directive adds a chat to an existing site, and changes no other answer of it.
func TestExampleOfAnExistingSite(t *testing.T) {
	const site = "http://localhost:8080"
	e := sitetest.RunExample(t, "existing-site/Caddyfile", sandbox.Options{})
	e.WantPage(t, site+"/chat/", sitetest.ChatPath)
	page := sitetest.ReadAll(t, e.Get(t, site+"/"))
	if page != sitetest.ReadExample(t, "existing-site/pages/index.html") || !strings.Contains(page, `<illumichat-chat mode="bubble"`) {
		t.Errorf("the site's own page is %q", page)
	}
	for _, script := range regexp.MustCompile(`src="([^"]+)"`).FindAllStringSubmatch(page, -1) {
		if resp := e.Get(t, site+script[1]); resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/javascript") {
			t.Errorf("the site's own page gets %s for %s", resp.Status, script[1])
		}
	}
	sitetest.WantAnswer(t, e.Chat(t, site, sitetest.Anyone))
	e.RunCommands(t, "The app got GET /api/orders.", sitetest.Finished)
	e.WantLimits(t, "20/1h 2000/24h:everyone, 3 a client")
	e.WantPrivate(t, ":8081")
	if resp := e.Get(t, site+"/", "Accept-Encoding: gzip"); resp.Header.Get("Content-Encoding") != "gzip" ||
		resp.Header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("the site has lost its own headers: %v", resp.Header)
	}

	before := sitetest.RunEdited(t, "existing-site/Caddyfile", sandbox.Options{}, func(text string) string {
		return regexp.MustCompile(`(?ms)^\tillumichat .*?^\t}\n`).ReplaceAllString(text, "")
	})
	for _, asked := range []string{
		"GET /", "GET /chat.css", "HEAD /chat.js", "GET /nothing", "POST /", "GET /api/orders", "POST /api/orders?n=1", "PUT /api/chat-proxy/",
	} {
		method, path, _ := strings.Cut(asked, " ")
		look := func(e *sitetest.RunningExample) string {
			resp := sitetest.RoundTrip(t, sitetest.Loopback, e.Request(t, method, site+path, "", "Accept-Encoding: gzip"))
			resp.Header.Del("Date")
			return fmt.Sprint(resp.Status, resp.Header, sitetest.ReadAll(t, resp))
		}
		if with, without := look(e), look(before); with != without {
			t.Errorf("%s: the directive changes the answer:\nwith:    %.1000q\nwithout: %.1000q", asked, with, without)
		}
	}
	if got, want := sitetest.ReadAll(t, before.Chat(t, site, sitetest.Anyone)), "The app got POST "+sitetest.ChatPath+"."; got != want {
		t.Errorf("without the directive, a chat is answered %q", got)
	}
}

// The production example has what its header lists: HTTP/1.1, 2 and 3, compression, an access log, limits, metrics and
// the headers that keep a page safe.
func TestExampleOfProduction(t *testing.T) {
	const (
		site    = "https://localhost:8443"
		metrics = "http://localhost:9180/metrics"
	)
	e := sitetest.RunExample(t, "production/Caddyfile", sandbox.Options{})
	sitetest.Eventually(t, "there is a certificate", func() bool { return strings.Contains(e.Log(), "certificate obtained successfully") })
	e.RunCommands(t, sitetest.Finished, "caddy_illumichat_requests_total")
	transports := sitetest.Protocols(t)
	for name, transport := range transports {
		resp := sitetest.RoundTrip(t, transport, e.Request(t, http.MethodPost, site+sitetest.ChatPath, sitetest.Anyone, "Content-Type: application/json", "Accept-Encoding: gzip"))
		if resp.Proto != name || resp.Header.Get("Content-Encoding") != "" {
			t.Errorf("%s: the answer is over %s, %q", name, resp.Proto, resp.Header.Get("Content-Encoding"))
		}
		sitetest.WantAnswer(t, resp)
	}

	e.WantPage(t, site+"/", sitetest.ChatPath)
	style := e.Get(t, site+"/", "Accept-Encoding: gzip")
	for name, want := range map[string]string{
		"Content-Encoding":          "gzip",
		"Alt-Svc":                   e.Ports.Replace(`h3=":8443"; ma=2592000`),
		"Strict-Transport-Security": "max-age=300",
		"Referrer-Policy":           "same-origin",
	} {
		if got := style.Header.Get(name); got != want {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
	redirect := e.Get(t, "http://localhost:8880/chat.css?n=1")
	if got, want := redirect.Header.Get("Location"), e.Ports.Replace(site+"/chat.css?n=1"); redirect.StatusCode != http.StatusPermanentRedirect || got != want {
		t.Errorf("http: got %s to %q, want %q", redirect.Status, got, want)
	}

	sitetest.Eventually(t, "the chats are in the access log", func() bool {
		return strings.Count(e.Log(), `"illumichat":{"outcome":"answered"`) >= len(transports)
	})
	exported := sitetest.ReadAll(t, e.Get(t, metrics))
	for _, name := range []string{"caddy_illumichat_requests_total", "caddy_http_requests_total"} {
		if !strings.Contains(exported, "\n"+name+"{") {
			t.Errorf("there is no metric %s", name)
		}
	}
	if resp := e.Get(t, site+"/metrics"); resp.StatusCode != http.StatusNotFound {
		t.Errorf("the public gets %s for the metrics", resp.Status)
	}

	sitetest.WantError(t, e.Chat(t, site, `{"messages":[`+strings.Repeat(`{"role":"user","content":"x"},`, 50)+`{"role":"user","content":"x"}]}`),
		http.StatusRequestEntityTooLarge, "too_many_messages:chat")
	// Over HTTP/1.1, the server would close the connection, and a reset could arrive before the client has read the answer.
	large := e.Request(t, http.MethodPost, site+sitetest.ChatPath, sitetest.Saying(strings.Repeat("x", 64<<10)), "Content-Type: application/json")
	sitetest.WantError(t, sitetest.RoundTrip(t, transports["HTTP/2.0"], large), http.StatusRequestEntityTooLarge, "too_large:chat")
	e.WantLimits(t, "5/30s 20/1h 2000/24h:everyone, 200 open, 3 a client")

	// The header's command and the requests over each protocol already count. Because the window slides, it may admit six
	// chats instead of five.
	e.UntilRefused(t, 6-1-len(transports), func(int) *http.Response { return e.Chat(t, site, sitetest.Anyone) })

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
	if err := json.Unmarshal(e.Config, &config); err != nil {
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
	e.WantPrivate(t, ":9180")
	if !strings.Contains(string(e.Config), `"install_trust":false`) {
		t.Error("Caddy asks for a password")
	}
}

// Each site reaches only its own assistants, by their names. The sites share the limit of a client, but each has its own
// budget for a day.
func TestExampleOfSeveralSites(t *testing.T) {
	const shop, docs, staff = "http://shop.localhost:8080", "http://docs.localhost:8080", "http://staff.localhost:8080"
	naming := func(assistant string) string { return strings.Replace(sitetest.Hello, "asst_demo", assistant, 1) }

	t.Run("as it is", func(t *testing.T) {
		e := sitetest.RunExample(t, "several-sites/Caddyfile", sandbox.Options{})
		e.RunCommands(t, sitetest.Finished, "forbidden:assistant")
		for _, site := range []string{shop, docs} {
			e.WantPage(t, site+"/", sitetest.ChatPath)
			sitetest.WantAnswer(t, e.Chat(t, site, sitetest.Anyone))
		}
		for _, assistant := range []string{"sales", "guide"} {
			e.WantPage(t, staff+"/"+assistant+"/", sitetest.ChatPath)
			if page := sitetest.ReadAll(t, e.Get(t, staff+"/"+assistant+"/")); !strings.Contains(page, `assistant="`+assistant+`"`) {
				t.Errorf("the staff's page does not ask %s: %s", assistant, page)
			}
		}
	})

	t.Setenv("ILLUMICHAT_SALES", "asst_sales")
	t.Setenv("ILLUMICHAT_GUIDE", "asst_guide")
	e := sitetest.RunExample(t, "several-sites/Caddyfile", sandbox.Options{Assistants: []string{"asst_sales", "asst_guide"}})
	asked := 0
	for _, test := range []struct{ site, chat, assistant string }{
		{shop, sitetest.Anyone, "asst_sales"},
		{shop, naming("sales"), "asst_sales"},
		{shop, naming("guide"), ""},
		{docs, sitetest.Anyone, "asst_guide"},
		{docs, naming("guide"), "asst_guide"},
		{docs, naming("sales"), ""},
		{staff, naming("sales"), "asst_sales"},
		{staff, naming("guide"), "asst_guide"},
	} {
		resp := e.Chat(t, test.site, test.chat)
		if test.assistant == "" {
			sitetest.WantError(t, resp, http.StatusForbidden, "forbidden:assistant")
			continue
		}
		sitetest.WantAnswer(t, resp)
		var upstream struct{ AssistantID string }
		if err := json.Unmarshal(e.Upstream.Request(t, asked).Body, &upstream); err != nil || upstream.AssistantID != test.assistant {
			t.Errorf("%s: %s asked %q, %v, want %q", test.site, test.chat, upstream.AssistantID, err, test.assistant)
		}
		asked++
	}
	want := map[string]int{"shop": 2000 - 2, "docs": 500 - 2, "staff": 1000 - 2}
	if left := e.LimitsLeft(t); !maps.Equal(left, want) {
		t.Errorf("%v chats are left, want %v", left, want)
	}

	e.WantLimits(t, "20/1h 1000/24h:staff, 3 a client", "20/1h 2000/24h:shop, 3 a client", "20/1h 500/24h:docs, 3 a client")

	// A client's chats at one site count at all sites. Because the window slides, it may admit 21 chats instead of 20.
	asked += e.UntilRefused(t, 21-asked, func(n int) *http.Response { return e.Chat(t, []string{shop, docs}[n%2], sitetest.Anyone) })
	if asked < 20 {
		t.Errorf("%d chats were let in", asked)
	}
	sitetest.WantError(t, e.Chat(t, staff, naming("sales")), http.StatusTooManyRequests, "rate_limit:chat")
}

// hashInExample matches a bcrypt hash of cost 14, as a real site has it. The test's cheap hashes have cost 4.
var hashInExample = regexp.MustCompile(`\$2a\$14\$\S+`)

// Only users who have logged in get the page and chat. Each has a limit of their own, whatever name a request claims.
func TestExampleOfALogin(t *testing.T) {
	const byCaddy, byService = "http://localhost:8080", "http://localhost:8081"
	login := func(name, password string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(name+":"+password))
	}
	alice, bob := login("alice", "wonderland"), login("bob", "builder")
	// With the race detector, each real hash takes many seconds. They are tested in .ci/smoke.sh.
	cheap := func(text string) string {
		for _, hash := range []string{
			"$2a$04$02taKPwyyHPh/hXdAd94/Oa8Y2pCKCHivQm/8GJPTa1CQWG8yhQ8q", // wonderland
			"$2a$04$3hHN49Dmgl0H3pd9lO0YZuQXw6/wDahKYa0bEiO.XUCBhy0KGO1Fm", // builder
		} {
			text = strings.Replace(text, hashInExample.FindString(text), hash, 1)
		}
		return text
	}
	e := sitetest.RunEdited(t, "login/Caddyfile", sandbox.Options{}, cheap)
	e.RunCommands(t, sitetest.Finished, sitetest.Finished)
	for _, site := range []string{byCaddy, byService} {
		for _, header := range []string{"Remote-User: alice", login("alice", "builder"), login("", "")} {
			for _, resp := range []*http.Response{e.Get(t, site+"/", header), e.Get(t, site+"/illumichat.js", header), e.Chat(t, site, sitetest.Anyone, header)} {
				if resp.StatusCode != http.StatusUnauthorized || resp.Header.Get("WWW-Authenticate") == "" {
					t.Errorf("%s: got %s with %s", site, resp.Status, header)
				}
			}
		}
		e.WantPage(t, site+"/", sitetest.ChatPath, alice)

		// Alice has 20 chats, whatever name she claims in Remote-User. Because the window slides, it may admit one more.
		asAlice := func(n int) *http.Response {
			return e.Chat(t, site, sitetest.Anyone, alice, fmt.Sprintf("Remote-User: bob%d", n))
		}
		if n := e.UntilRefused(t, 21, asAlice); n < 19 {
			t.Errorf("%s: alice has %d chats", site, n)
		}
		sitetest.WantAnswer(t, e.Chat(t, site, sitetest.Anyone, bob, "Remote-User: alice"))
	}
	e.WantLimits(t, "20/1h:{http.auth.user.id} 2000/24h:members", "20/1h:{http.request.header.Remote-User} 2000/24h:members")
	e.WantPrivate(t, ":9091")
	for _, request := range e.Upstream.Requests() {
		if request.Header.Get("Authorization") != "Bearer "+sandbox.Token {
			t.Error("a password has gone upstream")
		}
	}

	// If the auth service names no user, visitors cannot choose a name either: they share one limit.
	nameless := sitetest.RunEdited(t, "login/Caddyfile", sandbox.Options{}, func(text string) string {
		return strings.Replace(cheap(text), "\t\theader Remote-User {http.auth.user.id}\n", "", 1)
	})
	if n := nameless.UntilRefused(t, 21, func(n int) *http.Response {
		return nameless.Chat(t, byService, sitetest.Anyone, bob, fmt.Sprintf("Remote-User: bob%d", n))
	}); n < 20 {
		t.Errorf("without a name, %d chats were let in", n)
	}
}

// Pages of the allowed origin can chat with a site on another origin. Pages of other origins are refused.
func TestExampleOfAnotherOrigin(t *testing.T) {
	const www, chat = "http://www.localhost:8080", "http://chat.localhost:8081"
	e := sitetest.RunExample(t, "other-origin/Caddyfile", sandbox.Options{})
	e.RunCommands(t, sitetest.Finished, "forbidden:origin")
	for path, file := range map[string][2]string{
		"/":         {"other-origin/page/index.html", "text/html"},
		"/page.js":  {"other-origin/page/page.js", "text/javascript"},
		"/page.css": {"other-origin/page/page.css", "text/css"},
		"/icon.svg": {"other-origin/page/icon.svg", "image/svg+xml"},
	} {
		resp := e.Get(t, www+path)
		if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK || body != sitetest.ReadExample(t, file[0]) {
			t.Errorf("%s: got %s, %.100q", path, resp.Status, body)
		}
		if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, file[1]) {
			t.Errorf("%s: got Content-Type %q", path, got)
		}
	}
	e.WantPolicy(t, www, chat)
	e.WantPage(t, www+"/chat/", chat+sitetest.ChatPath)
	page := sitetest.ReadExample(t, "other-origin/page/page.js")
	if !strings.Contains(page, "'"+chat+sitetest.ChatPath+"'") || !strings.Contains(page, " from './chat/illumichat.js'") {
		t.Errorf("the page does not ask %s%s, or not by the client", chat, sitetest.ChatPath)
	}
	if resp := e.Get(t, www+"/chat/illumichat.js"); resp.StatusCode != http.StatusOK {
		t.Errorf("the page gets %s for the client", resp.Status)
	}
	inline := regexp.MustCompile(`<style|<script[^>]*>[^<]| (?:style|on[a-z]+)=`)
	if found := inline.FindString(sitetest.ReadExample(t, "other-origin/page/index.html")); found != "" {
		t.Errorf("the page's policy forbids its %q", found)
	}

	origin := e.Ports.Replace(www)
	preflight := sitetest.RoundTrip(t, sitetest.Loopback, e.Request(t, http.MethodOptions, chat+sitetest.ChatPath, "",
		"Origin: "+origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"))
	if preflight.StatusCode != http.StatusNoContent || preflight.Header.Get("Access-Control-Allow-Headers") != "content-type" {
		t.Errorf("the preflight gets %s, %v", preflight.Status, preflight.Header)
	}
	asked := e.Chat(t, chat, sitetest.Anyone, "Origin: "+origin, "Sec-Fetch-Site: same-site")
	sitetest.WantAnswer(t, asked)
	for name, resp := range map[string]*http.Response{"preflight": preflight, "chat": asked} {
		if got := resp.Header.Get("Access-Control-Allow-Origin"); got != origin {
			t.Errorf("%s: got Access-Control-Allow-Origin %q", name, got)
		}
	}
	e.WantLimits(t, "20/1h 2000/24h:everyone, 3 a client")
	if n := strings.Count(string(e.Config), `"allow_origins":["`+origin+`"]`); n != 1 {
		t.Error("pages of other origins than the one may ask")
	}
	stranger := e.Chat(t, chat, sitetest.Anyone, "Origin: http://elsewhere.localhost", "Sec-Fetch-Site: same-site")
	sitetest.WantError(t, stranger, http.StatusForbidden, "forbidden:origin")
	if got := stranger.Header.Get("Access-Control-Allow-Origin"); got != "" {
		t.Errorf("a stranger gets Access-Control-Allow-Origin %q", got)
	}
}

// The React example serves the page that its commands build, and a chat whose answers can be resumed.
func TestExampleOfReact(t *testing.T) { testBuiltExample(t, "react") }

// The assistant-ui example serves the page that its commands build, and a chat whose answers can be resumed.
func TestExampleOfAssistantUI(t *testing.T) { testBuiltExample(t, "assistant-ui") }

func testBuiltExample(t *testing.T, name string) {
	const site = "http://localhost:8080"
	file := name + "/Caddyfile"
	for _, command := range []string{"npm ci --ignore-scripts --prefix example/" + name, "npm run build --prefix example/" + name} {
		if !strings.Contains(sitetest.ReadExample(t, file), "\n#\t"+command+"\n") {
			t.Errorf("the header does not say %q", command)
		}
	}
	built := sitetest.BuildExample(t, name)
	e := sitetest.RunEdited(t, file, sandbox.Options{}, func(text string) string {
		root := "root example/" + name + "/dist\n"
		if strings.Count(text, root) != 1 {
			t.Errorf("the example does not serve what is built")
		}
		return strings.Replace(text, root, "root "+built+"\n", 1)
	})
	for path, file := range map[string]string{"/": "index.html", "/chat.js": "chat.js", "/chat.css": "chat.css"} {
		want, err := os.ReadFile(filepath.Join(built, file))
		if err != nil {
			t.Fatal(err)
		}
		resp := e.Get(t, site+path)
		if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK || body != string(want) {
			t.Errorf("%s: got %s, %.100q", path, resp.Status, body)
		}
	}
	e.WantPolicy(t, site, "'self'")
	answer := e.Chat(t, site, sitetest.Anyone)
	if answer.Header.Get("Illumichat-Stream") == "" {
		t.Error("the answer cannot be resumed")
	}
	sitetest.WantAnswer(t, answer)
}

// The example with the deep-chat component serves its page and a chat. Its component comes from npm, and is tested in
// e2e/page.
func TestExampleOfDeepChat(t *testing.T) {
	const site = "http://localhost:8080"
	e := sitetest.RunExample(t, "deep-chat/Caddyfile", sandbox.Options{})
	for path, file := range map[string][2]string{
		"/":              {"deep-chat/page/index.html", "text/html"},
		"/page.js":       {"deep-chat/page/page.js", "text/javascript"},
		"/page.css":      {"deep-chat/page/page.css", "text/css"},
		"/illumichat.js": {"../client/illumichat.js", "text/javascript"},
		"/lib/error.js":  {"../client/lib/error.js", "text/javascript"},
		"/icon.svg":      {"deep-chat/page/icon.svg", "image/svg+xml"},
	} {
		resp := e.Get(t, site+path)
		if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK || body != sitetest.ReadExample(t, file[0]) {
			t.Errorf("%s: got %s, %.100q", path, resp.Status, body)
		}
		if got := resp.Header.Get("Content-Type"); !strings.HasPrefix(got, file[1]) {
			t.Errorf("%s: got Content-Type %q", path, got)
		}
	}
	e.WantPolicy(t, site, "'self'")
	sitetest.WantAnswer(t, e.Chat(t, site, sitetest.Anyone))
	e.WantLimits(t, "20/1h 2000/24h:everyone, 3 a client")
}

// The JSON example serves its page and a chat, with an access log, limits and a grace period.
func TestExampleInJSON(t *testing.T) {
	const site = "http://localhost:8080"
	e := sitetest.RunExample(t, "json/caddy.json", sandbox.Options{})
	e.WantPage(t, site+"/", sitetest.ChatPath)
	sitetest.WantAnswer(t, e.Chat(t, site, sitetest.Hello))
	e.RunCommands(t, sitetest.Finished)
	sitetest.Eventually(t, "the chat is in the access log", func() bool { return strings.Contains(e.Log(), `"illumichat":{"outcome":"answered"`) })
	e.WantLimits(t, "20/1h 2000/24h:everyone, 200 open, 3 a client")
	if !strings.Contains(string(e.Config), `"grace_period": "10s"`) {
		t.Error("there is no grace period")
	}
	if left := e.LimitsLeft(t)["everyone"]; left != 2000-len(e.Upstream.Requests()) {
		t.Errorf("%d chats are left for the day", left)
	}
}

var commentedOut = regexp.MustCompile(`(?m)^(\t+)#\t(.*)$`)

// The options that the examples suggest in comments adapt without a warning.
func TestExamplesSuggestWhatWorks(t *testing.T) {
	suggestions := 0
	for file := range testedExamples {
		if path.Ext(file) == ".json" {
			continue
		}
		text := sitetest.ReadExample(t, file)
		for _, match := range commentedOut.FindAllStringSubmatch(text, -1) {
			suggestions++
			option, _, _ := strings.Cut(match[2], " ")
			if option == "token" { // which replaces the example's token
				text = regexp.MustCompile(`(?m)^\t+token .*\n`).ReplaceAllString(text, "")
			}
		}
		sitetest.AdaptSilently(t, commentedOut.ReplaceAllString(text, "$1$2"))
	}
	if suggestions < 6 {
		t.Errorf("the examples suggest %d lines", suggestions)
	}
}
