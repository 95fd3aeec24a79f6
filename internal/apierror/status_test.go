package apierror

import (
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

// A code that speaks of a plan or of money has a hint at the account, whatever the status. No part of another word
// counts.
func TestHintAtTheAccount(t *testing.T) {
	for code, want := range map[string]bool{
		"payment_required:chat": true, "plan_limit:assistant": true, "insufficient_credits:chat": true, "forbidden:plan": true,
		"subscription:expired": true, "upgrade_required:chat": true,
		"planning:chat": false, "bad_request:explanation": false, "bad_request:chat": false, "replan:chat": false,
		"Your plan is too small": false,
	} {
		for _, status := range []int{400, 500} {
			e := FromStatus(status)
			e.Adopt(fmt.Appendf(nil, `{"error":"Their words.","code":%q}`, code))
			if got := e.Hint == hintAccount; got != want {
				t.Errorf("%d %s: got the hint %q", status, code, e.Hint)
			}
		}
	}
}
