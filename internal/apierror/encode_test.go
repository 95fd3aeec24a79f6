package apierror

import (
	"errors"
	"net/http"
	"reflect"
	"testing"
	"time"
)

// Other visitors get the same error, without what only the log gets.
func TestEncode(t *testing.T) {
	for name, e := range map[string]*Error{
		"our own":        {Status: http.StatusBadRequest, Code: CodeBadRequest, Text: "messages[2].role"},
		"the upstream's": {Status: 429, Code: codeRateLimitUpstream, Text: "later", adopted: "rate_limit:chat", Upstream: 429, RetryAfter: 1500 * time.Millisecond, Header: RetryAfterHeader(2 * time.Second)},
		"with details":   {Status: 400, Code: codeBadRequestUpstream, Text: "no", details: map[string]string{"messages": "too many"}},
	} {
		t.Run(name, func(t *testing.T) {
			logged := *e
			logged.Cause, logged.Hint = errors.New("a cause"), "a hint"
			e.Repeated = true
			if got := Decode(logged.Encode()); !reflect.DeepEqual(got, e) {
				t.Errorf("got %+v, want %+v", got, e)
			}
		})
	}
	for _, p := range []string{"", "{}", "null", `{"status":200,"code":"rate_limit:chat"}`, `{"status":429,"code":"another"}`} {
		if got := Decode([]byte(p)); got.Code != CodeBadGateway || got.Status != http.StatusBadGateway || !got.Repeated {
			t.Errorf("for %q, got %+v", p, got)
		}
	}
	if got := Decode((*Error)(nil).Encode()); got.Status != http.StatusBadGateway {
		t.Errorf("for no error, got %+v", got)
	}
}
