package apierror

import (
	"io"
	"strings"
	"testing"
)

// The cause is for the log only: it must not change the text that the visitor gets.
func TestErrorCauses(t *testing.T) {
	shared := Closed.Before()
	e := shared.Because(io.ErrUnexpectedEOF)
	if strings.Contains(string(e.Body()), "EOF") {
		t.Errorf("the visitor is told the cause: %s", e.Body())
	}
	if !strings.Contains(e.Error(), "EOF") {
		t.Errorf("the log is not told the cause: %s", e)
	}
	if shared.Cause != nil {
		t.Error("the cause is kept for the next request")
	}
}
