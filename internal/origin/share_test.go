package origin

import (
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"testing"
)

// Share replaces the CORS fields of the site, and adds to its Vary only what is missing.
func TestShare(t *testing.T) {
	policy, err := New([]string{"HTTPS://Shop.Example.com:443", "http://localhost:3000"})
	if err != nil {
		t.Fatal(err)
	}
	const allowed = "https://shop.example.com"
	for _, test := range []struct {
		name    string
		origins []string
		vary    []string
		shared  string
		want    []string // Vary
	}{
		{"an allowed page", []string{allowed}, nil, allowed, []string{"Origin"}},
		{"another allowed page", []string{"http://localhost:3000"}, nil, "http://localhost:3000", []string{"Origin"}},
		{"several origins", []string{allowed, "https://else.example"}, nil, allowed, []string{"Origin"}},
		{"Vary of the site", []string{allowed}, []string{"Accept-Encoding, origin"}, allowed, []string{"Accept-Encoding, origin"}},
		{"another Vary of the site", []string{allowed}, []string{"Cookie"}, allowed, []string{"Cookie", "Origin"}},
		{"another page", []string{"https://else.example"}, nil, "", []string{"Origin"}},
		{"letter case that no browser sends", []string{"https://SHOP.example.com"}, nil, "", []string{"Origin"}},
		{"no page", nil, nil, "", []string{"Origin"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			header := http.Header{
				"Access-Control-Allow-Origin": {"*"}, "Access-Control-Allow-Credentials": {"true"},
				"Access-Control-Expose-Headers": {"X-Site"}, "Access-Control-Max-Age": {"1"}, "X-Site": {"yes"},
			}
			if test.vary != nil {
				header["Vary"] = slices.Clone(test.vary)
			}
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
			r.Header["Origin"] = test.origins
			shared := policy.Share(header, r)
			want := http.Header{"X-Site": {"yes"}, "Vary": test.want}
			if test.shared != "" {
				maps.Copy(want, http.Header{"Access-Control-Allow-Origin": {test.shared}, "Access-Control-Expose-Headers": {"*"}})
			}
			if shared != test.shared || !reflect.DeepEqual(header, want) {
				t.Errorf("got %q and %q, want %q", shared, header, want)
			}
			if shared != "" && !IsShared(header, shared) {
				t.Error("IsShared does not agree")
			}
		})
	}
}

// Without allowed origins, the site's own CORS fields stay.
func TestShareNothing(t *testing.T) {
	policy, err := New(nil)
	if err != nil {
		t.Fatal(err)
	}
	header := http.Header{"Access-Control-Allow-Origin": {"*"}}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil)
	r.Header.Set("Origin", "https://else.example")
	if shared := policy.Share(header, r); shared != "" || !reflect.DeepEqual(header, http.Header{"Access-Control-Allow-Origin": {"*"}}) {
		t.Errorf("got %q and %q", shared, header)
	}
}

func TestIsShared(t *testing.T) {
	const allowed = "https://shop.example.com"
	for _, test := range []struct {
		values []string
		want   bool
	}{
		{[]string{allowed}, true},
		{[]string{"*"}, true},
		{nil, false},
		{[]string{"https://else.example"}, false},
		{[]string{allowed, "*"}, false},
		{[]string{allowed + ",*"}, false},
	} {
		if got := IsShared(http.Header{"Access-Control-Allow-Origin": test.values}, allowed); got != test.want {
			t.Errorf("%q: got %v", test.values, got)
		}
	}
}
