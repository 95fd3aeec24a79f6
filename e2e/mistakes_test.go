package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
	"github.com/illumichat/caddy-illumichat/sandbox"
	"github.com/illumichat/caddy-illumichat/sandbox/sandboxtest"
)

// These tests are the table of the mistakes that people make when they set up a chat: each row has a mistake and the
// message that it gives. TestCheckKnowsWhereRequestsGo has the mistakes by which a request never reaches the chat: a
// slash at the end, try_files, respond, route, handle_path, order, and two chats on one path.

const (
	goodToken      = "token {env.ILLUMICHAT_API_TOKEN}\n"
	goodAssistants = "assistants asst_1\n"
	good           = goodToken + goodAssistants
)

// A config with a mistake is refused, with a message that names the wrong word and says what to write.
func TestMistakesInConfigs(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	t.Setenv("TEST_QUOTED", `"`+sandbox.Token+`"`)
	t.Setenv("TEST_BEARER", "Bearer "+sandbox.Token)
	t.Setenv("TEST_LINE_END", sandbox.Token+"\n")
	t.Setenv("TEST_SPACE", sandbox.Token+" ")
	t.Setenv("TEST_EMPTY", "")
	t.Setenv("TEST_LIST", "asst_1,asst_2")
	t.Setenv("TEST_QUOTED_ID", `"asst_1"`)
	for _, row := range []struct {
		mistake, block string
		want           []string // pieces of the message
	}{
		// The token.
		{"no token", goodAssistants, []string{"a token is needed, such as: token {file./", "Caddyfile:"}},
		{"an empty block", "", []string{"illumichat needs a block with token and assistants", "Caddyfile:"}},
		{"the name of another variable", "token {env.TEST_TOKK}\n" + goodAssistants, []string{"{env.TEST_TOKK} is empty or cannot be read"}},
		{"{$TOKEN} that is not set", "token {$TEST_UNSET}\n" + goodAssistants, []string{"token has no argument; {$NAME} leaves none if the variable NAME is not set", "Caddyfile:"}},
		{"the word Bearer", "token Bearer {env.ILLUMICHAT_API_TOKEN}\n" + goodAssistants, []string{"without the word Bearer", "Caddyfile:"}},
		{"{TOKEN}", "token {TEST_TOKEN}\n" + goodAssistants, []string{"{TEST_TOKEN} is not supported here; did you mean {env.TEST_TOKEN}?", "Caddyfile:"}},
		{"${TOKEN}", "token ${TEST_TOKEN}\n" + goodAssistants, []string{"the token is put together from a placeholder and other text", "Caddyfile:"}},
		{"{env:TOKEN}", "token {env:TEST_TOKEN}\n" + goodAssistants, []string{"{env:TEST_TOKEN} is not supported here; did you mean {env.TEST_TOKEN}?", "Caddyfile:"}},
		{"a folder", "token {file." + dir + "}\n" + goodAssistants, []string{dir + " is not a regular file"}},
		{"a file without a path", "token {file.token}\n" + goodAssistants, []string{"{file.token} needs an absolute path, such as {file./etc/caddy/token}"}},
		{"a file that is missing at a relative path", "token {file.secrets/token}\n" + goodAssistants, []string{"{file.secrets/token}: there is no such file; write an absolute path"}},
		{"a path", "token /run/secrets/illumichat_token\n" + goodAssistants, []string{"the token is a path; write {file.PATH} to read it from a file", "Caddyfile:"}},
		{"quotation marks from an env file", "token {env.TEST_QUOTED}\n" + goodAssistants, []string{"{env.TEST_QUOTED}: the token has quotation marks around it; leave them out"}},
		{"Bearer in the variable", "token {env.TEST_BEARER}\n" + goodAssistants, []string{"{env.TEST_BEARER}: the token begins with the word Bearer; leave it out"}},
		{"a line end in the variable", "token {env.TEST_LINE_END}\n" + goodAssistants, []string{"{env.TEST_LINE_END}: the token ends with a line end; leave it out"}},
		{"a space in the variable", "token {env.TEST_SPACE}\n" + goodAssistants, []string{"{env.TEST_SPACE}: the token ends with white space; leave it out"}},
		{"a second token", good + goodToken, []string{"token is already specified", "Caddyfile:"}},

		// The assistants.
		{"no assistants", goodToken, []string{"assistants: at least one assistant is needed", "Caddyfile:"}},
		{"an empty variable", goodToken + "assistants {env.TEST_EMPTY}", []string{"{env.TEST_EMPTY} is empty or cannot be read"}},
		{"{$X} that is not set", goodToken + "assistants {$TEST_UNSET}", []string{"assistants needs an argument; an example is: assistants asst_abc123", "Caddyfile:"}},
		{"a comma", goodToken + "assistants asst_1, asst_2", []string{`"asst_1,"`, "a comma; separate ids by spaces", "Caddyfile:"}},
		{"a comma in the variable", goodToken + "assistants {env.TEST_LIST}", []string{"the value of {env.TEST_LIST}", "a comma"}},
		{"quotation marks in the variable", goodToken + "assistants {env.TEST_QUOTED_ID}", []string{"the value of {env.TEST_QUOTED_ID}", "quotation marks; leave them out"}},
		{"a second list", good + goodAssistants, []string{"assistants is already specified", "Caddyfile:"}},
		{"a semicolon", goodToken + "assistants asst_1;asst_2", []string{"spaces between them", "Caddyfile:"}},
		{"the URL of an assistant", goodToken + "assistants https://illumichat.com/a/asst_1", []string{"it is a URL; write the id alone", "Caddyfile:"}},
		{"an alias without an id", good + "alias support", []string{"alias has too few arguments; an example is: alias support asst_abc123", "Caddyfile:"}},
		{"an alias of three words", good + "alias support asst_2 asst_3", []string{"unexpected argument 'asst_3'; an example is: alias support asst_abc123", "Caddyfile:"}},
		{"an alias by a placeholder", good + "alias {env.TEST_A} x", []string{"alias: the name \"{env.TEST_A}\" is a placeholder", "Caddyfile:"}},
		{"a default that is not listed", good + "default_assistant sales", []string{`default_assistant: "sales": it is neither a listed id nor an alias; write one of: asst_1`, "Caddyfile:"}},

		{"a misspelled default", goodToken + "assistants asst_AbCdEf\nalias support asst_2\ndefault_assistant asst_AbCdEg", []string{"did you mean asst_AbCdEf?"}},
		{"a default in another case", goodToken + "assistants asst_1\nalias support asst_2\ndefault_assistant Support", []string{"did you mean support?"}},

		// Misspelled names, with the ones that were meant.
		{"assistant", goodToken + "assistant asst_1", []string{"'assistant'; did you mean assistants?", "Caddyfile:"}},
		{"asistants", goodToken + "asistants asst_1", []string{"'asistants'; did you mean assistants?"}},
		{"allowed_origins", good + "allowed_origins https://www.example.com", []string{"'allowed_origins'; did you mean allow_origins?"}},
		{"rate_limit", good + "rate_limit 20 1h", []string{"'rate_limit'; did you mean limit?"}},
		{"api_token", "api_token {env.ILLUMICHAT_API_TOKEN}", []string{"'api_token'; did you mean token?"}},
		{"max_body", good + "max_body 1MiB", []string{"'max_body'; did you mean max_body_size?"}},
		{"an option of resume", good + "resume {\nmaxsize 1MiB\n}", []string{"'maxsize' of resume; did you mean max_size?"}},

		{"an owner outside of resume", good + "owner {http.auth.user.id}", []string{"unrecognized subdirective 'owner'; it belongs in the block of resume"}},
		{"a limit within resume", good + "resume {\nlimit 20 1h\n}", []string{"unrecognized subdirective 'limit' of resume; it belongs outside this block"}},
		{"api_key", "api_key {env.ILLUMICHAT_API_TOKEN}", []string{"'api_key'; did you mean token?"}},
		{"timeout", good + "timeout 60s", []string{"'timeout'; did you mean max_duration?"}},

		// Durations, sizes and numbers.
		{"a duration without a unit", good + "heartbeat 30", []string{"heartbeat: '30' is not a duration, such as 30s, or off", "Caddyfile:"}},
		{"24 hours without a unit", good + "limit 20 24", []string{"limit: '24' is not a duration, such as 1h; an example is: limit 20 1h"}},
		{"a size of a few bytes", good + "max_body_size 64", []string{"max_body_size: 64 bytes is less than the minimum, 1KiB", "64KiB", "Caddyfile:"}},
		{"an answer of a few bytes", good + "resume {\nmax_size 10\n}", []string{"max_size: 10 bytes is less than the minimum, 1KiB", "64KiB", "Caddyfile:"}},
		{"statuses as a class", good + "retry {\non 5xx\n}", []string{"'5xx' is not a status; write each, such as 500 502 503"}},
		{"a limit the other way round", good + "limit 1h 20", []string{"limit: '1h' is not a whole number; an example is: limit 20 1h", "Caddyfile:"}},
		{"a limit of four words", good + "limit 5 1h x y", []string{"unexpected argument 'y'; an example is: limit 20 1h", "Caddyfile:"}},
		{"a limit without a window", good + "limit 5", []string{"limit has too few arguments; an example is: limit 20 1h"}},
		{"a limit twice", good + "limit 5 1h\nlimit 6 60m", []string{"there are two for a window of 1h0m0s and the same key"}},
		{"a limit of 0", good + "limit 0 1h", []string{"the number of requests, 0, is not from 1"}},
		{"a limit by a word for each client", good + "limit 2 1m client", []string{"the key 'client' is a fixed word", "leave the key out"}},

		// What takes no argument.
		{"resume off", good + "resume off", []string{"unexpected argument 'off'; resume takes a block or nothing; leave resume out"}},
		{"retry 3", good + "retry 3", []string{"unexpected argument '3'; retry takes no argument; write attempts, backoff or on in its block"}},
		{"store redis localhost", good + "store redis localhost:6379", []string{"unexpected argument 'localhost:6379'; redis takes a block", "address redis.example.com:6379"}},

		// The endpoint.
		{"no scheme", good + "endpoint beta.illumichat.com/api/chat", []string{"endpoint: not an http or https URL; one is written like https://beta.illumichat.com/api/chat", "Caddyfile:"}},
		{"nonsense", good + "endpoint ::nonsense::", []string{"endpoint: not an http or https URL", "Caddyfile:"}},
		{"a port that does not exist", good + "endpoint https://example.com:99999/", []string{"a port that does not exist", "Caddyfile:"}},
		{"another scheme", good + "endpoint h2c://example.com/", []string{"h2c://example.com: not an http or https URL", "Caddyfile:"}},

		// Origins and owners.
		{"an origin with a path", good + "allow_origins https://www.example.com/chat", []string{"'https://www.example.com/chat' is not an origin", "did you mean https://www.example.com?", "Caddyfile:"}},
		{"an origin with a slash", good + "allow_origins https://www.example.com/", []string{"'https://www.example.com/' is not an origin"}},
		{"any origin", good + "allow_origins *", []string{"list the origins"}},
		{"an origin without a scheme", good + "allow_origins www.example.com", []string{"'www.example.com' is not an origin", "did you mean https://www.example.com?"}},
		{"a wildcard", good + "allow_origins https://*.example.com", []string{"'https://*.example.com': wildcards are not supported; list each origin"}},
		{"origins with a comma", good + "allow_origins https://a.example, https://b.example", []string{"'https://a.example,' is not an origin: it holds a comma; separate origins by spaces"}},
		{"roles with a comma", good + "roles user, assistant", []string{`"user," holds a comma; separate roles by spaces`}},
		{"fields with a comma", good + "pass_fields temperature,model", []string{`"temperature,model" holds a comma; separate fields by spaces`}},
		{"statuses with a comma", good + "retry {\non 500, 502\n}", []string{"'500,' is not a status; write each, such as 500 502 503"}},
		{"addresses with a comma", good + "store redis {\naddress a:6379, b:6379\n}", []string{"'a:6379,' holds a comma; separate addresses by spaces"}},
		{"an origin by a placeholder", good + "allow_origins {env.TEST_ORIGIN}", []string{"'{env.TEST_ORIGIN}' is not an origin, and placeholders do not work here", "{$NAME}"}},
		{"an owner without braces", good + "resume {\nowner http.auth.user.id\n}", []string{"'http.auth.user.id'", "{http.auth.user.id}"}},
		{"roles by a placeholder", good + "roles {env.TEST_ROLES}", []string{"roles: \"{env.TEST_ROLES}\": a placeholder does not work here; write the word itself"}},
		{"fields by a placeholder", good + "pass_fields {env.TEST_FIELDS}", []string{"pass_fields: \"{env.TEST_FIELDS}\": a placeholder does not work here"}},

		// The store.
		{"a store that there is not", good + "store radis", []string{"there is no store 'radis'; did you mean redis?", "Caddyfile:"}},
		{"a store's URL", good + "store redis {\naddress redis://localhost\n}", []string{"'redis://localhost' is a URL, not host:port", "Caddyfile:"}},
		{"a store without a port", good + "store redis {\naddress localhost:\n}", []string{"'localhost:' is not host:port, such as redis.example.com:6379", "Caddyfile:"}},
	} {
		t.Run(row.mistake, func(t *testing.T) {
			wantRefused(t, ":80 {\nillumichat /chat {\n"+row.block+"\n}\n}", row.want)
		})
	}
	for mistake, want := range map[string]string{
		"illumichat api/chat":  "unexpected argument 'api/chat'; a path matcher begins with a slash, such as /api/chat-proxy",
		"illumichat /a /b":     "unexpected argument '/b'; several paths need a named matcher, such as: @chat path",
		"illumichat /chat":     "illumichat needs a block with token and assistants",
		"illumi_chat /chat":    "unrecognized directive: illumi_chat",
		"illumichat /a {\n{\n": "Caddyfile:",
	} {
		t.Run(mistake, func(t *testing.T) { wantRefused(t, ":80 {\n"+mistake+"\n}", []string{want}) })
	}
}

// wantRefused checks that a Caddyfile is refused with a message that has the given pieces, and no secret.
func wantRefused(t *testing.T, caddyfile string, want []string) {
	t.Helper()
	config, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), map[string]any{"filename": "Caddyfile"})
	if err == nil {
		err = sitetest.Validate(t, config)
	}
	if err == nil {
		t.Fatal("it is accepted")
	}
	for _, piece := range want {
		if !strings.Contains(err.Error(), piece) {
			t.Errorf("got %q, want it to have %q", err, piece)
		}
	}
	if strings.Contains(err.Error(), sandbox.Token) {
		t.Errorf("the message has the token: %v", err)
	}
}

// The same for JSON.
func TestMistakesInJSON(t *testing.T) {
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	for field, want := range map[string]string{
		`"limit": [{"requests": 20, "window": "1h"}]`: `unknown field "limit"; did you mean limits?`,
		`"alias": {"support": "asst_1"}`:              `unknown field "alias"; did you mean aliases?`,
		`"heartbeat": "off"`:                          `heartbeat: "off" is not a duration; write a number and a unit, such as "30s", or -1 to turn it off`,
		`"idle_timeout": 30`:                          "idle_timeout: 30ns is shorter than 1ms; write a number and a unit, such as 30s",
		`"max_body_size": "64KiB"`:                    "max_body_size is a text, but must be a whole number, such as 65536",
		`"allow_origins": "https://www.example.com"`:  `allow_origins is a text, but must be a list, such as ["https://www.example.com"]`,
	} {
		t.Run(field, func(t *testing.T) {
			config := fmt.Sprintf(`{"apps": {"http": {"servers": {"srv0": {"routes": [{"handle": [
				{"handler": "illumichat", "token": "{env.ILLUMICHAT_API_TOKEN}", "assistants": ["asst_1"], %s}
			]}]}}}}}`, field)
			var cfg caddy.Config
			if err := caddy.StrictUnmarshalJSON([]byte(config), &cfg); err != nil {
				t.Fatal(err)
			}
			if err := caddy.Validate(&cfg); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want it to have %q", err, want)
			}
		})
	}
}

// A mistake that shows only when the chat is used, or that may be meant, is a line of the log.
func TestMistakesInTheLog(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	t.Setenv("TEST_OTHER_TOKEN", "ic_another0000000000000000000000000000000000")
	server := sandboxtest.NewServer(t, sandbox.Options{})
	html := sitetest.NewUpstream(t, sitetest.Answering(200, "<html>Welcome</html>", "Content-Type", "text/html"))
	missing := sitetest.NewUpstream(t, sitetest.Answering(404, "<html>Not found</html>", "Content-Type", "text/html"))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed := listener.Addr().String()
	listener.Close()
	at := func(endpoint string) string { return good + "endpoint " + endpoint + "\n" + sitetest.Once }
	s := sitetest.Serve(t, "respond 404")
	for _, row := range []struct {
		mistake, block string
		level, message string
		hint, cause    string // pieces of them
	}{
		// When the config loads.
		{"{$TOKEN}", "token " + sandbox.Token + "\n" + goodAssistants, "warn", "use {env.NAME} or {file.PATH} instead", "", ""},
		{"a file that is missing", "token {file." + dir + "/missing}\n" + goodAssistants, "error", "there is no token, so", "", ""},
		{"a swapped alias", good + "alias asst_2 support", "warn", "the name comes first, as in: alias support asst_1", "", ""},
		{"a response_timeout that is never reached", good + "response_timeout 5m", "warn", "response_timeout is longer than max_duration", "", ""},
		{"an endpoint without a path", good + "endpoint https://beta.illumichat.com", "warn", "the endpoint has no path", "", ""},
		{"an endpoint in the clear", good + "endpoint http://chat.example.com/api/chat", "warn", "the token can be read on the way to it", "", ""},
		{"any assistant", goodToken + "assistants *", "warn", "list the ones that are meant for them", "", ""},
		{"no limit", good, "info", "no limit is set", "", ""},
		{"an endpoint by a variable that is not set", good + "endpoint {env.TEST_UNSET_ENDPOINT}", "info", "the placeholder of endpoint is empty, so the default endpoint is used", "", ""},
		{"a store that refuses connections", good + "store redis {\naddress " + closed + "\n}", "warn", "Redis cannot be reached", "", "connection refused"},
		{"a store whose host does not exist", good + "store redis {\naddress nowhere.invalid:6379\n}", "warn", "Redis cannot be reached", "", "no such host"},

		// When a visitor sends a chat.
		{"a host that does not exist", at("https://nowhere.invalid/api/chat"), "error", "the chat failed", "endpoint", "no such host"},
		{"a host that refuses", at("http://" + closed + "/api/chat"), "error", "the chat failed", "endpoint", "connection refused"},
		{"no TLS there", at(strings.Replace(server.URL, "http:", "https:", 1)), "error", "the chat failed", "endpoint", "the other side does not speak TLS"},
		{"a path with another page", at(html.URL), "error", "the chat failed", "check whether endpoint is the URL of the chat API", "text/html"},
		{"a path that does not exist", at(missing.URL + "/api/chats"), "warn", "the chat failed", "check endpoint", ""},
		{"an assistant that does not exist", at(server.URL), "warn", "the chat failed", "check endpoint and the assistant's id", ""},
		{"another token", "token {env.TEST_OTHER_TOKEN}\nassistants asst_demo\nendpoint " + server.URL, "error", "the chat failed", "token", ""},
	} {
		t.Run(row.mistake, func(t *testing.T) {
			before := len(s.Log())
			s.Reload("illumichat " + sitetest.ChatPath + " {\n" + row.block + "\n}")
			if row.message == "the chat failed" {
				chat := strings.Replace(sitetest.Hello, `"assistantId":"asst_demo",`, "", 1)
				sitetest.ReadAll(t, s.Send(sitetest.OneShot, sitetest.ChatRequest(t, s.Plain, chat)))
			}
			sitetest.Eventually(t, "the log says so", func() bool { // a store is reached only afterwards
				return slices.ContainsFunc(logLines(t, s.Log()[before:]), func(l logLine) bool {
					return l.Level == row.level && strings.Contains(l.Msg, row.message) && strings.Contains(l.Hint, row.hint) && strings.Contains(l.Cause+l.Error, row.cause)
				})
			})
		})
	}
	t.Run("the whole site is the chat's", func(t *testing.T) {
		before := len(s.Log())
		s.Reload("file_server\nillumichat * {\n" + good + "\n}")
		if lines := logLines(t, s.Log()[before:]); !slices.ContainsFunc(lines, func(l logLine) bool {
			return l.Level == "info" && strings.Contains(l.Msg, "no path is set, so the chat answers every request that reaches it")
		}) {
			t.Errorf("no line says so: %s", s.Log()[before:])
		}
	})
	t.Run("a file that cannot be read", func(t *testing.T) {
		file := filepath.Join(dir, "unreadable")
		if err := os.WriteFile(file, []byte(sandbox.Token), 0); err != nil {
			t.Fatal(err)
		}
		unprivileged(t, func() {
			wantRefused(t, ":80 {\nillumichat {\ntoken {file."+file+"}\nassistants asst_1\n}\n}", []string{"permission denied"})
		})
	})
}

// A page that compresses its request is told so, not that its JSON is wrong.
func TestCompressedRequest(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, ""))
	for coding, status := range map[string]int{"gzip": 415, "br": 415, "identity": 200, "Identity": 200} {
		req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
		req.Header.Set("Content-Encoding", coding)
		resp := s.Send(http.DefaultTransport, req)
		if status == 200 {
			sitetest.OnlyFinish(t, sitetest.ReadAll(t, resp))
			continue
		}
		if text := sitetest.WantError(t, resp, status, "unsupported_media_type:chat"); !strings.Contains(text, "without Content-Encoding") {
			t.Errorf("%s: got %q", coding, text)
		}
	}
}

// A request with a mistake gets an error that names the field and says what to send.
func TestMistakesInRequests(t *testing.T) {
	t.Setenv("ILLUMICHAT_API_TOKEN", sandbox.Token)
	server := sandboxtest.NewServer(t, sandbox.Options{})
	s := sitetest.Serve(t, fmt.Sprintf("illumichat %[1]s {\n%[2]sassistants asst_1 asst_2\nendpoint %[3]s\n}\nillumichat /resumable {\n%[2]sassistants asst_1\nendpoint %[3]s\nresume\n}",
		sitetest.ChatPath, goodToken, server.URL))
	const json = "application/json"
	for _, row := range []struct {
		mistake, method, path, contentType, origin, body string
		status                                           int
		code, want                                       string
	}{
		{"a GET", "GET", "", "", "", "", 405, "method_not_allowed:chat", "use POST to send a chat"},
		{"a GET without an answer's id", "GET", "/resumable", "", "", "", 400, "bad_request:stream", "use POST to send a chat; to continue an answer"},
		{"a form", "POST", "", "application/x-www-form-urlencoded", "", "messages=Hello", 415, "unsupported_media_type:chat", "application/json"},
		{"no type", "POST", "", "", "", sitetest.Hello, 415, "unsupported_media_type:chat", "application/json"},
		{"no body", "POST", "", json, "", "", 400, "bad_request:chat", "empty"},
		{"no JSON", "POST", "", json, "", "Hello", 400, "bad_request:chat", "JSON"},
		{"no content", "POST", "", json, "", `{"assistantId":"asst_1","messages":[{"role":"user"}]}`, 400, "bad_request:chat", "messages[0].content"},
		{"an empty content", "POST", "", json, "", `{"assistantId":"asst_1","messages":[{"role":"user","content":""}]}`, 400, "bad_request:chat", "messages[0].content"},
		{"a null content", "POST", "", json, "", `{"assistantId":"asst_1","messages":[{"role":"user","content":null}]}`, 400, "bad_request:chat", "messages[0].content"},
		{"the role system", "POST", "", json, "", `{"assistantId":"asst_1","messages":[{"role":"system","content":"Hi"}]}`, 400, "bad_request:chat", "messages[0].role"},
		{"no assistant", "POST", "", json, "", `{"messages":[{"role":"user","content":"Hi"}]}`, 400, "bad_request:chat", "assistantId is missing, and this chat has more than one assistant"},
		{"another assistant", "POST", "", json, "", `{"assistantId":"asst_3","messages":[{"role":"user","content":"Hi"}]}`, 403, "forbidden:assistant", "assistant"},
		{"a page of another origin", "POST", "", json, "https://www.example.com", sitetest.Hello, 403, "forbidden:origin", "its owner can list the origin in allow_origins"},
	} {
		t.Run(row.mistake, func(t *testing.T) {
			req, err := http.NewRequestWithContext(t.Context(), row.method, s.Plain+sitetest.ChatPath, strings.NewReader(row.body))
			if err != nil {
				t.Fatal(err)
			}
			if row.path != "" {
				req.URL.Path = row.path
			}
			for name, value := range map[string]string{"Content-Type": row.contentType, "Origin": row.origin} {
				if value != "" {
					req.Header.Set(name, value)
				}
			}
			if text := sitetest.WantError(t, s.Send(http.DefaultTransport, req), row.status, row.code); !strings.Contains(text, row.want) {
				t.Errorf("got %q, want it to have %q", text, row.want)
			}
		})
	}
}
