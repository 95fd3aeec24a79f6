package recording

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/illumichat/caddy-illumichat/internal/apierror"
)

func TestNewIDIsValid(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		id := NewID()
		if !ValidID(id) || seen[id] {
			t.Fatalf("%q is no new id", id)
		}
		seen[id] = true
	}
	for _, id := range []string{"", "short", NewID() + "A", NewID()[1:] + "!", NewID()[1:] + "\n", "../" + NewID()[3:]} {
		if ValidID(id) {
			t.Errorf("%q counts as an id", id)
		}
	}
}

func TestLastEvent(t *testing.T) {
	const id = "AAAAAAAAAAAAAAAAAAAAAA"
	for _, test := range []struct {
		name   string
		header string
		query  url.Values
		id     string
		n      int64
		err    error
	}{
		{name: "the header", header: id + ":7", id: id, n: 7},
		{name: "the header of no event yet", header: id + ":0", id: id},
		{name: "the query", query: url.Values{"stream": {id}, "after": {"7"}}, id: id, n: 7},
		{name: "the query without a number", query: url.Values{"stream": {id}}, id: id},
		{name: "the header before the query", header: id + ":7", query: url.Values{"stream": {"other"}, "after": {"9"}}, id: id, n: 7},
		{name: "the largest number", header: id + ":9223372036854775807", id: id, n: 9223372036854775807},
		{name: "another id", header: "other:1", id: "other", n: 1}, // the store does not know it

		{name: "nothing", err: ErrStreamMissing},
		{name: "a number alone", query: url.Values{"after": {"7"}}, err: ErrStreamMissing},
		{name: "an empty stream", query: url.Values{"stream": {""}, "after": {"7"}}, err: ErrStreamMissing},
		{name: "no number", header: id, err: errEventID},
		{name: "no id", header: ":7", err: errEventID},
		{name: "an empty number", header: id + ":", err: errEventID},
		{name: "an empty number in the query", query: url.Values{"stream": {id}, "after": {""}}, err: errEventID},
		{name: "a negative number", header: id + ":-1", err: errEventID},
		{name: "a fraction", header: id + ":1.5", err: errEventID},
		{name: "a number that is too large", header: id + ":9223372036854775808", err: errEventID},
		{name: "two numbers", header: id + ":1:2", err: errEventID},
		{name: "a space", header: id + ": 1", err: errEventID},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/chat?"+test.query.Encode(), nil)
			if test.header != "" {
				r.Header.Set("Last-Event-ID", test.header)
			}
			gotID, n, err := LastEvent(r)
			if gotID != test.id || n != test.n || !errors.Is(err, test.err) {
				t.Errorf("got %q, %d, %v; want %q, %d, %v", gotID, n, err, test.id, test.n, test.err)
			}
			if refusal, ok := errors.AsType[*apierror.Error](err); err != nil && (!ok || refusal.Status != http.StatusBadRequest) {
				t.Errorf("the error is %v", err)
			}
		})
	}
}
