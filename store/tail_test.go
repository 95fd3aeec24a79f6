package store

import (
	"net/http"
	"slices"
	"testing"
	"time"
)

// A Tail reads each byte once, with where its events end, and does not hold up anything.
func TestTail(t *testing.T) {
	terms := Terms{Grace: time.Minute, Keep: time.Minute, MaxSize: 5000, MaxTotal: 1 << 20}
	source, first := NewMemory(new(Budget)).Create("id", Meta{}, terms)
	defer first.Close()
	source.Open(http.Header{})
	tail := NewTail(source)
	add := func(n int, ends ...int) {
		t.Helper()
		if err := source.Append(t.Context(), Chunk{Data: make([]byte, n), Ends: ends, Torn: len(ends) == 0}); err != nil {
			t.Fatal(err)
		}
	}
	want := func(n int, torn, more bool, ends ...int) {
		t.Helper()
		c, gotMore, kept := tail.Next(nil)
		if len(c.Data) != n || c.Torn != torn || gotMore != more || !slices.Equal(c.Ends, ends) || !kept {
			t.Errorf("got %d bytes, %v, torn %v, more %v, kept %v", len(c.Data), c.Ends, c.Torn, gotMore, kept)
		}
	}
	want(0, false, false)
	add(10, 4, 10)
	add(20, 20)
	want(30, false, false, 4, 10, 30)
	add(10)
	want(10, true, false)
	add(minSegment, minSegment) // needs a segment of its own
	add(10, 10)
	want(minSegment, false, true, minSegment)
	want(10, false, false, 10)
	want(0, false, false)
	add(5000, 5000) // is too much to be kept
	if _, _, kept := tail.Next(nil); kept || tail.Kept() {
		t.Error("the stream is kept")
	}
	source.Finish(Chunk{}, End{})
}
