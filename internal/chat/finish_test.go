package chat

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestIsFinish(t *testing.T) {
	for _, test := range []struct {
		event string
		want  bool
	}{
		{`data: {"type":"finish","finishReason":"stop"}`, true},
		{`data:{"finishReason":"stop","usage":{"tokens":[1,2]},"type":"finish"}`, true},
		{`data: { "t\u0079pe" : "\u0066inish" }`, true},
		{`data: {"type":"\u0066\u0069\u006e\u0069\u0073\u0068"}`, true},
		{"data: {\"type\":\ndata: \"finish\"}", true},
		{"event: message\r\nid: 1\r\ndata: {\"type\":\"finish\"}\r\n", true},
		{`data: {"type":"text-delta","type":"finish"}`, true}, // as JSON.parse reads it
		{`data: {"type":"finish","type":"text-delta"}`, false},
		{`data: {"type":"finish","type":null}`, false},
		{`data: {"type":"text-delta","textDelta":"{\"type\":\"finish\"}"}`, false},
		{`data: {"type":"tool-result","result":{"type":"finish"}}`, false},
		{`data: [{"type":"finish"}]`, false},
		{`data: {"Type":"finish"}`, false},
		{`data: {"type":"Finish"}`, false},
		{`data: {"type":["finish"]}`, false},
		{`data: "finish"`, false},
		{`data: finish`, false},
		{`data: {"type":"finish"`, false},
		{`data: {"type":"finish"} and more`, false},
		{`data: {"type":"finish",}`, false},
		{`: {"type":"finish"}`, false},
		{`event: finish`, false},
		{"data: \xff{\"type\":\"finish\"}", false},
		{"data: {\"type\":\"finish\",\"x\":\"\xff\"}", true},
		{"data: {\"\xff\":1,\"type\":\"finish\"}", true},
		{`data: {"\ud800":1,"type":"finish"}`, true},
	} {
		block := []byte(test.event + "\n\n")
		var f FinishReader
		if got := MayFinish(block) && f.IsFinish(block, true); got != test.want {
			t.Errorf("%q: got %v, want %v", test.event, got, test.want)
		}
	}
}

// An event that comes in parts may be a finish until it names another type. Its last type counts.
func TestMayBeFinish(t *testing.T) {
	for begin, want := range map[string]bool{
		`data: {"type":"finish","usage":"xxx`:           true,
		`data: {"usage":{"type":"text-delta","x":"xxx`:  true,
		`data: {"usage":"xxx`:                           true,
		`data: {"type":"text-delta","textDelta":"xxx`:   false,
		`data: {"type":"text-delta","type":"finish","x`: true,
		`data: {"type":"fini`:                           false,
		`data: "type":"finish","usage":"xxx`:            false,
		`data: ["xxx`:                                   false,
	} {
		var f FinishReader
		f.Begin(true)
		f.Read([]byte(begin))
		if got := f.MayBeFinish(); got != want {
			t.Errorf("%q: got %v, want %v", begin, got, want)
		}
		if f.ReadFinish() {
			t.Errorf("%q is a finish before it is whole", begin)
		}
	}
}

func TestFinishReason(t *testing.T) {
	long := strings.Repeat("x", maxReason+1)
	for event, want := range map[string]string{
		`{"type":"finish","finishReason":"stop"}`:                        "stop",
		`{"finishReason":"tool-calls","usage":{"finishReason":"x"}}`:     "tool-calls",
		`{"finishReason":"l\u0065ngth"}`:                                 "length",
		`{"finishReason":"stop","finishReason":"length"}`:                "length",
		`{"finishReason":"stop","finishReason":null}`:                    "",
		`{"finishReason":{"type":"stop"}}`:                               "",
		`{"type":"finish"}`:                                              "",
		`{"finishReason":"` + long + `"}`:                                "",
		`{"finishReason":"stop","finishReason":"` + long + `"}`:          "",
		`{"` + long + `":"x","finishReason":"stop","x":"` + long + `"}`:  "stop",
		`{"finishReason":"` + long[:maxReason] + `","x":"finishReason"}`: long[:maxReason],
	} {
		var f FinishReader
		f.IsFinish([]byte("data: "+event+"\n\n"), false)
		if got := string(f.Reason()); got != want {
			t.Errorf("%s: got %q, want %q", event, got, want)
		}
		if want := want == "tool-calls"; f.EndsStep() != want {
			t.Errorf("%s: ends a step: %t", event, !want)
		}
	}
}

// FuzzIsFinish compares the reader with encoding/json, which reads like browsers in all that matters here. The event
// comes as a whole, and in parts.
func FuzzIsFinish(f *testing.F) {
	for _, data := range []string{
		`{"type":"finish"}`,
		`{"type":"text-delta","textDelta":"finish"}`,
		`{"type":"\u0066inish","type":1}`,
		`{"n":[-0.5e+10,10,0,1E2,{}],"b":[true,false,null,[]],"type":"finish","s":"\"\\\/\b\f\n\r\t\ud83d"}`,
		`{"a":{"b":[{"c":"}]"}]},"type":"finish"} `,
		`{"n":01,"type":"finish"}`, `{"n":1.,"type":"finish"}`, `{"n":-,"type":"finish"}`, `{"n":1e,"type":"finish"}`,
		`{"n":tru,"type":"finish"}`, `{"n":nulll,"type":"finish"}`, `{"n":"\x","type":"finish"}`, `{"n":"\u00g0","type":"finish"}`,
		`{"type":"finish",}`, `{"type":"finish"}}`, `{"type":"finish"]`, `{"a":[},"type":"finish"}`, `{"a" 1,"type":"finish"}`,
		`{"a":[1,],"type":"finish"}`, `{,"type":"finish"}`, `{"a":"` + "\t" + `","type":"finish"}`,
	} {
		f.Add(data, uint(1), uint(3))
	}
	f.Fuzz(func(t *testing.T, data string, a, b uint) {
		if strings.ContainsAny(data, "\r\n") {
			t.Skip("more than one line")
		}
		block := []byte("data: " + data + "\n\n")
		var want bool
		var fields map[string]json.RawMessage // a number may be larger than Go's
		if json.Unmarshal([]byte(data), &fields) == nil {
			var name any
			_ = json.Unmarshal(fields["type"], &name)
			want = name == typeFinish
		}
		var r FinishReader
		if got := MayFinish(block) && r.IsFinish(block, false); got != want {
			t.Errorf("%q: got %v, want %v", data, got, want)
		}
		i := int(a % uint(len(block)+1))
		j := i + int(b%uint(len(block)-i+1))
		r.Begin(false)
		for _, part := range [][]byte{block[:i], block[i:j], block[j:]} {
			r.Read(part)
		}
		if got := r.ReadFinish(); got != want {
			t.Errorf("%q in parts: got %v, want %v", []string{string(block[:i]), string(block[i:j]), string(block[j:])}, got, want)
		}
	})
}

// BenchmarkIsFinish measures an event whose text quotes a finish.
func BenchmarkIsFinish(b *testing.B) {
	block := []byte(`data: {"type":"text-delta","textDelta":"when we finish, {\"type\":\"finish\"}"}` + "\n\n")
	var r FinishReader
	b.ReportAllocs()
	for b.Loop() {
		if r.IsFinish(block, false) {
			b.Fatal("this is no finish")
		}
	}
}

// FuzzMayFinish compares MayFinish with a plain search for the word and the escapes.
func FuzzMayFinish(f *testing.F) {
	for _, text := range []string{"", `finish`, `\u0066inish`, `fin\u0069sh`, `\\u0066`, `\u007`, `\u00`, `\`, `\\\u006`, `\n\u0061`, strings.Repeat(`\`, 10)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		want := strings.Contains(text, "finish") || strings.Contains(text, `\u006`) || strings.Contains(text, `\u007`)
		if got := MayFinish([]byte(text)); got != want {
			t.Errorf("%q: got %t", text, got)
		}
	})
}

// However large an event is, the reader keeps little of it.
func TestFinishReaderKeepsLittle(t *testing.T) {
	f := NewFinishReader()
	defer f.Release()
	large := strings.Repeat("x", 60_000)
	f.IsFinish([]byte(`data: {"`+large+`":"finish","type":"`+large+`","finishReason":"`+large+"\"}\n\n"), false)
	f.IsFinish([]byte(`data: {"x":`+strings.Repeat("[", 60_000)+"\n\n"), false)
	f.Begin(false)
	if got := cap(f.held) + cap(f.text) + cap(f.reason) + cap(f.json.open); got > 2*maxKept {
		t.Errorf("the reader keeps %d bytes", got)
	}
}
