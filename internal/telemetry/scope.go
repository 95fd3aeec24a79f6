package telemetry

// Part is a part of a handler that can break, and that the operator wants to know to work again.
type Part string

// The parts of a handler that can break.
const (
	Answers Part = "answers" // of one assistant
	Token   Part = "token"   // whose file can become unusable
)

// scope is what a problem concerns. Labels of assistants are configured, so the scopes of a handler are a closed set.
type scope struct {
	part      Part
	assistant string // its label in metrics; "" means the whole handler
}

func scopeOf(c *Record, part Part) scope {
	if part == Answers {
		return scope{part, c.Label}
	}
	return scope{part: part}
}
