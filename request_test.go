package illumichat

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// The parts that most bodies are made of.
const hi = `{"role":"user","content":"Hi"}`

func chatWith(fields string) string    { return `{"messages":[` + hi + `]` + fields + `}` }
func chatOf(messages string) string    { return `{"messages":[` + messages + `]}` }
func messageWith(fields string) string { return chatOf(`{"role":"user","content":"Hi"` + fields + `}`) }
func contentOf(value string) string    { return chatOf(`{"role":"user","content":` + value + `}`) }
func nested(depth int) string          { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }
func askedFor(chat, id string) string {
	return strings.TrimSuffix(chat, "}") + `,"assistantId":"` + id + `"}`
}
func padded(chat string, size int) string { return chat + strings.Repeat(" ", size-len(chat)) }

// smallBody is the max_body_size of the site /small.
const smallBody = 200

// bodySites are the configurations that the bodies are tried with.
const bodySites = `
	illumichat /one {
		token {env.BODY_TEST_TOKEN}
		endpoint %[1]s
		assistants asst_demo
		max_messages 3
		pass_fields model grüße
	}
	illumichat /several {
		token {env.BODY_TEST_TOKEN}
		endpoint %[1]s
		assistants asst_demo asst_two
		alias helper asst_hidden
		roles user system
	}
	illumichat /alias {
		token {env.BODY_TEST_TOKEN}
		endpoint %[1]s
		alias helper asst_hidden
	}
	illumichat /any {
		token {env.BODY_TEST_TOKEN}
		endpoint %[1]s
		assistants *
	}
	illumichat /small {
		token {env.BODY_TEST_TOKEN}
		endpoint %[1]s
		assistants asst_demo
		max_body_size 200
	}
	request_body /limited {
		max_size 20
	}
	illumichat /limited {
		token {env.BODY_TEST_TOKEN}
		endpoint %[1]s
		assistants asst_demo
	}`

// refusedBodies get 400 bad_request:chat unless the row says otherwise, with a text that holds want.
var refusedBodies = []struct {
	name, site, body string
	status           int
	want             string
}{
	{name: "nothing", body: ``, want: "body is empty"},
	{name: "white space", body: " \r\n\t", want: "body is empty"},
	{name: "null", body: `null`, want: "body must be an object"},
	{name: "an array", body: `[` + chatWith("") + `]`, want: "body must be an object"},
	{name: "a string", body: `"messages"`, want: "body must be an object"},
	{name: "a number", body: `1`, want: "body must be an object"},
	{name: "no JSON", body: `messages=hi`, want: "not valid JSON"},
	{name: "an empty object", body: `{}`, want: "messages"},

	// Syntax.
	{name: "a byte order mark", body: "\uFEFF" + chatWith(""), want: "not valid JSON"},
	{name: "UTF-16", body: "{\x00}\x00", want: "not valid JSON"},
	{name: "torn in the object", body: `{"messages":[` + hi + `]`, want: "not valid JSON"},
	{name: "torn in a string", body: `{"messages":[{"role":"user","content":"H`, want: "not valid JSON"},
	{name: "torn in a literal", body: chatWith(`,"model":tru`), want: "model is not valid JSON, at byte"},
	{name: "a trailing comma", body: chatWith(","), want: "not valid JSON"},
	{name: "a trailing comma in the messages", body: chatOf(hi + ","), want: "messages is not valid JSON, at byte"},
	{name: "a trailing comma in a message", body: messageWith(","), want: "not valid JSON"},
	{name: "a trailing comma in a content", body: contentOf(`["a",]`), want: "not valid JSON"},
	{name: "a trailing comma in a dropped field", body: chatWith(`,"x":[1,]`), want: "not valid JSON"},
	{name: "a leading comma", body: `{,"messages":[` + hi + `]}`, want: "not valid JSON"},
	{name: "two commas", body: chatOf(hi + ",," + hi), want: "not valid JSON"},
	{name: "no comma", body: chatOf(hi + hi), want: "not valid JSON"},
	{name: "no colon", body: `{"messages" [` + hi + `]}`, want: "not valid JSON"},
	{name: "a name without quotes", body: `{messages:[` + hi + `]}`, want: "not valid JSON"},
	{name: "a number for a name", body: chatWith(`,1:1`), want: "not valid JSON"},
	{name: "single quotes", body: `{'messages':[` + hi + `]}`, want: "not valid JSON"},
	{name: "a closing bracket of another kind", body: `{"messages":[` + hi + `}]`, want: "not valid JSON"},
	{name: "something that follows", body: chatWith("") + "x", want: ""},
	{name: "a comma that follows", body: chatWith("") + ",", want: ""},
	{name: "a second value", body: chatWith("") + chatWith(""), want: "follows"},
	{name: "a line comment", body: chatWith("") + "// hi", want: ""},
	{name: "a block comment", body: `{/* hi */"messages":[` + hi + `]}`, want: "not valid JSON"},
	{name: "NaN", body: chatWith(`,"model":NaN`), want: "model is not valid JSON, at byte"},
	{name: "Infinity", body: chatWith(`,"x":-Infinity`), want: "not valid JSON"},
	{name: "a leading zero", body: chatWith(`,"model":01`), want: "not valid JSON"},
	{name: "a plus sign", body: chatWith(`,"model":+1`), want: "not valid JSON"},
	{name: "a number without a fraction", body: chatWith(`,"model":1.`), want: "not valid JSON"},
	{name: "a number without a whole", body: chatWith(`,"model":.1`), want: "not valid JSON"},
	{name: "hexadecimals", body: chatWith(`,"model":0x1`), want: "not valid JSON"},
	{name: "True", body: chatWith(`,"model":True`), want: "not valid JSON"},
	{name: "a form feed for a space", body: "\f" + chatWith(""), want: "not valid JSON"},

	// Strings.
	{name: "a lone high surrogate", body: contentOf(`"\ud800"`), want: "messages[0].content is not valid JSON, at byte"},
	{name: "a lone low surrogate", body: contentOf(`"\udc00x"`), want: "messages[0].content is not valid JSON, at byte"},
	{name: "surrogates in the wrong order", body: chatWith(`,"x":"\udc00\ud800"`), want: "not valid JSON"},
	{name: "invalid UTF-8", body: contentOf("\"\xff\""), want: "messages[0].content is not valid JSON, at byte"},
	{name: "overlong UTF-8", body: contentOf("\"\xc0\xaf\""), want: "not valid JSON"},
	{name: "a surrogate as UTF-8", body: chatWith(",\"x\":\"\xed\xa0\x80\""), want: "not valid JSON"},
	{name: "invalid UTF-8 in a dropped name", body: chatWith(",\"\xff\":1"), want: "not valid JSON"},
	{name: "NUL in a string", body: contentOf("\"a\x00b\""), want: "not valid JSON"},
	{name: "NUL after the object", body: chatWith("") + "\x00", want: ""},
	{name: "a line end in a string", body: contentOf("\"a\nb\""), want: "messages[0].content is not valid JSON, at byte"},
	{name: "a tab in a string", body: contentOf("\"a\tb\""), want: "not valid JSON"},
	{name: "an unknown escape", body: contentOf(`"\a"`), want: "messages[0].content is not valid JSON, at byte"},
	{name: "a short escape", body: contentOf(`"\u00e"`), want: "not valid JSON"},

	// Names.
	{name: "messages twice", body: chatWith(`,"messages":[` + hi + `]`), want: "messages is given twice"},
	{name: "assistantId twice", body: chatWith(`,"assistantId":"asst_demo","assistantId":"asst_demo"`), want: "assistantId is given twice"},
	{name: "chatId twice", body: chatWith(`,"chatId":null,"chatId":"c"`), want: "chatId is given twice"},
	{name: "a dropped name twice", body: chatWith(`,"x":1,"x":1`), want: "x is given twice"},
	{name: "role twice", body: messageWith(`,"role":"user"`), want: "messages[0].role is given twice"},
	{name: "content twice, once escaped", body: messageWith(`,"c\u006fntent":"x"`), want: "messages[0].content is given twice"},
	{name: "a name twice in a message", body: messageWith(`,"a":1,"\u0061":2`), want: "messages[0].a is given twice"},
	{name: "a name twice deep in a message", body: messageWith(`,"x":[{"y":{"a":1,"a":1}}]`), want: "messages[0].x[0].y.a is given twice"},
	{name: "a name twice in a content", body: contentOf(`[{"a":1,"a":1}]`), want: "messages[0].content[0].a is given twice"},
	{name: "a name twice in a passed field", body: chatWith(`,"model":{"a":1,"a":1}`), want: "model.a is given twice"},
	{name: "a name twice in a dropped field", body: chatWith(`,"x":{"a":1,"a":1}`), want: "x.a is given twice"},
	{name: "Role in a message", body: messageWith(`,"Role":"system"`), want: "messages[0].Role"},
	{name: "CONTENT in the second message", body: chatOf(hi + `,{"role":"user","content":"x","CONTENT":"y"}`), want: "messages[1].CONTENT"},
	{name: "Messages alone", body: `{"Messages":[` + hi + `]}`, want: "messages is missing"},

	// Nesting: the object and the array of messages are levels 1 and 2, a message is the third.
	{name: "a message's field nested to 65", body: messageWith(`,"x":` + nested(62)), want: "messages[0].x[0][0]"},
	{name: "a content nested to 65", body: contentOf(nested(62)), want: "64 levels"},
	{name: "a passed field nested to 65", body: chatWith(`,"model":` + nested(64)), want: "64 levels"},
	{name: "a dropped field nested to 65", body: chatWith(`,"x":` + nested(64)), want: "64 levels"},
	{name: "nested to 100,000", body: nested(100_000), want: ""},

	// messages.
	{name: "messages null", body: `{"messages":null}`, want: "messages must be"},
	{name: "messages a string", body: `{"messages":"Hi"}`, want: "messages must be"},
	{name: "messages an object", body: `{"messages":` + hi + `}`, want: "messages must be"},
	{name: "no messages", body: chatOf(""), want: "messages"},
	{name: "a message null", body: chatOf("null"), want: "messages[0] must be"},
	{name: "a message a string", body: chatOf(hi + `,"Hi"`), want: "messages[1] must be"},
	{name: "a message an array", body: chatOf(`[` + hi + `]`), want: "messages[0] must be"},
	{name: "an empty message", body: chatOf(`{}`), want: "messages[0].role"},
	{name: "role missing", body: chatOf(hi + "," + hi + `,{"content":"Hi"}`), want: "messages[2].role"},
	{name: "role null", body: chatOf(`{"role":null,"content":"Hi"}`), want: "messages[0].role"},
	{name: "role empty", body: chatOf(`{"role":"","content":"Hi"}`), want: "messages[0].role"},
	{name: "role a list", body: chatOf(`{"role":["user"],"content":"Hi"}`), want: "messages[0].role"},
	{name: "role not allowed", body: chatOf(`{"role":"system","content":"Hi"}`), want: "messages[0].role"},
	{name: "role in another case", body: chatOf(`{"role":"User","content":"Hi"}`), want: "messages[0].role"},
	{name: "a usual role that is not configured", site: "/several", body: `{"assistantId":"asst_demo","messages":[{"role":"assistant","content":"Hi"}]}`, want: "messages[0].role"},
	{name: "content missing", body: chatOf(hi + `,{"role":"user"}`), want: "messages[1].content"},
	{name: "content null", body: contentOf(`null`), want: "messages[0].content"},
	{name: "content empty", body: contentOf(`""`), want: "messages[0].content"},
	{name: "content an empty array", body: contentOf(`[]`), want: "messages[0].content"},
	{name: "content an object", body: contentOf(`{"text":"Hi"}`), want: "messages[0].content"},
	{name: "content a number", body: contentOf(`1`), want: "messages[0].content"},
	{name: "content true", body: contentOf(`true`), want: "messages[0].content"},
	{name: "too many messages", body: chatOf(hi + "," + hi + "," + hi + "," + hi), status: 413, want: "messages"},

	// chatId.
	{name: "chatId empty", body: chatWith(`,"chatId":""`), want: "chatId"},
	{name: "chatId a number", body: chatWith(`,"chatId":7`), want: "chatId"},
	{name: "chatId an object", body: chatWith(`,"chatId":{}`), want: "chatId"},
	{name: "chatId of 257 bytes", body: chatWith(`,"chatId":"` + strings.Repeat("c", 257) + `"`), want: "chatId"},
	{name: "chatId of 129 letters in 258 bytes", body: chatWith(`,"chatId":"` + strings.Repeat("ü", 129) + `"`), want: "chatId"},

	// assistantId.
	{name: "assistantId null", body: chatWith(`,"assistantId":null`), want: "assistantId"},
	{name: "assistantId empty", body: chatWith(`,"assistantId":""`), want: "assistantId"},
	{name: "assistantId a list", body: chatWith(`,"assistantId":["asst_demo"]`), want: "assistantId"},
	{name: "assistantId missing among several", site: "/several", body: chatWith(""), want: "assistantId"},
	{name: "assistantId missing where any is allowed", site: "/any", body: chatWith(""), want: "assistantId"},
	{name: "assistantId in another case among several", site: "/several", body: chatWith(`,"AssistantId":"asst_two"`), want: "assistantId"},
	{name: "an unknown assistant", body: chatWith(`,"assistantId":"asst_else"`), status: 403},
	{name: "an assistant's id in another case", body: chatWith(`,"assistantId":"ASST_DEMO"`), status: 403},
	{name: "an assistant by the id behind an alias", site: "/alias", body: chatWith(`,"assistantId":"asst_hidden"`), status: 403},
	{name: "the star that allows any elsewhere", body: chatWith(`,"assistantId":"*"`), status: 403},

	// Size.
	{name: "a byte too large", site: "/small", body: padded(chatWith(""), smallBody+1), status: 413, want: "200"},
}

// acceptedBodies go upstream as what they are checked to be: want, or the body itself with the
// assistant's id where want is empty.
var acceptedBodies = []struct {
	name, site, body, want string
}{
	{name: "the least", body: chatWith("")},
	{name: "all fields", body: chatWith(`,"chatId":"c1","assistantId":"asst_demo"`), want: askedFor(chatWith(`,"chatId":"c1"`), "asst_demo")},
	{name: "the assistant first", body: `{"assistantId":"asst_demo","messages":[` + hi + `]}`, want: askedFor(chatWith(""), "asst_demo")},
	{name: "as many messages as allowed", body: chatOf(hi + "," + hi + `,{"role":"assistant","content":"Hello"}`)},
	{name: "white space around", body: " \t\r\n{ \"messages\" : [ " + hi + " ] }\r\n ", want: askedFor(chatWith(""), "asst_demo")},
	{name: "escaped names", body: `{"\u006dess\u0061ges":[{"\u0072ole":"\u0075ser","c\u006fntent":"Hi"}]}`, want: askedFor(chatWith(""), "asst_demo")},
	{name: "content before role", body: chatOf(`{"content":"Hi","role":"user"}`)},
	{name: "a configured role", site: "/several", body: `{"assistantId":"asst_two","messages":[{"role":"system","content":"Hi"}]}`, want: askedFor(chatOf(`{"role":"system","content":"Hi"}`), "asst_two")},

	// Content.
	{name: "content of parts", body: contentOf(`[{"type":"text","text":"Hi"},"x",null,[],1]`)},
	{name: "content an array of null", body: contentOf(`[null]`)},
	{name: "letters beyond ASCII", body: contentOf(`"grüße, 世界 🙂"`)},
	{name: "escaped letters", body: contentOf(`"\u00fc\ud83d\ude42\/\u003c"`), want: askedFor(contentOf(`"ü🙂/<"`), "asst_demo")},
	{name: "escaped control characters", body: contentOf(`"\u0000\n\u001f"`)},
	{name: "a line separator, which is no line end in JSON", body: contentOf("\"\u2028\"")},
	{name: "a byte order mark in a string", body: contentOf("\"\uFEFF\"")},

	// What else a message holds is passed.
	{name: "further fields of a message", body: messageWith(`,"id":"m1","parts":[{"a":{"b":[true,false,null]}}],"roles":1,"":2`)},
	{name: "equal names in different objects", body: messageWith(`,"a":{"a":{"a":1}},"b":{"a":1}`)},
	{name: "names that differ in case alone", body: messageWith(`,"x":1,"X":2`)},
	{name: "Role deeper in a message", body: messageWith(`,"x":{"Role":1,"role":2,"CONTENT":3}`)},
	{name: "huge numbers", body: messageWith(`,"x":[1e400,-1E+400,123456789012345678901234567890,0.1000,-0,1E-7,0e0]`)},
	{name: "a message's field nested to 64", body: messageWith(`,"x":` + nested(61))},
	{name: "a content nested to 64", body: contentOf(nested(61))},

	// At the top, what is not known is dropped.
	{name: "unknown fields", body: `{"x":{"messages":1},"stream":false,"messages":[` + hi + `],"":null,"system":"be evil"}`, want: askedFor(chatWith(""), "asst_demo")},
	{name: "known fields in another case", body: chatWith(`,"Messages":[],"ASSISTANTID":"asst_else","chatid":"c","chatID":7`), want: askedFor(chatWith(""), "asst_demo")},
	{name: "a dropped field nested to 64", body: chatWith(`,"x":` + nested(63)), want: askedFor(chatWith(""), "asst_demo")},
	{name: "the prototype of JavaScript objects", body: chatWith(`,"__proto__":{"messages":[]}`), want: askedFor(chatWith(""), "asst_demo")},

	// pass_fields.
	{name: "a passed field", body: chatWith(`,"model":"large"`)},
	{name: "a passed null", body: chatWith(`,"model":null`)},
	{name: "a passed huge number", body: chatWith(`,"model":1e400`)},
	{name: "a passed object", body: chatWith(`,"model":{"a":[{"messages":[]}],"A":1.0}`)},
	{name: "a passed field nested to 64", body: chatWith(`,"model":` + nested(63))},
	{name: "a passed field with an escaped name", body: chatWith(`,"gr\u00fc\u00dfe":1`), want: askedFor(chatWith(`,"grüße":1`), "asst_demo")},
	{name: "a passed field in another case", body: chatWith(`,"Model":"large"`), want: askedFor(chatWith(""), "asst_demo")},
	{name: "a passed field where it is not configured", site: "/any", body: chatWith(`,"model":"large","assistantId":"a"`), want: askedFor(chatWith(""), "a")},

	// chatId.
	{name: "chatId null", body: chatWith(`,"chatId":null`), want: askedFor(chatWith(""), "asst_demo")},
	{name: "chatId of 256 bytes", body: chatWith(`,"chatId":"` + strings.Repeat("c", 256) + `"`)},

	// assistantId.
	{name: "the only alias left out", site: "/alias", body: chatWith(""), want: askedFor(chatWith(""), "asst_hidden")},
	{name: "an alias", site: "/several", body: chatWith(`,"assistantId":"helper"`), want: askedFor(chatWith(""), "asst_hidden")},
	{name: "any assistant", site: "/any", body: chatWith(`,"assistantId":"\"x\u0000"`), want: strings.TrimSuffix(chatWith(""), "}") + `,"assistantId":"\"x\u0000"}`},

	// Size.
	{name: "exactly as large as allowed", site: "/small", body: padded(chatWith(""), smallBody), want: askedFor(chatWith(""), "asst_demo")},
}

// refusalCodes are the codes of the statuses with which a body is refused.
var refusalCodes = map[int]string{
	400: "bad_request:chat",
	403: "forbidden:assistant",
	413: "too_large:chat",
}

// withoutLength sends a request's body chunked, as a page does that streams it.
func withoutLength(req *http.Request) { req.ContentLength = -1 }
func withLength(*http.Request)        {}

func TestBodies(t *testing.T) {
	t.Setenv("BODY_TEST_TOKEN", testToken)
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, fmt.Sprintf(bodySites, upstream.URL))

	post := func(t *testing.T, site, body string, frame func(*http.Request)) *http.Response {
		t.Helper()
		if site == "" {
			site = "/one"
		}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.Plain+site, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/json")
		frame(req)
		return s.Send(http.DefaultTransport, req)
	}
	for framing, frame := range map[string]func(*http.Request){"length": withLength, "chunked": withoutLength} {
		for _, row := range refusedBodies {
			t.Run(framing+"/refused/"+row.name, func(t *testing.T) {
				if row.status == 0 {
					row.status = http.StatusBadRequest
				}
				text := sitetest.WantError(t, post(t, row.site, row.body, frame), row.status, refusalCodes[row.status])
				if !strings.Contains(text, row.want) {
					t.Errorf("got the text %q, want it to tell %q", text, row.want)
				}
				if asked := upstream.Take(); len(asked) != 0 {
					t.Errorf("the upstream got %s", asked[0].Body)
				}
			})
		}
		for _, row := range acceptedBodies {
			t.Run(framing+"/accepted/"+row.name, func(t *testing.T) {
				if row.want == "" {
					row.want = askedFor(row.body, "asst_demo")
				}
				resp := post(t, row.site, row.body, frame)
				if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK {
					t.Fatalf("got status %d: %s", resp.StatusCode, body)
				}
				if asked := upstream.Take(); len(asked) != 1 || asked[0].Body != row.want {
					t.Errorf("the upstream got %+v, want one request with\n%s", asked, row.want)
				}
			})
		}
	}
	// With a length, request_body answers by itself.
	t.Run("larger than request_body lets through", func(t *testing.T) {
		sitetest.WantError(t, post(t, "/limited", chatWith(""), withoutLength), http.StatusRequestEntityTooLarge, "too_large:chat")
	})
}

// TestFrontDoor has what is decided before a body is read.
func TestFrontDoor(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, ""))
	type fields = map[string]string
	for _, row := range []struct {
		name, method string
		header       fields
		status       int
		code         string
	}{
		{"GET", "GET", nil, 405, "method_not_allowed:chat"},
		{"PUT", "PUT", nil, 405, "method_not_allowed:chat"},
		{"HEAD", "HEAD", nil, 405, "method_not_allowed:chat"},
		{"DELETE", "DELETE", nil, 405, "method_not_allowed:chat"},
		{"a method that nobody knows", "CHAT", nil, 405, "method_not_allowed:chat"},
		{"a GET from another site", "GET", fields{"Sec-Fetch-Site": "cross-site"}, 405, "method_not_allowed:chat"},
		{"OPTIONS", "OPTIONS", nil, 405, "method_not_allowed:chat"},
		{"OPTIONS with an Origin alone", "OPTIONS", fields{"Origin": "https://else.example"}, 405, "method_not_allowed:chat"},
		{"OPTIONS with a method alone", "OPTIONS", fields{"Access-Control-Request-Method": "POST"}, 405, "method_not_allowed:chat"},
		{"a preflight", "OPTIONS", fields{"Origin": "https://else.example", "Access-Control-Request-Method": "POST"}, 204, ""},

		{"no type", "POST", fields{"Content-Type": ""}, 415, "unsupported_media_type:chat"},
		{"plain text", "POST", fields{"Content-Type": "text/plain"}, 415, "unsupported_media_type:chat"},
		{"a form", "POST", fields{"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported_media_type:chat"},
		{"jsonx", "POST", fields{"Content-Type": "application/jsonx"}, 415, "unsupported_media_type:chat"},
		{"problem+json", "POST", fields{"Content-Type": "application/problem+json"}, 415, "unsupported_media_type:chat"},
		{"two types", "POST", fields{"Content-Type": "application/json, text/plain"}, 415, "unsupported_media_type:chat"},
		{"a broken parameter", "POST", fields{"Content-Type": "application/json; charset"}, 415, "unsupported_media_type:chat"},
		{"a parameter twice", "POST", fields{"Content-Type": "application/json; a=1; a=2"}, 415, "unsupported_media_type:chat"},
		{"JSON", "POST", fields{"Content-Type": "application/json"}, 200, ""},
		{"JSON in capitals", "POST", fields{"Content-Type": "APPLICATION/JSON"}, 200, ""},
		{"JSON with a charset", "POST", fields{"Content-Type": "application/json; charset=utf-8"}, 200, ""},
		{"JSON with any parameter", "POST", fields{"Content-Type": `application/json;x="y;z"`}, 200, ""},

		{"another site's page", "POST", fields{"Sec-Fetch-Site": "cross-site"}, 403, "forbidden:origin"},
		{"a subdomain's page", "POST", fields{"Sec-Fetch-Site": "same-site"}, 403, "forbidden:origin"},
		{"another origin in an old browser", "POST", fields{"Origin": "https://else.example"}, 403, "forbidden:origin"},
		{"no origin that can be told", "POST", fields{"Origin": "null"}, 403, "forbidden:origin"},
		{"another site's page with our origin", "POST", fields{"Sec-Fetch-Site": "cross-site", "Origin": s.Plain}, 403, "forbidden:origin"},
		{"another site's form", "POST", fields{"Origin": "https://else.example", "Content-Type": "text/plain"}, 403, "forbidden:origin"},
		{"our page", "POST", fields{"Sec-Fetch-Site": "same-origin", "Origin": s.Plain}, 200, ""},
		{"our page in an old browser", "POST", fields{"Origin": s.Plain}, 200, ""},
		{"the visitor's own doing", "POST", fields{"Sec-Fetch-Site": "none"}, 200, ""},
		{"no browser", "POST", nil, 200, ""},
	} {
		t.Run(row.name, func(t *testing.T) {
			req := sitetest.ChatRequest(t, s.Plain, sitetest.Hello)
			req.Method = row.method
			for name, value := range row.header {
				req.Header.Set(name, value)
			}
			if req.Header.Get("Content-Type") == "" {
				req.Header.Del("Content-Type")
			}
			resp := s.Send(http.DefaultTransport, req)

			switch {
			case row.code == "" || row.method == http.MethodHead: // a HEAD gets no body
				if body := sitetest.ReadAll(t, resp); resp.StatusCode != row.status {
					t.Errorf("got status %d, want %d: %s", resp.StatusCode, row.status, body)
				}
			default:
				sitetest.WantError(t, resp, row.status, row.code)
			}
			if got := resp.Header.Get("Allow"); (row.status == 405) != (got == "POST, OPTIONS") {
				t.Errorf("got Allow: %q with status %d", got, row.status)
			}
			for name := range resp.Header {
				if strings.HasPrefix(name, "Access-Control-") {
					t.Errorf("got %s: another origin is let in", name)
				}
			}
			if asked := len(upstream.Take()); (asked == 1) != (row.status == 200) || asked > 1 {
				t.Errorf("the upstream got %d requests", asked)
			}
		})
	}
}

// dial opens a connection to the site and writes the head of a chat, for requests that no client sends.
func dial(tb testing.TB, s *sitetest.Site, head string) net.Conn {
	tb.Helper()
	host := strings.TrimPrefix(s.Plain, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(sitetest.Patience)); err != nil {
		tb.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\n%s\r\n\r\n", sitetest.ChatPath, host, head)
	if err != nil {
		tb.Fatal(err)
	}
	return conn
}

func readResponse(tb testing.TB, conn net.Conn) *http.Response {
	tb.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		tb.Fatalf("reading the answer: %v", err)
	}
	tb.Cleanup(func() { resp.Body.Close() })
	return resp
}

func TestSlowBody(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "body_timeout 100ms"))

	for proto, transport := range sitetest.Protocols(t) {
		t.Run("stalled over "+proto, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), sitetest.Patience)
			defer cancel()
			resp := s.Send(transport, tornRequest(ctx, t, s.Secure+sitetest.ChatPath))
			sitetest.WantError(t, resp, http.StatusRequestTimeout, "timeout:chat")
		})
	}
	// The timeout is for the whole body, so a byte now and then does not lengthen it.
	t.Run("trickling", func(t *testing.T) {
		conn := dial(t, s, "Content-Length: 1000000")
		done := make(chan struct{})
		go func() {
			defer close(done)
			for tick := time.NewTicker(10 * time.Millisecond); ; <-tick.C {
				if _, err := io.WriteString(conn, " "); err != nil {
					return
				}
			}
		}()
		sitetest.WantError(t, readResponse(t, conn), http.StatusRequestTimeout, "timeout:chat")
		conn.Close()
		<-done
	})
	if asked := upstream.Take(); len(asked) != 0 {
		t.Errorf("the upstream got %d requests", len(asked))
	}
	for _, line := range logLines(t, s.Log()) {
		if line.Logger == "http.handlers.illumichat" && strings.Contains(line.Cause, "127.0.0.1") {
			t.Errorf("the log has the visitor's address: %s", line.raw)
		}
	}
}

// tornRequest is a chat whose last byte does not come before the end of ctx.
func tornRequest(ctx context.Context, tb testing.TB, url string) *http.Request {
	tb.Helper()
	rest, visitor := io.Pipe()
	context.AfterFunc(ctx, func() { visitor.CloseWithError(ctx.Err()) }) // the HTTP/3 client waits for its body
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, io.MultiReader(strings.NewReader(sitetest.Hello), rest))
	if err != nil {
		tb.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.ContentLength = int64(len(sitetest.Hello)) + 1
	return req
}

func TestBrokenBody(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	// The rewrite logs that a request has come.
	s := sitetest.Serve(t, "log\n rewrite /rewritten "+sitetest.ChatPath+"\n"+sitetest.ChatToURL(upstream.URL, ""))

	for name, row := range map[string]struct{ head, body string }{
		"a chunk's size that is none":  {"Transfer-Encoding: chunked", "zz\r\n" + sitetest.Hello + "\r\n0\r\n\r\n"},
		"a chunk longer than its size": {"Transfer-Encoding: chunked", "2\r\n" + sitetest.Hello + "\r\n0\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial(t, s, row.head)
			if _, err := io.WriteString(conn, row.body); err != nil {
				t.Fatal(err)
			}
			sitetest.WantError(t, readResponse(t, conn), http.StatusBadRequest, "bad_request:chat")
		})
	}

	// Each request leaves a line in the access log.
	accessLog := func() []string {
		return slices.DeleteFunc(strings.Split(s.Log(), "\n"), func(line string) bool {
			return !strings.Contains(line, `"handled request"`)
		})
	}
	wantGone := func(t *testing.T, before int) {
		t.Helper()
		sitetest.Eventually(t, "the request is in the access log", func() bool { return len(accessLog()) > before })
		if line := accessLog()[before]; !strings.Contains(line, `"status":499`) {
			t.Errorf("the access log does not tell of a visitor who is gone: %s", line)
		}
	}
	for name, row := range map[string]struct{ head, body string }{
		"a body shorter than its length":        {fmt.Sprintf("Content-Length: %d", len(sitetest.Hello)+1), sitetest.Hello},
		"chunks without an end":                 {"Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s\r\n", len(sitetest.Hello), sitetest.Hello)},
		"a chunk that is shorter than its size": {"Transfer-Encoding: chunked", fmt.Sprintf("%x\r\n%s", len(sitetest.Hello)+1, sitetest.Hello)},
		"a length and nothing else":             {"Content-Length: 10", ""},
	} {
		t.Run(name, func(t *testing.T) {
			before := len(accessLog())
			conn := dial(t, s, row.head)
			if _, err := io.WriteString(conn, row.body); err != nil {
				t.Fatal(err)
			}
			conn.Close()
			wantGone(t, before)
		})
	}
	for proto, transport := range sitetest.Protocols(t) {
		t.Run("cancelled over "+proto, func(t *testing.T) {
			before := len(accessLog())
			came := strings.Count(s.Log(), `"rewrote request"`)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			req := tornRequest(ctx, t, s.Secure+"/rewritten")
			failed := make(chan error)
			go func() {
				resp, err := transport.RoundTrip(req)
				if err == nil && resp.StatusCode == statusClientClosed {
					err = errVisitorGone // what is written for the log may arrive
				}
				failed <- err
			}()
			sitetest.Eventually(t, "the request has come", func() bool {
				return strings.Count(s.Log(), `"rewrote request"`) > came
			})
			cancel()
			if err := <-failed; err == nil {
				t.Error("the request was answered")
			}
			wantGone(t, before)
		})
	}
	if asked := upstream.Take(); len(asked) != 0 {
		t.Errorf("the upstream got %d requests", len(asked))
	}
	if strings.Contains(s.Log(), `"level":"error"`) {
		t.Error("a visitor who is gone counts as an error")
	}
}

var fuzzRules = chatRules{
	assistants:  map[string]string{"asst_demo": "asst_demo", "helper": "asst_hidden"},
	maxMessages: 3,
	roles:       []string{"user", "assistant"},
	passFields:  []string{"model", "grüße"},
}

// FuzzParseChat compares the parser with a slow and plain reading of the same rules.
func FuzzParseChat(f *testing.F) {
	for _, row := range refusedBodies {
		if len(row.body) < 10_000 {
			f.Add([]byte(row.body))
		}
	}
	for _, row := range acceptedBodies {
		f.Add([]byte(row.body))
	}
	f.Add([]byte(sitetest.Hello))
	f.Add([]byte(chatWith(`,"assistantId":"helper","model":[1e400,{}],"chatId":"c"`)))
	f.Fuzz(func(t *testing.T, body []byte) {
		want, ok := slowParse(&fuzzRules, body)
		chat, err := fuzzRules.parse(slices.Clone(body))
		got := chat.body
		if err != nil {
			var refusal *chatError
			if !errors.As(err, &refusal) || refusalCodes[refusal.status] != refusal.code {
				t.Errorf("got %v, which is no refusal of a body", err)
			}
			if ok {
				t.Errorf("got %v, want it accepted", err)
			}
			return
		}
		if !ok {
			t.Fatalf("got %s, want it refused", got)
		}
		if !jsontext.Value(got).IsValid() {
			t.Fatalf("%s is not what it should be: strict JSON", got)
		}
		if sent, _ := decodeObject(got); !reflect.DeepEqual(sent, want) {
			t.Errorf("got %v, want %v", sent, want)
		}
	})
}

// slowParse decodes the whole body and looks at what is there.
func slowParse(rules *chatRules, body []byte) (map[string]any, bool) {
	in, ok := decodeObject(body)
	if !ok || !jsontext.Value(body).IsValid() || depth(in) > 64 {
		return nil, false
	}
	messages, _ := in[fieldMessages].([]any)
	if len(messages) == 0 || len(messages) > rules.maxMessages {
		return nil, false
	}
	for _, message := range messages {
		if !slowMessage(rules, message) {
			return nil, false
		}
	}
	out := map[string]any{fieldMessages: messages}
	if value := in[fieldChat]; value != nil {
		if id, ok := value.(string); !ok || id == "" || len(id) > 256 {
			return nil, false
		}
		out[fieldChat] = value
	}
	for _, name := range rules.passFields {
		if value, ok := in[name]; ok {
			out[name] = value
		}
	}
	name, _ := in[fieldAssistant].(string)
	id, ok := rules.assistants[name]
	out[fieldAssistant] = id
	return out, ok
}

func slowMessage(rules *chatRules, value any) bool {
	message, _ := value.(map[string]any)
	for name := range message {
		lower := strings.ToLower(name)
		if name != lower && (lower == fieldRole || lower == fieldContent) {
			return false
		}
	}
	role, _ := message[fieldRole].(string)
	text, _ := message[fieldContent].(string)
	parts, _ := message[fieldContent].([]any)
	return slices.Contains(rules.roles, role) && (text != "" || len(parts) > 0)
}

func decodeObject(body []byte) (map[string]any, bool) {
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // so that none is rounded
	err := decoder.Decode(&object)
	return object, err == nil && object != nil
}

func depth(value any) int {
	var children []any
	switch value := value.(type) {
	case []any:
		children = value
	case map[string]any:
		children = slices.Collect(maps.Values(value))
	default:
		return 0
	}
	deepest := 0
	for _, child := range children {
		deepest = max(deepest, depth(child))
	}
	return deepest + 1
}

func BenchmarkParseChat(b *testing.B) {
	turn := `{"role":"user","content":"` + strings.Repeat("What is the weather like? ", 8) + `"}`
	small := chatOf(turn + strings.Repeat(","+turn, 9))
	for _, bench := range []struct{ name, body string }{
		{"ten messages", small},
		{"1 MiB", contentOf(`"` + strings.Repeat("x", 1<<20-len(contentOf(`""`))) + `"`)},
		{"1 MiB of numbers", messageWith(`,"x":[1` + strings.Repeat(",1", (1<<20-len(messageWith(`,"x":[1]`)))/2) + `]`)},
	} {
		b.Run(bench.name, func(b *testing.B) {
			rules := fuzzRules
			rules.maxMessages = 0
			rules.assistants = map[string]string{"asst_demo": "asst_demo"}
			body := []byte(bench.body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := rules.parse(body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
