package illumichat

import "time"

// limiterStatus is how a limiter and its state are at a moment.
type limiterStatus struct {
	open, clients int // open chats, and the clients that have them
	limits        []limitUse
	coolDown      time.Duration // how long it lasts; 0: there is none
}

// limitUse is a rule and its use.
type limitUse struct {
	rule
	keys int  // that are remembered
	left *int // where there is one count for all
}

// status returns how the limiter is now.
func (l *limiter) status() limiterStatus {
	status := limiterStatus{coolDown: l.state.coolDown.left()}
	l.state.mu.Lock()
	defer l.state.mu.Unlock()
	status.open, status.clients = l.state.slots.taken, len(l.state.slots.byClient)
	for _, limit := range l.limits {
		status.limits = append(status.limits, limit.use())
	}
	return status
}

// use needs the state's lock.
func (l *limit) use() limitUse {
	use := limitUse{rule: l.rule, keys: l.window.counts.Len()}
	if l.forMany {
		left := int(l.window.usage(l.key).left(l.n()))
		use.left = &left
	}
	return use
}
