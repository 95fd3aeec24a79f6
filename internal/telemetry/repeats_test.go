package telemetry

import (
	"fmt"
	"testing"
	"time"
)

// A log remembers a bounded number of kinds. Beyond it, all further kinds of the same minute count as one, and the known
// ones count as ever.
func TestKindsAreBounded(t *testing.T) {
	var r repeats
	now := time.Now()
	due := func(i int, at time.Time) bool {
		_, due := r.due(kind{what: fmt.Sprint("kind ", i)}, at)
		return due
	}
	told := 0
	for i := range 10 * maxKinds {
		if due(i, now) {
			told++
		}
	}
	if told != maxKinds+1 || len(r.reports) != maxKinds+1 {
		t.Errorf("%d kinds were due and %d are remembered, want %d", told, len(r.reports), maxKinds+1)
	}
	if due(0, now) || due(5*maxKinds, now) {
		t.Error("a kind is due twice in a minute")
	}
	later := now.Add(repeatAfter)
	if !due(5*maxKinds, later) || len(r.reports) != 1 {
		t.Errorf("after a minute, %d kinds are remembered, want the new one", len(r.reports))
	}
	if repeated, due := r.due(kind{what: fmt.Sprint("kind ", 5*maxKinds)}, later.Add(time.Second)); due || repeated != 0 {
		t.Error("the new kind is due twice in a minute")
	}
}
