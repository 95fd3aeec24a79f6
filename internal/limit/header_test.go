package limit

import (
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// wantFields checks the RateLimit fields of a header. An empty text says that there is no such field.
func wantFields(t *testing.T, when string, header http.Header, policy, limit string) {
	t.Helper()
	for name, text := range map[string]string{"RateLimit-Policy": policy, "RateLimit": limit} {
		var want []string
		if text != "" {
			want = []string{text}
		}
		if got := header.Values(name); !slices.Equal(got, want) {
			t.Errorf("%s: %s is %q, want %q", when, name, got, want)
		}
	}
}

// The fields say how much is left, and after how many seconds there is more. Seconds are rounded up.
func TestRateLimitFieldsAsTimePasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newTestLimiter(t, Rule{Requests: 2, Window: time.Hour, Key: "client", ByClient: true})
		defer closeLimiter(t, l)
		const policy = `"client";q=2;w=3600`
		admit := func(when, limit string) *Admission {
			t.Helper()
			a := admitOne(t, l)
			wantFields(t, when, a.header, policy, limit)
			return a
		}
		first := admit("the first", `"client";r=1;t=7200`) // it counts in the next hour, too, until that is over
		first.Reached()
		time.Sleep(10*time.Minute + time.Nanosecond)
		second := admit("the second", `"client";r=0;t=4800`) // half of the next hour has to pass
		refused := make(http.Header)
		if _, err := l.Admit(refused, Request{Client: "client"}, []string{"client"}); err == nil {
			t.Error("there was room for a third")
		}
		wantFields(t, "the refused one", refused, policy, `"client";r=0;t=4800`)
		second.Leave()
		wantFields(t, "one that has not reached the upstream", second.header, policy, `"client";r=1;t=6600`)
		time.Sleep(time.Hour)
		first.Leave()
		wantFields(t, "one that has reached it, when it leaves", first.header, policy, `"client";r=1;t=7200`)
		late := admit("an hour later", `"client";r=0;t=3000`)
		time.Sleep(2 * time.Hour)
		late.Leave()
		wantFields(t, "when nothing is used", late.header, policy, `"client";r=2`)
	})
}

// A client sees the limits that count it apart, by names in the order of the rules, and no limit that clients share.
func TestRateLimitFieldsOfSeveralLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		shared := Rule{Requests: 9, Window: time.Hour, Key: "everyone", ForMany: true}
		minute := Rule{Requests: 4, Window: time.Minute, Key: "a", ByClient: true}
		day := Rule{Requests: 50, Window: 24 * time.Hour, Key: "b", ByClient: true}
		odd := Rule{Requests: 7, Window: 1500 * time.Millisecond, Key: "c", ByClient: true}
		for _, test := range []struct {
			name, policy, limit string
			rules               []Rule
		}{
			{name: "no rules"},
			{name: "a shared one", rules: []Rule{shared}},
			{
				"a shared one first", `"client";q=4;w=60`, `"client";r=3;t=120`,
				[]Rule{shared, minute},
			},
			{
				"three, and a shared one", `"client";q=4;w=60, "client-2";q=50;w=86400, "client-3";q=7;w=2`,
				`"client";r=3;t=120, "client-2";r=49;t=172800, "client-3";r=6;t=3`,
				[]Rule{minute, shared, day, odd},
			},
		} {
			l := newTestLimiter(t, test.rules...)
			a := admitOne(t, l)
			wantFields(t, test.name, a.header, test.policy, test.limit)
			a.Leave()
			closeLimiter(t, l)
		}
	})
}
