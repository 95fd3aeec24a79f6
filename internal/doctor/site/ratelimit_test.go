package site

import (
	"net/http"
	"testing"
	"time"
)

// The limit with the longest window counts. A limit of another sender does not.
func TestAllowanceOf(t *testing.T) {
	for _, tc := range []struct {
		policy, limit string
		want          allowance
		ok            bool
	}{
		{`"client";q=20;w=3600`, `"client";r=3;t=120`, allowance{20, time.Hour, 3}, true},
		{`"client";q=5;w=30, "client-2";q=20;w=3600`, `"client";r=4;t=9, "client-2";r=0;t=1`, allowance{20, time.Hour, 0}, true},
		{`"client-2";q=20;w=3600, "client";q=5;w=30`, `"client-2";r=7, "client";r=4`, allowance{20, time.Hour, 7}, true},
		{`"burst";q=20;w=3600`, `"burst";r=3;t=120`, allowance{}, false},
		{`"client";q=20`, `"client";r=3`, allowance{}, false},
		{``, `"client";r=3`, allowance{}, false},
		{`20;w=3600`, `limit=20`, allowance{}, false},
		{`"client`, `"client`, allowance{}, false},
	} {
		h := make(http.Header)
		h.Set("RateLimit-Policy", tc.policy)
		h.Set("RateLimit", tc.limit)
		if got, ok := allowanceOf(h); got != tc.want || ok != tc.ok {
			t.Errorf("%s, %s: got %+v, %t", tc.policy, tc.limit, got, ok)
		}
	}
	if _, ok := allowanceOf(http.Header{}); ok {
		t.Error("there is a limit without a header")
	}
}

func TestCompare(t *testing.T) {
	limit := func(left int64) allowance { return allowance{20, time.Hour, left} }
	short := func(left int64) allowance { return allowance{20, 10 * time.Second, left} }
	for name, tc := range map[string]struct {
		first, second allowance
		elapsed       time.Duration
		want          verdict
	}{
		"the first two chats":               {limit(19), limit(18), 3 * time.Second, countedTogether},
		"somebody else chats":               {limit(19), limit(15), 3 * time.Second, countedTogether},
		"two clients":                       {limit(19), limit(19), 3 * time.Second, countedApart},
		"two clients, one of them not new":  {limit(12), limit(19), 3 * time.Second, countedApart},
		"an earlier chat expires meanwhile": {limit(12), limit(12), 3 * time.Second, cannotTell},
		"used up":                           {limit(0), limit(19), 3 * time.Second, countedApart},
		"a short window":                    {short(19), short(19), 3 * time.Second, cannotTell},
		"a short window, many earlier ones": {short(10), short(19), 2 * time.Second, countedApart},
		"the config changed":                {limit(19), short(19), 3 * time.Second, cannotTell},
	} {
		if got := compare(tc.first, tc.second, tc.elapsed); got != tc.want {
			t.Errorf("%s: got %d, want %d", name, got, tc.want)
		}
	}
}

// A limit of the largest numbers does not overflow.
func TestCompareLarge(t *testing.T) {
	const year = 366 * 24 * time.Hour
	if got := compare(allowance{1 << 40, year, 1 << 39}, allowance{1 << 40, year, 1<<40 - 1}, 3*time.Minute); got != countedApart {
		t.Errorf("got %d", got)
	}
}
