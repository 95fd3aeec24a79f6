package limit

import "time"

// Status is how a limiter and its state are at a moment.
type Status struct {
	Open, Clients int // open chats, and the clients that have them
	Limits        []RuleUse
	CoolDown      time.Duration // how long it lasts; 0: there is none
}

// RuleUse is a rule and its use.
type RuleUse struct {
	Rule
	Keys int  // that are remembered
	Left *int // where there is one count for all
}

// Status returns how the limiter is now.
func (l *Limiter) Status() Status {
	status := Status{CoolDown: l.state.coolDown.left()}
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	status.Open, status.Clients = l.state.slots.taken, len(l.state.slots.byClient)
	for _, limit := range l.limits {
		status.Limits = append(status.Limits, limit.use())
	}
	return status
}

// use needs the state's lock.
func (l *activeRule) use() RuleUse {
	use := RuleUse{Rule: l.Rule, Keys: l.window.counts.Len()}
	if l.ForMany {
		left := int(l.window.usage(l.Key).left(l.n()))
		use.Left = &left
	}
	return use
}
