package e2e

import (
	"encoding/json"
	"fmt"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// listedHandler is a handler as the admin API lists it.
type listedHandler struct {
	Server     string            `json:"server"`
	Hosts      []string          `json:"hosts"`
	Paths      []string          `json:"paths"`
	Endpoint   string            `json:"endpoint"`
	Assistants []string          `json:"assistants"`
	Aliases    map[string]string `json:"aliases"`
	Token      string            `json:"token"`
	Streams    listedStreams     `json:"streams"`
	Limits     []listedLimit     `json:"limits"`
	CoolDown   float64           `json:"cool_down_seconds"`

	CoolDowns map[string]float64 `json:"cool_downs"`
}

// listedStreams counts the open chats.
type listedStreams struct {
	Open         int `json:"open"`
	Clients      int `json:"clients"`
	Max          int `json:"max"`
	MaxPerClient int `json:"max_per_client"`
}

// listedLimit is a limit and its use.
type listedLimit struct {
	Requests int    `json:"requests"`
	Window   string `json:"window"`
	Key      string `json:"key"`
	Keys     int    `json:"keys"`
	Left     *int   `json:"left"`
}

// hostsOfSites matches the lists of the sites' own hosts.
var hostsOfSites = regexp.MustCompile(`(?s)"hosts": \[.*?\]`)

// adminList returns the handlers that the admin API lists. It fails the test if the answer holds the token, a hidden
// part of the endpoint or a client's address.
func adminList(t *testing.T, p *sitetest.Process) []listedHandler {
	t.Helper()
	status, body, header := p.Ask(t, http.MethodGet, "/illumichat/", nil)
	if status != http.StatusOK || header.Get("Content-Type") != "application/json" {
		t.Fatalf("got status %d, Content-Type %q: %s", status, header.Get("Content-Type"), body)
	}
	var list []listedHandler
	if err := json.Unmarshal([]byte(body), &list); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	withoutHosts := hostsOfSites.ReplaceAllString(body, "")
	for _, secret := range []string{sandbox.Token, "hidden", `"127.0.0.1"`} {
		if strings.Contains(withoutHosts, secret) {
			t.Errorf("the answer holds %s: %s", secret, body)
		}
	}
	return list
}

// The admin endpoint shows what is left of a count that many visitors share, whatever its key is: of several counts, what
// is left of the one that is used most. It does not show the value of a placeholder.
func TestAdminShowsWhatManyVisitorsHaveLeft(t *testing.T) {
	t.Setenv("TEST_SITE", "hidden")
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.New(t, "grace_period 1s")
	p := sitetest.Run(t, s, sitetest.ChatTo(server, "limit 5 1h {env.TEST_SITE}\nlimit 6 1h {host}\nlimit 7 1h \"{client_ip} {host}\"\nlimit 8 1h everyone"))
	sitetest.ReadAll(t, s.AskAs("", sitetest.Saying("/events 1")))
	for _, handler := range adminList(t, p) {
		var left []string
		for _, l := range handler.Limits {
			if l.Left == nil {
				left = append(left, "-")
				continue
			}
			left = append(left, fmt.Sprint(*l.Left))
		}
		if got := strings.Join(left, " "); got != "4 5 - 7" {
			t.Errorf("left is %s", got)
		}
	}
	p.Exit(t)
	p.Wait(t)
}

// withoutPlace checks where the handlers are, and returns them without that.
func withoutPlace(t *testing.T, list []listedHandler) []listedHandler {
	t.Helper()
	var places []string
	for i, h := range list {
		places = append(places, fmt.Sprint(h.Hosts, h.Paths))
		if !strings.HasPrefix(h.Server, "srv") {
			t.Errorf("the server is %q", h.Server)
		}
		list[i].Server, list[i].Hosts, list[i].Paths = "", nil, nil
	}
	slices.Sort(places)
	if want := []string{"[127.0.0.1] [/api/chat-proxy]", "[localhost] [/api/chat-proxy]"}; !slices.Equal(places, want) {
		t.Errorf("the handlers are at %q, want %q", places, want)
	}
	return list
}

// The admin endpoint lists the handlers of the running config, with their open chats, limits and cool-down. It shows no
// secret and no client's address.
func TestAdmin(t *testing.T) {
	t.Setenv("TEST_TOKEN", sandbox.Token)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	t.Setenv("TEST_ENDPOINT", server.URL+"/hidden/chat")
	s := sitetest.New(t, "grace_period 1s")
	directive := func(path, token, more string) string {
		return fmt.Sprintf("illumichat %s {\ntoken %s\nendpoint %s?key=hidden\n%s\n}\n", path, token, server.URL, more)
	}
	p := sitetest.Run(t, s, directive(sitetest.ChatPath, "{env.TEST_TOKEN}", `assistants asst_demo asst_other
		alias help asst_demo
		limit 5 1h
		limit 9 24h site
		max_streams 7
		max_streams_per_client 3
		`+sitetest.Once))

	want := listedHandler{
		Endpoint:   server.URL,
		Assistants: []string{"asst_demo", "asst_other"},
		Aliases:    map[string]string{"help": "asst_demo"},
		Token:      "{env.TEST_TOKEN}",
		Streams:    listedStreams{Max: 7, MaxPerClient: 3},
		Limits: []listedLimit{
			{Requests: 5, Window: "1h0m0s", Key: "{http.vars.client_ip}"},
			{Requests: 9, Window: "24h0m0s", Key: "site", Left: new(int)},
		},
	}
	check := func(when string, open, counted int) {
		t.Helper()
		*want.Limits[1].Left = 9 - counted
		for i := range want.Limits {
			want.Limits[i].Keys = min(counted, 1)
		}
		want.Streams.Open, want.Streams.Clients = open, min(open, 1)
		var got []listedHandler
		sitetest.Eventually(t, when, func() bool { // the end of a chat may be counted a moment later
			got = adminList(t, p)
			return len(got) > 0 && got[0].Streams.Open == open
		})
		if len(got) != 2 { // the site has two servers
			t.Fatalf("%s: %d handlers are listed", when, len(got))
		}
		for _, got := range withoutPlace(t, got) {
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: got\n%+v\nwant\n%+v", when, got, want)
			}
		}
	}
	check("at first", 0, 0)
	sitetest.ReadAll(t, s.AskAs("", sitetest.Saying("/events 1")))
	check("after a chat", 0, 1)
	open := s.AskAs("", sitetest.Saying("/stall"))
	check("during a chat", 1, 2)
	open.Body.Close()
	check("when its visitor has left", 0, 2)
	sitetest.ReadAll(t, s.AskAs("", sitetest.Saying("/status 429 100")))
	for _, got := range adminList(t, p) {
		if got.CoolDown < 90 || got.CoolDown > 100 {
			t.Errorf("the cool-down lasts %v s", got.CoolDown)
		}
		if len(got.CoolDowns) != 1 || got.CoolDowns["asst_demo"] != got.CoolDown {
			t.Errorf("the cool-downs are %v", got.CoolDowns)
		}
	}

	if status, body, _ := p.Ask(t, http.MethodGet, "/illumichat", nil); status != http.StatusOK || !strings.HasPrefix(body, "[") {
		t.Errorf("without the slash: got status %d: %s", status, body)
	}
	if status, body, _ := p.Ask(t, http.MethodGet, "/illumichat/"+"else", nil); status != http.StatusNotFound {
		t.Errorf("another path: got status %d: %s", status, body)
	}
	if status, _, header := p.Ask(t, http.MethodPost, "/illumichat/", nil); status != http.StatusMethodNotAllowed || header.Get("Allow") != "GET, HEAD" {
		t.Errorf("a POST: got status %d, Allow: %q", status, header.Get("Allow"))
	}

	// After a reload, the handlers of the new config are listed.
	p.Reload(t, s.Adapt(strings.Replace(directive(sitetest.ChatPath, sandbox.Token, "assistants *\n"+sitetest.Once), server.URL+"?key=hidden", "{env.TEST_ENDPOINT}", 1)))
	want = listedHandler{Endpoint: strings.TrimSuffix(server.URL, "/api/chat"), Assistants: []string{"*"}, Token: "literal", Limits: []listedLimit{}}
	var got []listedHandler
	sitetest.Eventually(t, "the old handlers are gone", func() bool {
		got = adminList(t, p)
		return len(got) == 2
	})
	for _, got := range withoutPlace(t, got) {
		if !reflect.DeepEqual(got, want) {
			t.Errorf("after a reload: got\n%+v\nwant\n%+v", got, want)
		}
	}
	p.Reload(t, s.Adapt("respond 204"))
	sitetest.Eventually(t, "none is left", func() bool { return len(adminList(t, p)) == 0 })
	p.Exit(t)
	p.Wait(t)
}
