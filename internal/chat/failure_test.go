package chat

import (
	"strings"
	"testing"
)

func TestReadFailure(t *testing.T) {
	long := strings.Repeat("x", maxFailureText+1)
	for _, test := range []struct {
		data string
		want Failure
		no   bool // the event is no error
	}{
		{data: `{"type":"error","errorText":"Quota exceeded"}`, want: Failure{Text: "Quota exceeded"}},
		{data: `{"error":"quota exceeded","code":"rate_limit:chat"}`, want: Failure{"quota exceeded", "rate_limit:chat"}},
		{data: `{"type":"error","error":"busy","code":"overloaded:chat"}`, want: Failure{"busy", "overloaded:chat"}},
		{data: `{"type":"error","error":{"type":"overloaded","message":"busy"}}`, want: Failure{Text: "busy"}},
		{data: `{"type":"error","message":"busy","code":"a code"}`, want: Failure{Text: "busy"}},
		{data: `{"type":"\u0065rror","errorT\u0065xt":"busy"}`, want: Failure{Text: "busy"}},
		{data: `{"type":"error","error":["busy"]}`},
		{data: `{"type":"error","error":null}`},
		{data: `{"type":"error","errorText":"` + long + `"}`, want: Failure{Text: long[1:] + "…"}},
		{data: `{"type":"error","errorText":"` + long[2:] + `üü"}`, want: Failure{Text: long[2:] + "…"}},
		{data: `{"type":"error","errorText":"busy","stack":"` + strings.Repeat("x", 60_000) + `"}`, want: Failure{Text: "busy"}},
		{data: `{"type":"error","errorText":"busy","code":429}`, want: Failure{Text: "busy"}},
		{data: `{"type":"error","errorText":"busy","message":5}`, want: Failure{Text: "busy"}},
		{data: `{"type":"error","errorText":{"message":"busy"}}`, want: Failure{Text: "busy"}},
		{data: "{\"error\":\"pass\xe9\",\"code\":\"rate_limit:chat\"}", want: Failure{"pass\uFFFD", "rate_limit:chat"}},

		{data: `{"type":"tool-result","result":"an error","error":"x","code":"a:b"}`, no: true},
		{data: `{"type":"finish","finishReason":"error","error":"x","code":"a:b"}`, no: true},
		{data: `{"error":"quota exceeded"}`, no: true},
		{data: `{"error":"quota exceeded","code":"quota"}`, no: true},
		{data: `{"error":{"message":"x"},"code":"a:b"}`, no: true},
		{data: `{"textDelta":"error"}`, no: true},
		{data: `{"type":"text-delta","type":"error"}`, no: true}, // the first type counts
		{data: `["error"]`, no: true},
		{data: `"error"`, no: true},
		{data: `error`, no: true},
		{data: `{"type":"error"`, no: true},
		{data: `{"stack":"` + strings.Repeat("x", maxSearched) + `","type":"error"}`, no: true},
	} {
		event := []byte("data: " + test.data + "\n\n")
		var got Failure
		ok := MayFail(event) && !IsOther(event)
		if ok {
			got, ok = ReadFailure(event, false)
		}
		if got != test.want || ok == test.no {
			t.Errorf("%.200s: got %+v, %t", test.data, got, ok)
		}
	}
	if got, ok := ReadFailure([]byte("\uFEFFevent: error\r\ndata: {\"type\":\r\ndata: \"error\",\"errorText\":\"busy\"}\r\n\r\n"), true); !ok || got.Text != "busy" {
		t.Errorf("got %+v, %t", got, ok)
	}
}

func TestIsDone(t *testing.T) {
	for event, want := range map[string]bool{
		"data: [DONE]\n\n":                   true,
		"data:[DONE]\r\n\r\n":                true,
		"data: [DONE] \n\n":                  false,
		"data: [DONE]\ndata: x\n\n":          false,
		"data: [done]\n\n":                   false,
		": [DONE]\n\n":                       false,
		"data: " + strings.Repeat("x", 1000): false,
	} {
		if got := IsDone([]byte(event)); got != want {
			t.Errorf("%q: got %t", event, got)
		}
	}
}
