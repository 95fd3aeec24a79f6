package illumichat

import (
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"runtime"
	"strings"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/sitetest"
)

// hostileBody is a body that is made to be dear.
type hostileBody struct {
	name, body string
	status     int // 0: it is accepted
}

// hostileBodies are some of a size.
func hostileBodies(size int) []hostileBody {
	// repeated fills what is between head and tail.
	repeated := func(head, unit, tail string) string {
		n := (size - len(head) - len(tail)) / len(unit)
		return head + strings.TrimSuffix(strings.Repeat(unit, n), ",") + tail
	}
	// named fills an object with names that are all different.
	named := func(head, tail string) string {
		var b strings.Builder
		b.WriteString(head)
		for i := 0; b.Len()+len(tail)+20 < size; i++ {
			fmt.Fprintf(&b, `"%x":0,`, i)
		}
		b.WriteString(`"last":0` + tail)
		return b.String()
	}
	const passed = `{"messages":[` + hi + `],"model":`
	twice := strings.Repeat("x", size/2-50)
	return []hostileBody{
		{"a long text", repeated(`{"messages":[{"role":"user","content":"`, "x", `"}]}`), 0},
		{"a long escaped text", repeated(`{"messages":[{"role":"user","content":"`, `\u0041`, `"}]}`), 0},
		{"a long text of control characters", repeated(`{"messages":[{"role":"user","content":"`, `\u0001`, `"}]}`), 0},
		{"invalid UTF-8", repeated(`{"messages":[{"role":"user","content":"`, "\xff", `"}]}`), 400},
		{"invalid UTF-8 at the end", repeated(`{"messages":[{"role":"user","content":"`, "x", "\xff"+`"}]}`), 400},
		{"half surrogate pairs", repeated(`{"messages":[{"role":"user","content":"`, `\ud800`, `"}]}`), 400},
		{"tiny messages", repeated(`{"messages":[`, `{"role":"user","content":"a"},`, `]}`), 0},
		{"tiny messages and one that is wrong", repeated(`{"messages":[`, `{"role":"user","content":"a"},`, `{"role":"user"}]}`), 400},
		{"numbers", repeated(passed+"[", "1,", "]}"), 0},
		{"numbers that are dropped", repeated(`{"messages":[`+hi+`],"else":[`, "1,", "]}"), 0},
		{"a number of many digits", repeated(passed, "1", "}"), 0},
		{"a number with a large exponent", repeated(passed+"1e", "9", "}"), 0},
		{"names", named(passed+"{", "}}"), 0},
		{"names at the top", named(`{"messages":[`+hi+`],`, "}"), 0},
		{"names in a message", named(`{"messages":[{"role":"user","content":"a",`, "}]}"), 0},
		{"names, and one twice", named(passed+`{"last":1,`, "}}"), 400},
		{"one long name", repeated(`{"messages":[{"role":"user","content":"a","`, "x", `":1}]}`), 0},
		{"one long name twice", `{"messages":[{"role":"user","content":"a","` + twice + `":1,"` + twice + `":1}]}`, 400},
		{"arrays in arrays", nested(size / 2), 400},
		{"arrays in an array", passed + nested(size/2-50) + "}", 400},
		{"objects in objects", repeated(passed, `{"a":`, ""), 400},
		{"arrays as deep as can be", repeated(passed+"[", nested(maxNesting-2)+",", "]}"), 0},
		{"objects", repeated(passed+"[", `{"a":0},`, "]}"), 0},
		{"spaces", repeated(`{"messages":[`+hi+`]`, " ", "}"), 0},
		{"commas", repeated(`{"messages":[`, ",,", `]}`), 400},
		{"a long role", repeated(`{"messages":[{"role":"`, "x", `","content":"a"}]}`), 400},
		{"a long chatId", repeated(`{"messages":[`+hi+`],"chatId":"`, "x", `"}`), 400},
		{"a long assistantId", repeated(`{"messages":[`+hi+`],"assistantId":"`, "x", `"}`), 403},
		{"a long name of an unknown field", repeated(`{"messages":[`+hi+`],"`, "x", `":1}`), 0},
	}
}

// maxBodyCost bounds how much is allocated to check a body, as a multiple of its size; nearly all of it is garbage soon.
// A chat with one long text takes 4, and the dearest body 20, or 25 with the race detector.
const maxBodyCost = 32

var hostileRules = chatRules{
	assistants: map[string]string{"asst_demo": "asst_demo"},
	roles:      []string{"user", "assistant"},
	passFields: []string{"model"},
}

func TestHostileBodiesAreCheap(t *testing.T) {
	const size = 1 << 20
	for _, row := range hostileBodies(size) {
		t.Run(row.name, func(t *testing.T) {
			if len(row.body) < size*9/10 || len(row.body) > size {
				t.Fatalf("it has %d bytes", len(row.body))
			}
			rules := hostileRules
			body := []byte(row.body)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := rules.parse(body)
			runtime.ReadMemStats(&after)
			if refusal, ok := errors.AsType[*chatError](err); ok != (row.status != 0) || ok && refusal.status != row.status {
				t.Errorf("got %v, want status %d", err, row.status)
			}
			cost := float64(after.TotalAlloc-before.TotalAlloc) / float64(len(body))
			t.Logf("%.1f bytes are allocated for each", cost)
			if cost > maxBodyCost {
				t.Errorf("%.1f bytes are allocated for each, want at most %d", cost, maxBodyCost)
			}
			if refusal, ok := errors.AsType[*chatError](err); ok && len(refusal.text) > 500 {
				t.Errorf("the error has %d bytes", len(refusal.text))
			}
		})
	}
}

// A million messages are as dear as their bytes, or as the first of them where there may be no more.
func TestAMillionMessages(t *testing.T) {
	body := []byte(`{"messages":[` + strings.Repeat(hi+",", 999_999) + hi + `]}`)
	rules := hostileRules
	if _, err := rules.parse(body); err != nil {
		t.Error(err)
	}
	rules.maxMessages = 50
	allocated := testing.AllocsPerRun(1, func() {
		if _, err := rules.parse(body); err == nil || !strings.Contains(err.Error(), "more than 50") {
			t.Errorf("got %v", err)
		}
	})
	if allocated > 1000 {
		t.Errorf("there were %v allocations", allocated)
	}
}

// What reaches the upstream decodes to what was sent, as far as that was asked for.
func TestHostileBodiesAtTheFrontDoor(t *testing.T) {
	upstream := sitetest.NewUpstream(t, sitetest.Finishing)
	s := sitetest.Serve(t, sitetest.ChatToURL(upstream.URL, "pass_fields model"))
	for _, row := range hostileBodies(200_000) {
		t.Run(row.name, func(t *testing.T) {
			resp := s.Ask(row.body)
			asked := upstream.Take()
			if row.status != 0 {
				sitetest.WantError(t, resp, row.status, refusalCodes[row.status])
				if len(asked) != 0 {
					t.Error("the upstream was asked")
				}
				return
			}
			if body := sitetest.ReadAll(t, resp); resp.StatusCode != http.StatusOK {
				t.Fatalf("got status %d: %s", resp.StatusCode, body)
			}
			if asked = append(asked, upstream.Take()...); len(asked) != 1 {
				t.Fatalf("the upstream was asked %d times", len(asked))
			}
			want, _ := decodeObject([]byte(row.body))
			got, _ := decodeObject([]byte(asked[0].Body))
			for _, name := range []string{"messages", "model"} {
				if !reflect.DeepEqual(got[name], want[name]) {
					t.Errorf("the %s are not what was sent", name)
				}
			}
			if len(got) > 3 {
				t.Errorf("the upstream got %d fields", len(got))
			}
		})
	}
}

func BenchmarkHostileBodies(b *testing.B) {
	for _, row := range hostileBodies(1 << 20) {
		b.Run(row.name, func(b *testing.B) {
			rules := hostileRules
			body := []byte(row.body)
			b.SetBytes(int64(len(body)))
			b.ReportAllocs()
			for b.Loop() {
				_, _ = rules.parse(body)
			}
		})
	}
}
