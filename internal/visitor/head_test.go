package visitor

import (
	"net/http"
	"reflect"
	"testing"
)

// The site's own header fields win over the answer's. Vary gets the members of both, each once.
func TestAddHead(t *testing.T) {
	site := http.Header{
		"X-Site": {"ours"}, "X-List": {"a", "b"}, "X-Empty": {}, "Vary": {"Origin, Accept-Encoding"},
	}
	answer := http.Header{
		"X-Site": {"theirs"}, "X-List": {"c"}, "X-Empty": {"theirs"}, "X-Chat-Id": {"c1", "c2"},
		"Vary": {"origin", "Accept, Accept-Encoding", ",", "Cookie,Accept"},
	}
	before := answer.Clone()
	addHead(site, answer)
	want := http.Header{
		"X-Site": {"ours"}, "X-List": {"a", "b"}, "X-Empty": {"theirs"}, "X-Chat-Id": {"c1", "c2"},
		"Vary": {"Origin, Accept-Encoding", "Accept", "Cookie"},
	}
	if !reflect.DeepEqual(site, want) {
		t.Errorf("got %q, want %q", site, want)
	}
	site["X-Chat-Id"][0] = "edited"
	if !reflect.DeepEqual(answer, before) {
		t.Errorf("the answer's own header has changed to %q", answer)
	}
}
