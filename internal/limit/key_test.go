package limit

import (
	"strings"
	"testing"
)

func TestLongKeysAreNotKept(t *testing.T) {
	long := strings.Repeat("x", maxKeyLength)
	if got := NormalizeKey(long); got != long {
		t.Errorf("got %d bytes", len(got))
	}
	if got := NormalizeKey(long + "x"); len(got) != 32 {
		t.Errorf("got %d bytes, want a hash", len(got))
	}
}
