package apierror

import (
	"cmp"
	"fmt"
	"strings"
	"testing"
)

// Each status that the operator can do something about has a hint.
func TestHints(t *testing.T) {
	for status, piece := range map[int]string{
		400: "assistant's id", 401: "token", 402: "account", 403: "token", 404: "endpoint", 405: "endpoint", 410: "endpoint",
		415: "endpoint", 422: "pass_fields", 451: "endpoint", 500: "IllumiChat", 503: "IllumiChat",
	} {
		if got := FromStatus(status).Hint; !strings.Contains(got, piece) {
			t.Errorf("%d: got the hint %q, want %q in it", status, got, piece)
		}
	}
	for _, status := range []int{413, 429} {
		if got := FromStatus(status).Hint; got != "" {
			t.Errorf("%d: got the hint %q", status, got)
		}
	}
}

// An error that speaks of a plan or of money has a hint at the account, whatever its status. No part of another word
// counts.
func TestHintAtTheAccount(t *testing.T) {
	for _, row := range []struct {
		code, text string
		want       bool
	}{
		{"payment_required:chat", "", true},
		{"plan_limit:assistant", "", true},
		{"insufficient_credits:chat", "", true},
		{"forbidden:plan", "", true},
		{"plan_upgrade_required", "", true}, // not the API's form
		{"PaymentRequired", "", false},
		{"QUOTA-EXCEEDED", "", true},
		{"forbidden:chat", "Your plan does not include this.", true},
		{"forbidden:chat", "Add credits to your balance", true},
		{"planning:chat", "", false},
		{"bad_request:explanation", "", false},
		{"bad_request:chat", "", false},
		{"replan:chat", "", false},
		{"bad_request:chat", "Explain your planet", false},
	} {
		body := fmt.Appendf(nil, `{"error":%q,"code":%q}`, cmp.Or(row.text, "Their words."), row.code)
		for _, status := range []int{400, 500} {
			e := FromStatus(status)
			e.Adopt(body)
			if got := e.Hint == HintAccount; got != row.want {
				t.Errorf("%d %s, %q: got the hint %q", status, row.code, row.text, e.Hint)
			}
		}
		if got := ConcernsAccount(body); got != row.want {
			t.Errorf("%s, %q: got %v", row.code, row.text, got)
		}
	}
	for _, status := range []int{413, 429} { // the visitor's own matter
		e := FromStatus(status)
		e.Adopt([]byte(`{"error":"Your plan is too small.","code":"plan_limit:chat"}`))
		if e.Hint != "" {
			t.Errorf("%d: got the hint %q", status, e.Hint)
		}
	}
}
