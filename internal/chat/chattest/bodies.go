package chattest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
)

// HostileBody is a request body that is crafted to be expensive to check.
type HostileBody struct {
	Name, Body string
	Status     int // 0 means that it is accepted
}

// Hostile returns hostile bodies of size bytes, or slightly less.
func Hostile(size int) []HostileBody {
	// repeated repeats unit between head and tail until size is reached.
	repeated := func(head, unit, tail string) string {
		n := (size - len(head) - len(tail)) / len(unit)
		return head + strings.TrimSuffix(strings.Repeat(unit, n), ",") + tail
	}
	// named fills an object with names that are all different, until size is reached.
	named := func(head, tail string) string {
		var b strings.Builder
		b.WriteString(head)
		for i := 0; b.Len()+len(tail)+20 < size; i++ {
			fmt.Fprintf(&b, `"%x":0,`, i)
		}
		b.WriteString(`"last":0` + tail)
		return b.String()
	}
	const passed = `{"messages":[` + Hi + `],"model":`
	twice := strings.Repeat("x", size/2-50)
	return []HostileBody{
		{"a long text", repeated(`{"messages":[{"role":"user","content":"`, "x", `"}]}`), 0},
		{"a long escaped text", repeated(`{"messages":[{"role":"user","content":"`, `\u0041`, `"}]}`), 0},
		{"a long text of control characters", repeated(`{"messages":[{"role":"user","content":"`, `\u0001`, `"}]}`), 0},
		{"invalid UTF-8", repeated(`{"messages":[{"role":"user","content":"`, "\xff", `"}]}`), 400},
		{"invalid UTF-8 at the end", repeated(`{"messages":[{"role":"user","content":"`, "x", "\xff"+`"}]}`), 400},
		{"half surrogate pairs", repeated(`{"messages":[{"role":"user","content":"`, `\ud800`, `"}]}`), 0},
		{"names of half surrogate pairs", repeated(`{"messages":[`+Hi+`],"model":[`, `{"\ud800":"\udc00"},`, "]}"), 0},
		{"backslashes and half a surrogate pair", repeated(`{"messages":[{"role":"user","content":"`, `\\`, `\ud800"}]}`), 0},
		{"escapes that are none", repeated(`{"messages":[{"role":"user","content":"`, `\udzzz`, `"}]}`), 400},
		{"tiny messages", repeated(`{"messages":[`, `{"role":"user","content":"a"},`, `]}`), 0},
		{"tiny messages and one that is wrong", repeated(`{"messages":[`, `{"role":"user","content":"a"},`, `{"role":"user"}]}`), 400},
		{"numbers", repeated(passed+"[", "1,", "]}"), 0},
		{"numbers that are dropped", repeated(`{"messages":[`+Hi+`],"else":[`, "1,", "]}"), 0},
		{"a number of many digits", repeated(passed, "1", "}"), 0},
		{"a number with a large exponent", repeated(passed+"1e", "9", "}"), 0},
		{"names", named(passed+"{", "}}"), 0},
		{"names at the top", named(`{"messages":[`+Hi+`],`, "}"), 0},
		{"names in a message", named(`{"messages":[{"role":"user","content":"a",`, "}]}"), 0},
		{"names, and one twice", named(passed+`{"last":1,`, "}}"), 400},
		{"one long name", repeated(`{"messages":[{"role":"user","content":"a","`, "x", `":1}]}`), 0},
		{"one long name twice", `{"messages":[{"role":"user","content":"a","` + twice + `":1,"` + twice + `":1}]}`, 400},
		{"arrays in arrays", nested(size / 2), 400},
		{"arrays in an array", passed + nested(size/2-50) + "}", 400},
		{"objects in objects", repeated(passed, `{"a":`, ""), 400},
		{"arrays as deep as can be", repeated(passed+"[", nested(64-2)+",", "]}"), 0},
		{"objects", repeated(passed+"[", `{"a":0},`, "]}"), 0},
		{"spaces", repeated(`{"messages":[`+Hi+`]`, " ", "}"), 0},
		{"commas", repeated(`{"messages":[`, ",,", `]}`), 400},
		{"a long role", repeated(`{"messages":[{"role":"`, "x", `","content":"a"}]}`), 400},
		{"a long chatId", repeated(`{"messages":[`+Hi+`],"chatId":"`, "x", `"}`), 400},
		{"a long assistantId", repeated(`{"messages":[`+Hi+`],"assistantId":"`, "x", `"}`), 403},
		{"a long name of an unknown field", repeated(`{"messages":[`+Hi+`],"`, "x", `":1}`), 0},
	}
}

// Hi is a message, the one that most bodies are built from.
const Hi = `{"role":"user","content":"Hi"}`

// ChatWith returns a chat of one message and further fields, which begin with a comma.
func ChatWith(fields string) string { return `{"messages":[` + Hi + `]` + fields + `}` }

// ChatOf returns a chat of the given messages.
func ChatOf(messages string) string { return `{"messages":[` + messages + `]}` }

// MessageWith returns a chat whose message has further fields, which begin with a comma.
func MessageWith(fields string) string { return ChatOf(`{"role":"user","content":"Hi"` + fields + `}`) }

// ContentOf returns a chat whose message has the given JSON value as its content.
func ContentOf(value string) string { return ChatOf(`{"role":"user","content":` + value + `}`) }

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

// AskedFor returns a chat with the assistant's id as its last field, as the upstream gets it.
func AskedFor(chat, id string) string {
	return strings.TrimSuffix(chat, "}") + `,"assistantId":"` + id + `"}`
}

func padded(chat string, size int) string { return chat + strings.Repeat(" ", size-len(chat)) }

// smallBody is the max_body_size of the site /small, in bytes.
const smallBody = 1 << 10

// Refused lists bodies that are refused. The error has Status, or 400 if that is 0, and Code, or the one that Codes has for
// the status. Its text contains Want.
var Refused = []struct {
	Name, Site, Body string
	Status           int
	Code, Want       string
}{
	{Name: "nothing", Body: ``, Want: "body is empty"},
	{Name: "white space", Body: " \r\n\t", Want: "body is empty"},
	{Name: "null", Body: `null`, Want: "body must be an object"},
	{Name: "an array", Body: `[` + ChatWith("") + `]`, Want: "body must be an object"},
	{Name: "a string", Body: `"messages"`, Want: "body must be an object"},
	{Name: "a number", Body: `1`, Want: "body must be an object"},
	{Name: "no JSON", Body: `messages=hi`, Want: "not valid JSON"},
	{Name: "an empty object", Body: `{}`, Want: "messages"},

	// Syntax.
	{Name: "a byte order mark", Body: "\uFEFF" + ChatWith(""), Want: "byte order mark"},
	{Name: "UTF-16", Body: "{\x00}\x00", Want: "not valid JSON"},
	{Name: "torn in the object", Body: `{"messages":[` + Hi + `]`, Want: "not valid JSON"},
	{Name: "torn in a string", Body: `{"messages":[{"role":"user","content":"H`, Want: "not valid JSON"},
	{Name: "torn in a literal", Body: ChatWith(`,"model":tru`), Want: "model is not valid JSON, at byte"},
	{Name: "a trailing comma", Body: ChatWith(","), Want: "not valid JSON"},
	{Name: "a trailing comma in the messages", Body: ChatOf(Hi + ","), Want: "messages is not valid JSON, at byte"},
	{Name: "a trailing comma in a message", Body: MessageWith(","), Want: "not valid JSON"},
	{Name: "a trailing comma in a content", Body: ContentOf(`["a",]`), Want: "not valid JSON"},
	{Name: "a trailing comma in a dropped field", Body: ChatWith(`,"x":[1,]`), Want: "not valid JSON"},
	{Name: "a leading comma", Body: `{,"messages":[` + Hi + `]}`, Want: "not valid JSON"},
	{Name: "two commas", Body: ChatOf(Hi + ",," + Hi), Want: "not valid JSON"},
	{Name: "no comma", Body: ChatOf(Hi + Hi), Want: "not valid JSON"},
	{Name: "no colon", Body: `{"messages" [` + Hi + `]}`, Want: "not valid JSON"},
	{Name: "a name without quotes", Body: `{messages:[` + Hi + `]}`, Want: "not valid JSON"},
	{Name: "a number for a name", Body: ChatWith(`,1:1`), Want: "not valid JSON"},
	{Name: "single quotes", Body: `{'messages':[` + Hi + `]}`, Want: "not valid JSON"},
	{Name: "a closing bracket of another kind", Body: `{"messages":[` + Hi + `}]`, Want: "not valid JSON"},
	{Name: "something that follows", Body: ChatWith("") + "x", Want: ""},
	{Name: "a comma that follows", Body: ChatWith("") + ",", Want: ""},
	{Name: "a second value", Body: ChatWith("") + ChatWith(""), Want: "follows"},
	{Name: "a line comment", Body: ChatWith("") + "// hi", Want: ""},
	{Name: "a block comment", Body: `{/* hi */"messages":[` + Hi + `]}`, Want: "not valid JSON"},
	{Name: "NaN", Body: ChatWith(`,"model":NaN`), Want: "model is not valid JSON, at byte"},
	{Name: "Infinity", Body: ChatWith(`,"x":-Infinity`), Want: "not valid JSON"},
	{Name: "a leading zero", Body: ChatWith(`,"model":01`), Want: "not valid JSON"},
	{Name: "a plus sign", Body: ChatWith(`,"model":+1`), Want: "not valid JSON"},
	{Name: "a number without a fraction", Body: ChatWith(`,"model":1.`), Want: "not valid JSON"},
	{Name: "a number without a whole", Body: ChatWith(`,"model":.1`), Want: "not valid JSON"},
	{Name: "hexadecimals", Body: ChatWith(`,"model":0x1`), Want: "not valid JSON"},
	{Name: "True", Body: ChatWith(`,"model":True`), Want: "not valid JSON"},
	{Name: "a form feed for a space", Body: "\f" + ChatWith(""), Want: "not valid JSON"},

	// Strings.
	{Name: "invalid UTF-8", Body: ContentOf("\"\xff\""), Want: "messages[0].content is not valid JSON, at byte"},
	{Name: "overlong UTF-8", Body: ContentOf("\"\xc0\xaf\""), Want: "not valid JSON"},
	{Name: "a surrogate as UTF-8", Body: ChatWith(",\"x\":\"\xed\xa0\x80\""), Want: "not valid JSON"},
	{Name: "invalid UTF-8 in a dropped name", Body: ChatWith(",\"\xff\":1"), Want: "not valid JSON"},
	{Name: "a surrogate as UTF-8 that follows half a pair", Body: ContentOf("\"\\ud800\xed\xb0\x80\""), Want: "messages[0].content is not valid JSON, at byte"},
	{Name: "half a pair outside a string", Body: ChatWith(`,"model":\ud800`), Want: "not valid JSON"},
	{Name: "NUL in a string", Body: ContentOf("\"a\x00b\""), Want: "not valid JSON"},
	{Name: "NUL after the object", Body: ChatWith("") + "\x00", Want: ""},
	{Name: "a line end in a string", Body: ContentOf("\"a\nb\""), Want: "messages[0].content is not valid JSON, at byte"},
	{Name: "a tab in a string", Body: ContentOf("\"a\tb\""), Want: "not valid JSON"},
	{Name: "an unknown escape", Body: ContentOf(`"\a"`), Want: "messages[0].content is not valid JSON, at byte"},
	{Name: "a short escape", Body: ContentOf(`"\u00e"`), Want: "not valid JSON"},

	// Names.
	{Name: "messages twice", Body: ChatWith(`,"messages":[` + Hi + `]`), Want: "messages is given twice"},
	{Name: "assistantId twice", Body: ChatWith(`,"assistantId":"asst_demo","assistantId":"asst_demo"`), Want: "assistantId is given twice"},
	{Name: "chatId twice", Body: ChatWith(`,"chatId":null,"chatId":"c"`), Want: "chatId is given twice"},
	{Name: "a dropped name twice", Body: ChatWith(`,"x":1,"x":1`), Want: "x is given twice"},
	{Name: "role twice", Body: MessageWith(`,"role":"user"`), Want: "messages[0].role is given twice"},
	{Name: "content twice, once escaped", Body: MessageWith(`,"c\u006fntent":"x"`), Want: "messages[0].content is given twice"},
	{Name: "a name twice in a message", Body: MessageWith(`,"a":1,"\u0061":2`), Want: "messages[0].a is given twice"},
	{Name: "a name twice deep in a message", Body: MessageWith(`,"x":[{"y":{"a":1,"a":1}}]`), Want: "messages[0].x[0].y.a is given twice"},
	{Name: "a name twice in a content", Body: ContentOf(`[{"a":1,"a":1}]`), Want: "messages[0].content[0].a is given twice"},
	{Name: "a name twice in a passed field", Body: ChatWith(`,"model":{"a":1,"a":1}`), Want: "model.a is given twice"},
	{Name: "a name twice in a dropped field", Body: ChatWith(`,"x":{"a":1,"a":1}`), Want: "x.a is given twice"},
	{Name: "two halves of pairs as names", Body: MessageWith(`,"\ud800":1,"\ud801":2`), Want: "messages[0].\uFFFD is given twice"},
	{Name: "half a pair and the replacement character as names", Body: ChatWith(`,"model":{"a\udc00":1,"a\ufffd":2}`), Want: "model.a\uFFFD is given twice"},
	{Name: "half a pair and a written replacement character as names", Body: ContentOf(`[{"\udc00":1,"\uFFFD":2}]`), Want: "messages[0].content[0].\uFFFD is given twice"},
	{Name: "two halves of pairs as dropped names", Body: ChatWith(`,"\udc00":1,"\ud800":2`), Want: "\uFFFD is given twice"},
	{Name: "Role in a message", Body: MessageWith(`,"Role":"system"`), Want: "messages[0].Role"},
	{Name: "CONTENT in the second message", Body: ChatOf(Hi + `,{"role":"user","content":"x","CONTENT":"y"}`), Want: "messages[1].CONTENT"},
	{Name: "Messages alone", Body: `{"Messages":[` + Hi + `]}`, Want: "messages is missing"},

	// Nesting: the object and the array of messages are levels 1 and 2, a message is level 3.
	{Name: "a message's field nested to 65", Body: MessageWith(`,"x":` + nested(62)), Want: "messages[0].x[0][0]"},
	{Name: "a content nested to 65", Body: ContentOf(nested(62)), Want: "64 levels"},
	{Name: "a passed field nested to 65", Body: ChatWith(`,"model":` + nested(64)), Want: "64 levels"},
	{Name: "a dropped field nested to 65", Body: ChatWith(`,"x":` + nested(64)), Want: "64 levels"},
	{Name: "nested to 100,000", Body: nested(100_000), Want: ""},

	// messages.
	{Name: "messages null", Body: `{"messages":null}`, Want: "messages must be"},
	{Name: "messages a string", Body: `{"messages":"Hi"}`, Want: "messages must be"},
	{Name: "messages an object", Body: `{"messages":` + Hi + `}`, Want: "messages must be"},
	{Name: "no messages", Body: ChatOf(""), Want: "messages"},
	{Name: "a message null", Body: ChatOf("null"), Want: "messages[0] must be"},
	{Name: "a message a string", Body: ChatOf(Hi + `,"Hi"`), Want: "messages[1] must be"},
	{Name: "a message an array", Body: ChatOf(`[` + Hi + `]`), Want: "messages[0] must be"},
	{Name: "an empty message", Body: ChatOf(`{}`), Want: "messages[0].role"},
	{Name: "role missing", Body: ChatOf(Hi + "," + Hi + `,{"content":"Hi"}`), Want: "messages[2].role"},
	{Name: "role null", Body: ChatOf(`{"role":null,"content":"Hi"}`), Want: "messages[0].role"},
	{Name: "role empty", Body: ChatOf(`{"role":"","content":"Hi"}`), Want: "messages[0].role"},
	{Name: "role a list", Body: ChatOf(`{"role":["user"],"content":"Hi"}`), Want: "messages[0].role"},
	{Name: "role not allowed", Body: ChatOf(`{"role":"system","content":"Hi"}`), Want: "messages[0].role"},
	{Name: "role in another case", Body: ChatOf(`{"role":"User","content":"Hi"}`), Want: "messages[0].role"},
	{Name: "role with half a pair", Body: ChatOf(`{"role":"user\ud800","content":"Hi"}`), Want: "messages[0].role"},
	{Name: "a usual role that is not configured", Site: "/several", Body: `{"assistantId":"asst_demo","messages":[{"role":"assistant","content":"Hi"}]}`, Want: "messages[0].role"},
	{Name: "content missing", Body: ChatOf(Hi + `,{"role":"user"}`), Want: "messages[1].content"},
	{Name: "parts in place of content", Body: ChatOf(`{"role":"user","parts":[{"type":"text","text":"Hi"}]}`), Want: "send the text of parts or text as content"},
	{Name: "content null", Body: ContentOf(`null`), Want: "messages[0].content"},
	{Name: "content empty", Body: ContentOf(`""`), Want: "messages[0].content"},
	{Name: "content an empty array", Body: ContentOf(`[]`), Want: "messages[0].content"},
	{Name: "content an object", Body: ContentOf(`{"text":"Hi"}`), Want: "messages[0].content"},
	{Name: "content a number", Body: ContentOf(`1`), Want: "messages[0].content"},
	{Name: "content true", Body: ContentOf(`true`), Want: "messages[0].content"},
	{Name: "too many messages", Body: ChatOf(Hi + "," + Hi + "," + Hi + "," + Hi), Status: 413, Code: TooManyMessages, Want: "messages"},

	// chatId.
	{Name: "chatId empty", Body: ChatWith(`,"chatId":""`), Want: "chatId"},
	{Name: "chatId a number", Body: ChatWith(`,"chatId":7`), Want: "chatId"},
	{Name: "chatId an object", Body: ChatWith(`,"chatId":{}`), Want: "chatId"},
	{Name: "chatId of 257 bytes", Body: ChatWith(`,"chatId":"` + strings.Repeat("c", 257) + `"`), Want: "chatId"},
	{Name: "chatId of 86 halves in 258 bytes", Body: ChatWith(`,"chatId":"` + strings.Repeat(`\ud800`, 86) + `"`), Want: "chatId"},
	{Name: "chatId of 129 letters in 258 bytes", Body: ChatWith(`,"chatId":"` + strings.Repeat("ü", 129) + `"`), Want: "chatId"},

	// assistantId.
	{Name: "assistantId null, several assistants", Site: "/several", Body: ChatWith(`,"assistantId":null`), Want: "assistantId is missing"},
	{Name: "assistantId empty", Body: ChatWith(`,"assistantId":""`), Want: "assistantId"},
	{Name: "assistantId a list", Body: ChatWith(`,"assistantId":["asst_demo"]`), Want: "assistantId"},
	{Name: "assistantId missing among several", Site: "/several", Body: ChatWith(""), Want: "assistantId"},
	{Name: "assistantId missing where any is allowed", Site: "/any", Body: ChatWith(""), Want: "assistantId"},
	{Name: "assistantId in another case among several", Site: "/several", Body: ChatWith(`,"AssistantId":"asst_two"`), Want: "assistantId"},
	{Name: "an unknown assistant", Body: ChatWith(`,"assistantId":"asst_else"`), Status: 403},
	{Name: "an assistant's id with half a pair", Body: ChatWith(`,"assistantId":"asst_demo\ud800"`), Status: 403},
	{Name: "an assistant's id in another case", Body: ChatWith(`,"assistantId":"ASST_DEMO"`), Status: 403},
	{Name: "an assistant by the id behind an alias", Site: "/alias", Body: ChatWith(`,"assistantId":"asst_hidden"`), Status: 403},
	{Name: "the star that allows any elsewhere", Body: ChatWith(`,"assistantId":"*"`), Status: 403},

	// Size.
	{Name: "a byte too large", Site: "/small", Body: padded(ChatWith(""), smallBody+1), Status: 413, Want: "1024"},
}

// Accepted lists bodies that are accepted. The upstream gets Want. If Want is empty, it gets the body itself with the
// assistant's id added.
var Accepted = []struct {
	Name, Site, Body, Want string
}{
	{Name: "the least", Body: ChatWith("")},
	{Name: "all fields", Body: ChatWith(`,"chatId":"c1","assistantId":"asst_demo"`), Want: AskedFor(ChatWith(`,"chatId":"c1"`), "asst_demo")},
	{Name: "the assistant first", Body: `{"assistantId":"asst_demo","messages":[` + Hi + `]}`, Want: AskedFor(ChatWith(""), "asst_demo")},
	{Name: "as many messages as allowed", Body: ChatOf(Hi + "," + Hi + `,{"role":"assistant","content":"Hello"}`)},
	{Name: "white space around", Body: " \t\r\n{ \"messages\" : [ " + Hi + " ] }\r\n ", Want: AskedFor(ChatWith(""), "asst_demo")},
	{Name: "escaped names", Body: `{"\u006dess\u0061ges":[{"\u0072ole":"\u0075ser","c\u006fntent":"Hi"}]}`, Want: AskedFor(ChatWith(""), "asst_demo")},
	{Name: "content before role", Body: ChatOf(`{"content":"Hi","role":"user"}`)},
	{Name: "a configured role", Site: "/several", Body: `{"assistantId":"asst_two","messages":[{"role":"system","content":"Hi"}]}`, Want: AskedFor(ChatOf(`{"role":"system","content":"Hi"}`), "asst_two")},

	// Content.
	{Name: "content of parts", Body: ContentOf(`[{"type":"text","text":"Hi"},"x",null,[],1]`)},
	{Name: "content an array of null", Body: ContentOf(`[null]`)},
	{Name: "letters beyond ASCII", Body: ContentOf(`"grüße, 世界 🙂"`)},
	{Name: "escaped letters", Body: ContentOf(`"\u00fc\ud83d\ude42\/\u003c"`), Want: AskedFor(ContentOf(`"ü🙂/<"`), "asst_demo")},
	{Name: "escaped control characters", Body: ContentOf(`"\u0000\n\u001f"`)},
	{Name: "a line separator, which is no line end in JSON", Body: ContentOf("\"\u2028\"")},
	{Name: "a byte order mark in a string", Body: ContentOf("\"\uFEFF\"")},

	// Half of a surrogate pair is read as U+FFFD.
	{Name: "half a pair in a content", Body: ContentOf(`"Hi \ud83d"`), Want: AskedFor(ContentOf("\"Hi \uFFFD\""), "asst_demo")},
	{Name: "the other half", Body: ContentOf(`"\uDE42x"`), Want: AskedFor(ContentOf("\"\uFFFDx\""), "asst_demo")},
	{Name: "halves in the wrong order", Body: ContentOf(`"\ude42\ud83d"`), Want: AskedFor(ContentOf("\"\uFFFD\uFFFD\""), "asst_demo")},
	{Name: "half a pair before a pair", Body: ContentOf(`"\ud83d\ud83d\ude42"`), Want: AskedFor(ContentOf("\"\uFFFD🙂\""), "asst_demo")},
	{Name: "a pair of which one half is escaped twice", Body: ContentOf(`"\ud83d\\ude42"`), Want: AskedFor(ContentOf("\"\uFFFD\\\\ude42\""), "asst_demo")},
	{Name: "letters that look like half a pair", Body: ContentOf(`"\\ud83d"`)},
	{Name: "half a pair in a part", Body: ContentOf(`[{"type":"text","text":"\ud83d"},"\ud83d"]`), Want: AskedFor(ContentOf("[{\"type\":\"text\",\"text\":\"\uFFFD\"},\"\uFFFD\"]"), "asst_demo")},
	{Name: "half a pair in names", Body: MessageWith(`,"a\ud83d":{"\ude42":[{"\ud83d":1}]}`), Want: AskedFor(MessageWith(",\"a\uFFFD\":{\"\uFFFD\":[{\"\uFFFD\":1}]}"), "asst_demo")},
	{Name: "half a pair in a passed field", Body: ChatWith(`,"model":{"\ud83d":"\ud83d"}`), Want: AskedFor(ChatWith(",\"model\":{\"\uFFFD\":\"\uFFFD\"}"), "asst_demo")},
	{Name: "half a pair in a dropped field", Body: ChatWith(`,"x\ud83d":"\ud83d"`), Want: AskedFor(ChatWith(""), "asst_demo")},
	{Name: "half a pair in chatId", Body: ChatWith(`,"chatId":"c\ud83d"`), Want: AskedFor(ChatWith(",\"chatId\":\"c\uFFFD\""), "asst_demo")},
	{Name: "half a pair in assistantId", Site: "/any", Body: ChatWith(`,"assistantId":"a\ud83d"`), Want: AskedFor(ChatWith(""), "a\uFFFD")},

	// Other fields of a message go upstream.
	{Name: "further fields of a message", Body: MessageWith(`,"id":"m1","parts":[{"a":{"b":[true,false,null]}}],"roles":1,"":2`)},
	{Name: "equal names in different objects", Body: MessageWith(`,"a":{"a":{"a":1}},"b":{"a":1}`)},
	{Name: "names that differ in case alone", Body: MessageWith(`,"x":1,"X":2`)},
	{Name: "Role deeper in a message", Body: MessageWith(`,"x":{"Role":1,"role":2,"CONTENT":3}`)},
	{Name: "huge numbers", Body: MessageWith(`,"x":[1e400,-1E+400,123456789012345678901234567890,0.1000,-0,1E-7,0e0]`)},
	{Name: "a message's field nested to 64", Body: MessageWith(`,"x":` + nested(61))},
	{Name: "a content nested to 64", Body: ContentOf(nested(61))},

	// Unknown fields at the top level are dropped.
	{Name: "unknown fields", Body: `{"x":{"messages":1},"stream":false,"messages":[` + Hi + `],"":null,"system":"be evil"}`, Want: AskedFor(ChatWith(""), "asst_demo")},
	{Name: "known fields in another case", Body: ChatWith(`,"Messages":[],"ASSISTANTID":"asst_else","chatid":"c","chatID":7`), Want: AskedFor(ChatWith(""), "asst_demo")},
	{Name: "a dropped field nested to 64", Body: ChatWith(`,"x":` + nested(63)), Want: AskedFor(ChatWith(""), "asst_demo")},
	{Name: "the prototype of JavaScript objects", Body: ChatWith(`,"__proto__":{"messages":[]}`), Want: AskedFor(ChatWith(""), "asst_demo")},

	// pass_fields.
	{Name: "a passed field", Body: ChatWith(`,"model":"large"`)},
	{Name: "a passed null", Body: ChatWith(`,"model":null`)},
	{Name: "a passed huge number", Body: ChatWith(`,"model":1e400`)},
	{Name: "a passed object", Body: ChatWith(`,"model":{"a":[{"messages":[]}],"A":1.0}`)},
	{Name: "a passed field nested to 64", Body: ChatWith(`,"model":` + nested(63))},
	{Name: "a passed field with an escaped name", Body: ChatWith(`,"gr\u00fc\u00dfe":1`), Want: AskedFor(ChatWith(`,"grüße":1`), "asst_demo")},
	{Name: "a passed field in another case", Body: ChatWith(`,"Model":"large"`), Want: AskedFor(ChatWith(""), "asst_demo")},
	{Name: "a passed field where it is not configured", Site: "/any", Body: ChatWith(`,"model":"large","assistantId":"a"`), Want: AskedFor(ChatWith(""), "a")},

	// chatId.
	{Name: "assistantId null", Body: ChatWith(`,"assistantId":null`), Want: AskedFor(ChatWith(""), "asst_demo")},
	{Name: "chatId null", Body: ChatWith(`,"chatId":null`), Want: AskedFor(ChatWith(""), "asst_demo")},
	{Name: "chatId of 256 bytes", Body: ChatWith(`,"chatId":"` + strings.Repeat("c", 256) + `"`)},

	// assistantId.
	{Name: "the only alias left out", Site: "/alias", Body: ChatWith(""), Want: AskedFor(ChatWith(""), "asst_hidden")},
	{Name: "an alias", Site: "/several", Body: ChatWith(`,"assistantId":"helper"`), Want: AskedFor(ChatWith(""), "asst_hidden")},
	{Name: "any assistant", Site: "/any", Body: ChatWith(`,"assistantId":"\"x\u0000"`), Want: strings.TrimSuffix(ChatWith(""), "}") + `,"assistantId":"\"x\u0000"}`},

	// Size.
	{Name: "exactly as large as allowed", Site: "/small", Body: padded(ChatWith(""), smallBody), Want: AskedFor(ChatWith(""), "asst_demo")},
}

// TooManyMessages is the code of a body that is refused because of max_messages.
const TooManyMessages = "too_many_messages:chat"

// Codes maps the status with which a body is refused to the error code, unless that is TooManyMessages.
var Codes = map[int]string{
	400: "bad_request:chat",
	403: "forbidden:assistant",
	413: "too_large:chat",
}

// DecodeObject decodes the JSON object at the beginning of body, with numbers as json.Number. It returns false if there
// is none.
func DecodeObject(body []byte) (map[string]any, bool) {
	var object map[string]any
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber() // so that no number is rounded
	err := decoder.Decode(&object)
	return object, err == nil && object != nil
}
