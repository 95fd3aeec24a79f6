package limit

import "time"

// Status is a snapshot of a limiter and its shared state.
type Status struct {
	Open, Clients int // open chats, and the clients that have them
	Limits        []RuleUse
}

// RuleUse is a rule and how much of it is used.
type RuleUse struct {
	Rule
	Keys int  // how many the window remembers
	Left *int // requests, of the count with the fewest left; nil unless many visitors share a count
}

// Status returns the current status.
func (l *Limiter) Status() Status {
	var status Status
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	status.Open, status.Clients = l.state.slots.taken, len(l.state.slots.byClient)
	for _, limit := range l.limits {
		status.Limits = append(status.Limits, limit.use())
	}
	return status
}

// CoolDown returns how long an assistant's cool-down still lasts; 0 if it has none.
func (l *Limiter) CoolDown(assistant string) time.Duration {
	return l.state.coolDowns.left(assistantKey(assistant))
}

// CoolDowns returns how long each cool-down of the shared state still lasts, by the assistants' ids. An id of more than
// 256 bytes is replaced by its hash.
func (l *Limiter) CoolDowns() map[string]time.Duration { return l.state.coolDowns.lasting() }

// use returns how much of the rule is used. The caller holds the state's lock.
func (l *activeRule) use() RuleUse {
	use := RuleUse{Rule: l.Rule, Keys: l.window.counts.Len()}
	if l.ForMany {
		left := int(l.window.leastLeft(l.n()))
		use.Left = &left
	}
	return use
}
