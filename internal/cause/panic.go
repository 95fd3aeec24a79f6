package cause

import (
	"fmt"
	"runtime"
)

// OfPanic returns the kind of a panic, for the log. Go's own errors hold only numbers and types. Any other value may
// quote what was being handled, so OfPanic names only its type.
func OfPanic(value any) string {
	switch p := value.(type) {
	case runtime.Error:
		return p.Error()
	case error:
		return Of(p).Error()
	}
	return fmt.Sprintf("a value of type %T", value)
}
