package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// loadError returns the error of loading a Caddyfile, as `caddy validate` does: from its words to its last check.
func loadError(t *testing.T, caddyfile string) error {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err != nil {
		return err
	}
	return sitetest.Validate(t, config)
}

// withLines returns a Caddyfile with an illumichat directive that has the lines beside the required ones.
func withLines(lines ...string) string {
	return ":80 {\nillumichat {\ntoken {env.TEST_TOKEN}\nassistants asst_demo\n" + strings.Join(lines, "\n") + "\n}\n}\n"
}

// No error of a config shows the token, a piece of it, another secret, or the value of a placeholder. It shows the
// placeholder.
func TestConfigErrorsShowNoSecret(t *testing.T) {
	const newer, hidden = "wsk_live_sandbox0000hidden", "hidden"
	t.Setenv("TEST_TOKEN", sandbox.Token)
	t.Setenv("TEST_FTP", "ftp://hidden.example/hidden?key=hidden")
	t.Setenv("TEST_LOGIN", "https://user:hidden@chat.example")
	t.Setenv("TEST_PORT", "https://chat.example:0/?key=hidden#hidden")
	t.Setenv("TEST_SPACE", "asst hidden")
	t.Setenv("TEST_COMMA", "asst_hidden,asst_other")
	t.Setenv("TEST_REDIS", "redis://:hidden@localhost")
	t.Setenv("TEST_REDIS_URL", "redis://localhost?password=hidden")
	for what, test := range map[string]struct {
		caddyfile string
		names     string // what the error shows
	}{
		"token=…":                     {withLines("token=" + sandbox.Token), "token=…"},
		"token: …":                    {withLines("token: " + sandbox.Token), "token:"},
		"the token as a line":         {withLines(sandbox.Token), "…"},
		"the newer token as a line":   {withLines(newer), "…"},
		"token=, another form":        {withLines("token=hidden-token-of-another-form"), "token=…"},
		"a long opaque line":          {withLines("0123456789abcdef" + hidden), "…"},
		"a short token as a line":     {withLines("k3J9hidden7pL4wR"), "…"},
		"as dotted words":             {withLines("k3J9hidden7.L4wRx9Zq.tR8w"), "…"},
		"a short token, a transport":  {withLines("transport k3J9hidden7pL4wR"), "transport"},
		"a short token, a store":      {withLines("store k3J9hidden7pL4wR"), "store"},
		"a short token with dots":     {withLines("store k3J9hidden7.L4wRx9Zq"), "store"},
		"a short token with a slash":  {withLines("roles user\nmax_messages k3J9hidden7/L4wRx9Zq"), "max_messages"},
		"in one quoted word":          {fmt.Sprintf(":80 {\nillumichat \"token %s\"\n}", sandbox.Token), "token …"},
		"in one quoted word, newer":   {fmt.Sprintf(":80 {\nillumichat \"token %s\" {\n}\n}", newer), "token …"},
		"as an assistant":             {withLines("alias help " + sandbox.Token), "alias"},
		"as an assistant, quoted":     {withLines(`alias help "token ` + newer + `"`), "alias"},
		"as an alias":                 {withLines("alias " + sandbox.Token + " asst_demo"), "alias"},
		"as a limit's number":         {withLines("limit " + sandbox.Token + " 1h"), "limit"},
		"as a limit's window":         {withLines("limit 5 " + sandbox.Token), "limit"},
		"as a limit's key":            {withLines("limit 5 1h " + sandbox.Token), "limit"},
		"as an origin":                {withLines("allow_origins " + sandbox.Token), "allow_origins"},
		"as an origin's password":     {withLines("allow_origins https://me:hidden@www.example.com"), "www.example.com"},
		"as an origin's query":        {withLines("allow_origins https://www.example.com/?key=hidden"), "www.example.com"},
		"as an endpoint":              {withLines("endpoint " + sandbox.Token), "endpoint"},
		"as an endpoint's user":       {withLines("endpoint ftp://me:hidden@chat.example"), "endpoint"},
		"a password with a slash":     {withLines("endpoint https://me:12/hidden@chat.example"), "%40"},
		"a password with a #":         {withLines("endpoint https://me:hidden#hidden@chat.example"), "credentials"},
		"as an endpoint's query":      {withLines("endpoint ftp://chat.example/hidden?key=hidden"), "ftp://chat.example:"},
		"as an endpoint's fragment":   {withLines("endpoint https://chat.example/#hidden"), "https://chat.example:"},
		"as an endpoint's port":       {withLines("endpoint https://chat.example:hidden/"), "port"},
		"an endpoint by placeholder":  {withLines("endpoint {env.TEST_FTP}"), "{env.TEST_FTP}"},
		"a login by placeholder":      {withLines("endpoint {env.TEST_LOGIN}"), "{env.TEST_LOGIN}"},
		"a port by placeholder":       {withLines("endpoint {env.TEST_PORT}"), "{env.TEST_PORT}"},
		"the token as the endpoint":   {withLines("endpoint {env.TEST_TOKEN}"), "{env.TEST_TOKEN}"},
		"an alias by placeholder":     {withLines("alias help {env.TEST_SPACE}"), "{env.TEST_SPACE}"},
		"a comma by placeholder":      {withLines("alias help {env.TEST_COMMA}"), "{env.TEST_COMMA}"},
		"a placeholder in its place":  {withLines("alias help {" + sandbox.Token + "}"), "help"},
		"as an owner":                 {withLines("resume {\nowner " + sandbox.Token + "\n}"), "owner"},
		"as an option of resume":      {withLines("resume {\n" + sandbox.Token + "\n}"), "resume"},
		"as an option of retry":       {withLines("retry {\n" + sandbox.Token + "\n}"), "retry"},
		"as a status":                 {withLines("retry {\non " + sandbox.Token + "\n}"), "on"},
		"as a store":                  {withLines("store " + sandbox.Token), "store"},
		"behind a store":              {withLines("store memory " + sandbox.Token), "…"},
		"as an option of a store":     {withLines("store memory {\n" + sandbox.Token + "\n}"), "memory"},
		"as a transport":              {withLines("transport " + sandbox.Token), "transport"},
		"as an option of a transport": {withLines("transport http {\ndial_timeout " + sandbox.Token + "\n}"), "…"},
		"an address of Redis":         {withLines("resume\nstore redis {\naddress {env.TEST_REDIS}\n}"), "address"},
		"an URL of Redis":             {withLines("resume\nstore redis {\naddress {env.TEST_REDIS_URL}\n}"), "{env.TEST_REDIS_URL}"},
		"a literal URL of Redis":      {withLines("resume\nstore redis {\naddress redis://localhost?password=hidden\n}"), "redis://localhost?…"},
	} {
		t.Run(what, func(t *testing.T) {
			err := loadError(t, test.caddyfile)
			if err == nil {
				t.Fatal("the config is accepted")
			}
			if !strings.Contains(err.Error(), test.names) {
				t.Errorf("got %q, want it to show %q", err, test.names)
			}
			for _, secret := range []string{"ic_sandbox", "wsk_live_sandbox", hidden} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error shows %s: %v", secret, err)
				}
			}
		})
	}
}

// The name of a placeholder is shown even if it begins like a token.
func TestConfigErrorsNameThePlaceholder(t *testing.T) {
	const placeholder = "{file./run/secrets/ic_production}"
	for _, lines := range []string{"assistants " + placeholder, "assistants asst_demo\nendpoint https://" + placeholder} {
		err := loadError(t, ":80 {\nillumichat {\ntoken "+sandbox.Token+"\n"+lines+"\n}\n}")
		if err == nil || !strings.Contains(err.Error(), placeholder) {
			t.Errorf("got %v, want it to name %s", err, placeholder)
		}
	}
}

// The token is no assistant: visitors, the admin API, metrics and the access log would show it.
// Where any assistant is allowed, a visitor cannot put the token, or what looks like one, into logs and metrics.
func TestTokenIsNoVisitorsAssistant(t *testing.T) {
	t.Setenv("TEST_OWN_FORM", "a-token-of-a-form-of-its-own")
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, fmt.Sprintf("log\nillumichat %s {\ntoken {env.TEST_OWN_FORM}\nassistants *\nendpoint %s\n}", sitetest.ChatPath, server.URL))
	for _, id := range []string{"a-token-of-a-form-of-its-own", sandbox.Token, "x " + sandbox.Token} {
		sitetest.WantError(t, s.Ask(strings.Replace(sitetest.Hello, "asst_demo", id, 1)), http.StatusForbidden, "forbidden:assistant")
	}
	if log := s.Log(); strings.Contains(log, "a-token") || strings.Contains(log, sandbox.Token) {
		t.Error("the log holds the token")
	}
	if asked := len(server.Requests()); asked != 0 {
		t.Errorf("the upstream was asked %d times", asked)
	}
}

func TestTokenIsNoAssistant(t *testing.T) {
	t.Setenv("TEST_TOKEN", sandbox.Token)
	t.Setenv("TEST_ANOTHER", "wsk_live_sandbox0000")
	t.Setenv("TEST_OWN_FORM", "a-token-of-a-form-of-its-own")
	for _, test := range [][2]string{
		{"{env.TEST_TOKEN}", "assistants {env.TEST_TOKEN}"},
		{"{env.TEST_TOKEN}", "assistants asst_demo {env.TEST_TOKEN}"},
		{"{env.TEST_TOKEN}", "assistants asst_demo\nalias help {env.TEST_TOKEN}"},
		{"{env.TEST_TOKEN}", "assistants {env.TEST_ANOTHER}"},
		{"{env.TEST_OWN_FORM}", "assistants {env.TEST_OWN_FORM}"},
		{"{env.TEST_OWN_FORM}", "assistants asst_demo\nalias a-token-of-a-form-of-its-own asst_demo"},
		{"a-token-of-a-form-of-its-own", "assistants a-token-of-a-form-of-its-own"},
		{"a-token-of-a-form-of-its-own", "assistants asst_demo\nalias help a-token-of-a-form-of-its-own"},
		{"{env.TEST_OWN_FORM}", "assistants asst_demo\nlimit 5 1h a-token-of-a-form-of-its-own"},
		{"{env.TEST_TOKEN}", "assistants " + sandbox.Token},
		{"{env.TEST_TOKEN}", "assistants asst_demo,asst_other"},
		{"{env.TEST_TOKEN}", `assistants "'asst_demo'"`},
	} {
		err := loadError(t, fmt.Sprintf(":80 {\nillumichat {\ntoken %s\n%s\n}\n}", test[0], test[1]))
		if err == nil {
			t.Errorf("%s is accepted", test[1])
		} else if strings.Contains(err.Error(), "sandbox0") || strings.Contains(err.Error(), "a-token") {
			t.Errorf("the error shows the token: %v", err)
		}
	}
}

// The token is no part of the endpoint, of a transport or of a store: the admin API, metrics, spans or Redis would show it.
func TestTokenIsInNoOtherOption(t *testing.T) {
	const ownForm = "A-token.of_a-form~of-its-own"
	t.Setenv("TEST_TOKEN", sandbox.Token)
	t.Setenv("TEST_OWN_FORM", ownForm)
	t.Setenv("TEST_URL", "https://chat.example/"+ownForm)
	for _, test := range [][2]string{
		{"{env.TEST_TOKEN}", "endpoint http://127.0.0.1:9/" + sandbox.Token + "/chat"},
		{"{env.TEST_TOKEN}", "endpoint http://127.0.0.1:9/{env.TEST_TOKEN}/chat"},
		{"{env.TEST_TOKEN}", "endpoint https://" + strings.ToUpper(sandbox.Token) + ".example/chat"},
		{"{env.TEST_TOKEN}", "endpoint https://{env.TEST_TOKEN}.example/chat"},
		{"{env.TEST_TOKEN}", "endpoint https://chat.example/chat?key=" + sandbox.Token},
		{"{env.TEST_TOKEN}", "endpoint https://chat.example/%69" + sandbox.Token[1:]},
		{"{env.TEST_OWN_FORM}", "endpoint http://127.0.0.1:9/" + ownForm + "/chat"},
		{"{env.TEST_OWN_FORM}", "endpoint {env.TEST_URL}"},
		{"{env.TEST_OWN_FORM}", "endpoint https://" + strings.ToLower(ownForm) + ".example/chat"},
		{"{env.TEST_OWN_FORM}", "endpoint https://chat.example/%41" + ownForm[1:]},
		{"{env.TEST_OWN_FORM}", "allow_origins https://" + strings.ToLower(ownForm) + ".example"},
		{"{env.TEST_TOKEN}", "transport http {\ntls_server_name " + sandbox.Token + "\n}"},
		{"{env.TEST_OWN_FORM}", "transport http {\ntls\ntls_server_name {env.TEST_OWN_FORM}\n}"},
		{"{env.TEST_TOKEN}", "store redis {\nprefix " + sandbox.Token + "\n}"},
		{"{env.TEST_TOKEN}", "store redis {\nmaster_name " + sandbox.Token + "\n}"},
		{"{env.TEST_TOKEN}", "store redis {\naddress " + sandbox.Token + "\n}"},
		{"{env.TEST_TOKEN}", "store redis {\naddress {env.TEST_TOKEN}:6379\n}"},
		{"{env.TEST_TOKEN}", "store redis {\nusername {env.TEST_TOKEN}\npassword another\n}"},
		{"{env.TEST_TOKEN}", "store redis {\npassword {env.TEST_TOKEN}\n}"},
		{"{env.TEST_TOKEN}", "store redis {\npassword " + sandbox.Token + "\n}"},
		{"{env.TEST_TOKEN}", "store redis {\ntls {\nserver_name " + sandbox.Token + "\n}\n}"},
		{"{env.TEST_TOKEN}", "store redis {\ntls {\nclient_auth " + sandbox.Token + " key.pem\n}\n}"},
		{"{env.TEST_OWN_FORM}", "store redis {\nprefix " + ownForm + "\n}"},
		{"{env.TEST_OWN_FORM}", "store redis {\nusername {env.TEST_OWN_FORM}\npassword another\n}"},
	} {
		err := loadError(t, fmt.Sprintf(":80 {\nillumichat {\ntoken %s\nassistants asst_demo\n%s\n}\n}", test[0], test[1]))
		if err == nil || !strings.Contains(err.Error(), "API token") {
			t.Errorf("%s: got %v", test[1], err)
			continue
		}
		if shown := strings.ToLower(err.Error()); strings.Contains(shown, strings.ToLower(ownForm[1:])) || strings.Contains(shown, "sandbox0") {
			t.Errorf("%s: the error shows the token: %v", test[1], err)
		}
	}
}

// A placeholder that is not written as one is not taken literally. The error says how one is written.
func TestMisspelledPlaceholdersAreRefused(t *testing.T) {
	t.Setenv("TEST_TOKEN", sandbox.Token)
	const token, assistants = "token {env.TEST_TOKEN}", "assistants asst_demo"
	for _, lines := range []string{
		token + "\nassistants {env.X", token + "\nassistants env.X", token + "\nassistants $X", token + "\nassistants asst_demo env.X}",
		token + "\nassistants %X%", token + "\nassistants ${X}", token + "\nassistants ENV.X", token + "\nassistants file./run/id", token + "\nassistants `\\{env.X\\}`",
		token + "\nalias n {env.X", token + "\nalias n env.X", token + "\nalias n $X", token + "\nalias env.X asst_demo", token + "\nalias n} asst_demo",
		token + "\n" + assistants + "\nendpoint https://h.example/{env.X", token + "\n" + assistants + "\nendpoint https://h.example/env.X}",
		token + "\n" + assistants + "\nendpoint https://$HOST/chat", token + "\n" + assistants + "\nendpoint https://${HOST}/chat", token + "\n" + assistants + "\nendpoint $URL",
		token + "\n" + assistants + "\nroles user}", token + "\n" + assistants + "\nroles $ROLE", token + "\n" + assistants + "\npass_fields $FIELD",
		token + "\n" + assistants + "\nallow_origins https://$HOST",
		token + "\n" + assistants + "\nstore redis {\naddress {env.X\n}", token + "\n" + assistants + "\nstore redis {\naddress $REDIS\n}",
		token + "\n" + assistants + "\nstore redis {\nmaster_name {env.X}\n}", token + "\n" + assistants + "\nstore redis {\nmaster_name {env.X\n}",
		token + "\n" + assistants + "\nstore redis {\nusername {env.X\npassword another\n}", token + "\n" + assistants + "\nstore redis {\npassword {env.X\n}",
		token + "\n" + assistants + "\nstore redis {\npassword $REDIS_PASSWORD\n}", token + "\n" + assistants + "\nstore redis {\npassword file./run/secrets/redis\n}",
		token + "\n" + assistants + "\nstore redis {\ntls {\nserver_name {env.X}\n}\n}", token + "\n" + assistants + "\nstore redis {\ntls {\nclient_auth {env.X} key.pem\n}\n}",
		token + "\n" + assistants + "\nstore redis {\nprefix $PREFIX\n}",
		"token env.ILLUMICHAT_API_TOKEN\n" + assistants, "token {env.ILLUMICHAT_API_TOKEN\n" + assistants, "token file./run/secrets/illumichat_token\n" + assistants,
		"token file:///run/secrets/illumichat_token\n" + assistants, "token run/secrets/illumichat_token\n" + assistants,
		"token {env.TEST_TOKEN}{env.TEST_TOKEN}\n" + assistants, "token ic_{env.TEST_TOKEN}\n" + assistants,
	} {
		err := loadError(t, ":80 {\nillumichat {\n"+lines+"\n}\n}")
		if err == nil {
			t.Errorf("accepted: %s", lines)
			continue
		}
		text := err.Error()
		if !strings.Contains(text, "{env.NAME}") && !strings.Contains(text, "{file.PATH}") && !strings.Contains(text, "write the ") &&
			!strings.Contains(text, "https://www.example.com") {
			t.Errorf("%s: the error does not say what to write: %v", lines, err)
		}
		if !strings.Contains(text, "at Caddyfile:") {
			t.Errorf("%s: the error does not say where: %v", lines, err)
		}
	}
}

// What looks like a part of a placeholder may be meant.
func TestWordsNearPlaceholdersAreAccepted(t *testing.T) {
	t.Setenv("TEST_TOKEN", sandbox.Token)
	for _, lines := range []string{
		"assistants environment file_1", "alias environment asst_demo", "endpoint https://env.example.com/$web/chat", "endpoint https://file.example.com/chat",
		"roles system user", "pass_fields file.name", "resume\nstore redis {\naddress env.example.com:6379\n}", "resume\nstore redis {\npassword pa$$w{rd\nprefix env.prod\n}",
		"resume\nstore redis {\ntls {\nserver_name file.example.com\n}\n}",
	} {
		if !strings.HasPrefix(lines, "a") {
			lines = "assistants asst_demo\n" + lines
		}
		if err := loadError(t, ":80 {\nillumichat {\ntoken {env.TEST_TOKEN}\n"+lines+"\n}\n}"); err != nil {
			t.Errorf("%s: %v", lines, err)
		}
	}
}

// The name of an alias can be told from a list, from a pattern and from the metrics label of the unlisted assistants.
func TestAmbiguousNamesAreRefused(t *testing.T) {
	t.Setenv("TEST_TOKEN", sandbox.Token)
	t.Setenv("TEST_OTHER", "other")
	for _, lines := range []string{
		"assistants *\nalias other asst_demo", "alias other asst_demo\nassistants *", "assistants other", "assistants {env.TEST_OTHER}",
		"alias * asst_demo", `alias "a b" asst_demo`, "alias a,b asst_demo", "alias `\"a\"` asst_demo", "alias \"a\tb\" asst_demo",
	} {
		if err := loadError(t, ":80 {\nillumichat {\ntoken {env.TEST_TOKEN}\n"+lines+"\n}\n}"); err == nil {
			t.Errorf("accepted: %s", lines)
		}
	}
	for _, lines := range []string{"assistants *\nalias others asst_demo", "assistants asst_demo\nalias other asst_demo", "alias Straße asst_demo", "alias n other"} {
		if err := loadError(t, ":80 {\nillumichat {\ntoken {env.TEST_TOKEN}\n"+lines+"\n}\n}"); err != nil {
			t.Errorf("%s: %v", lines, err)
		}
	}
}

// An id that looks like a token is not called the token.
func TestIDOfATokensFormIsRefused(t *testing.T) {
	t.Setenv("TEST_TOKEN", sandbox.Token)
	err := loadError(t, ":80 {\nillumichat {\ntoken {env.TEST_TOKEN}\nassistants my-ic_"+strings.Repeat("x", 33)+"\n}\n}")
	if err == nil || !strings.Contains(err.Error(), "form of an API token") {
		t.Errorf("got %v", err)
	}
}

// The trace line of a request, which shows the handler, has no key of the endpoint's query.
func TestTraceHidesTheQueryOfTheEndpoint(t *testing.T) {
	server := sandboxtest.NewServer(t, sandbox.Options{})
	t.Setenv("TEST_ENDPOINT", server.URL+"?key=hidden")
	for _, endpoint := range []string{server.URL + "?key=hidden", "{env.TEST_ENDPOINT}", server.URL + "?key={env.TEST_ENDPOINT}"} {
		s := sitetest.ServeWith(t, "grace_period 1ms\nservers {\ntrace\n}",
			fmt.Sprintf("illumichat %s {\ntoken %s\nassistants %s\nendpoint %s\n}", sitetest.ChatPath, sandbox.Token, sandbox.Assistant, endpoint))
		before := len(s.Log())
		if resp := s.Ask(sitetest.Hello); resp.StatusCode != http.StatusOK {
			t.Errorf("got status %d", resp.StatusCode)
		}
		log := s.Log()[before:]
		if !strings.Contains(log, `"endpoint":"`+strings.TrimSuffix(server.URL, "/api/chat")) || strings.Contains(log, "hidden") {
			t.Errorf("%s: the log shows the query, or no endpoint: %s", endpoint, log)
		}
	}
}
