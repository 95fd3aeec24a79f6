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

func TestBeginsFinish(t *testing.T) {
	for begin, want := range map[string]bool{
		`data: {"type":"finish","usage":"xxx`:         true,
		`data: {"usage":{"type":"finish","x":"xxx`:    false,
		`data: {"type":"text-delta","textDelta":"xxx`: false,
		`data: {"type":"fini`:                         false,
		`data: "type":"finish","usage":"xxx`:          false,
	} {
		var f FinishReader
		if got := f.BeginsFinish([]byte(begin), true); got != want {
			t.Errorf("%q: got %v, want %v", begin, got, want)
		}
	}
}

// FuzzIsFinish compares the reader with encoding/json, which reads like browsers in all that matters here.
func FuzzIsFinish(f *testing.F) {
	f.Add(`{"type":"finish"}`)
	f.Add(`{"type":"text-delta","textDelta":"finish"}`)
	f.Add(`{"type":"\u0066inish","type":1}`)
	f.Fuzz(func(t *testing.T, data string) {
		if strings.ContainsAny(data, "\r\n") {
			t.Skip("more than one line")
		}
		block := []byte("data: " + data + "\n\n")
		var want bool
		var fields map[string]any
		if json.Unmarshal([]byte(data), &fields) == nil {
			want = fields["type"] == typeFinish
		}
		var r FinishReader
		if got := MayFinish(block) && r.IsFinish(block, false); got != want {
			t.Errorf("%q: got %v, want %v", data, got, want)
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

// The reader frees the memory of a large event.
func TestFinishReaderGivesItsMemoryBack(t *testing.T) {
	f := NewFinishReader()
	defer f.Release()
	f.IsFinish([]byte(`data: {"type":"tool-result","result":"finish `+strings.Repeat("x", 60_000)+"\"}\n\n"), false)
	if got := cap(f.data) + f.in.Cap(); got > 2*maxKept {
		t.Errorf("the reader keeps %d bytes", got)
	}
}
